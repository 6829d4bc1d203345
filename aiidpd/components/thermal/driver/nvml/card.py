"""One GPU between readings: the figures of each call, the calls that it lacks, the faults that stand."""

from __future__ import annotations

from collections.abc import Iterable

from aiidpd.components.thermal.driver.nvml.calls import Call, Frequency
from aiidpd.components.thermal.driver.nvml.invoke import (
    ABSENT,
    GONE,
    LOST,
    Capabilities,
    Failed,
    Handle,
    Json,
    address,
    invoke,
)

SLOW_EVERY = 10
"""A slow call is made in one of so many full readings."""


class _CallState:
    """One call to one GPU: its place among the slow ones, and the figures and faults that it gave last.

    ``figures`` is None until it gave some, and after a failure. ``absent``: the card does not have it.
    """

    __slots__ = ("absent", "call", "faults", "figures", "slot")

    def __init__(self, call: Call, slot: int) -> None:
        self.call = call
        self.slot = slot
        self.figures: Json | None = None
        self.faults: list[Json] = []
        self.absent = False


class Card:
    """A GPU with its ``handle`` and ``name``, read by ``calls``; ``place`` spreads the slow ones.

    ``mig`` is whether it was divided in the last reading, ``reports`` whether it can report Xid events.
    """

    def __init__(self, handle: Handle, name: str, calls: Iterable[Call], place: int) -> None:
        self.handle = handle
        self.address = address(handle)
        self.name = name
        self.mig: bool | None = None
        self.reports = False
        self._calls = [_CallState(call, (place + at) % SLOW_EVERY) for at, call in enumerate(calls)]
        self._sources: dict[str, int] = {}  # how many calls give a figure
        self._capabilities = Capabilities()
        self._pass = 0

    def read(self, *, fast: bool) -> tuple[Json, list[Json]]:
        """Make the calls that are due; return the figures and the faults that stand.

        Raises:
            Failed: the GPU is lost, or the library no longer fits the driver.
        """
        self._pass += not fast
        slot = self._pass % SLOW_EVERY
        figures: Json = {}
        faults: list[Json] = []
        for state in self._calls:
            if state.absent:
                continue
            if self._given_by_another(state):
                self._record(state, None, [])
            elif _due(state, slot, fast=fast):
                self._make(state)
        for state in self._calls:
            if state.figures:
                figures.update(state.figures)
            if state.faults:
                faults += map(dict, state.faults)
        return figures, faults

    def _given_by_another(self, state: _CallState) -> bool:
        figure = state.call.instead
        if figure is None:
            return False
        return self._sources.get(figure, 0) > (state.figures is not None and figure in state.figures)

    def _make(self, state: _CallState) -> None:
        call = state.call
        try:
            figures, faults = invoke(call.name, call.read, self.handle, self._capabilities)
        except Failed as error:
            self._record(state, None, [])
            if error.code in LOST | GONE:
                raise
            if error.code in ABSENT:
                state.absent = True
            else:
                state.faults = [error.fault]
        else:
            self._record(state, figures, faults)

    def _record(self, state: _CallState, figures: Json | None, faults: list[Json]) -> None:
        before = state.figures or {}
        now = figures or {}
        if before.keys() != now.keys():
            for figure in before.keys() - now.keys():
                self._sources[figure] -= 1
            for figure in now.keys() - before.keys():
                self._sources[figure] = self._sources.get(figure, 0) + 1
        state.figures, state.faults = figures, faults


def _due(state: _CallState, slot: int, *, fast: bool) -> bool:
    frequency = state.call.frequency
    if frequency is Frequency.FAST:
        return True
    if fast:
        return False
    wanted = state.figures is None or bool(state.faults)
    slow = frequency is Frequency.SLOW and slot == state.slot
    return frequency is Frequency.STEADY or wanted or slow
