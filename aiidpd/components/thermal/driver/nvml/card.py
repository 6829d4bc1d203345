"""One GPU between readings: what it said last, what it lacks, what failed."""

from __future__ import annotations

from collections.abc import Iterable

from aiidpd.components.thermal.driver.nvml.ask import ABSENT, GONE, LOST, Failed, Handle, Json, address, ask
from aiidpd.components.thermal.driver.nvml.calls import Call, Rotation
from aiidpd.components.thermal.driver.nvml.notes import Notes

SLOW_EVERY = 10
"""A slow call is made in one of so many full readings."""


class _Asked:
    """One call to one GPU: its turn among the slow ones, what it ``said`` last, and its faults that stand."""

    __slots__ = ("absent", "call", "failed", "said", "slot")

    def __init__(self, call: Call, slot: int) -> None:
        self.call = call
        self.slot = slot
        self.said: Json | None = None
        self.failed: list[Json] = []
        self.absent = False


class Card:
    """A GPU with its ``handle`` and ``name``, asked by ``calls``; ``place`` spreads the slow ones.

    ``mig`` is whether it was divided when last asked, ``reports`` whether it tells its Xids.
    """

    def __init__(self, handle: Handle, name: str, calls: Iterable[Call], place: int) -> None:
        self.handle = handle
        self.address = address(handle)
        self.name = name
        self.mig: bool | None = None
        self.reports = False
        self._asked = [_Asked(call, (place + at) % SLOW_EVERY) for at, call in enumerate(calls)]
        self._givers: dict[str, int] = {}  # how many calls give a figure
        self._notes = Notes()
        self._pass = 0

    def read(self, *, fast: bool) -> tuple[Json, list[Json]]:
        """Return the figures and the faults that stand, after asking what is due.

        Raises:
            Failed: the GPU is lost, or the library no longer fits the driver.
        """
        self._pass += not fast
        slot = self._pass % SLOW_EVERY
        figures: Json = {}
        faults: list[Json] = []
        for asked in self._asked:
            if asked.absent:
                continue
            if self._given_by_another(asked):
                self._say(asked, None, [])
            elif _due(asked, slot, fast=fast):
                self._take(asked)
        for asked in self._asked:
            if asked.said:
                figures.update(asked.said)
            if asked.failed:
                faults += map(dict, asked.failed)
        return figures, faults

    def _given_by_another(self, asked: _Asked) -> bool:
        figure = asked.call.instead
        if figure is None:
            return False
        return self._givers.get(figure, 0) > (asked.said is not None and figure in asked.said)

    def _take(self, asked: _Asked) -> None:
        call = asked.call
        try:
            fields, faults = ask(call.name, call.read, self.handle, self._notes)
        except Failed as error:
            self._say(asked, None, [])
            if error.code in LOST | GONE:
                raise
            if error.code in ABSENT:
                asked.absent = True
            else:
                asked.failed = [error.fault]
        else:
            self._say(asked, fields, faults)

    def _say(self, asked: _Asked, fields: Json | None, faults: list[Json]) -> None:
        before = asked.said or {}
        now = fields or {}
        if before.keys() != now.keys():
            for figure in before.keys() - now.keys():
                self._givers[figure] -= 1
            for figure in now.keys() - before.keys():
                self._givers[figure] = self._givers.get(figure, 0) + 1
        asked.said, asked.failed = fields, faults


def _due(asked: _Asked, slot: int, *, fast: bool) -> bool:
    turn = asked.call.turn
    if turn is Rotation.FAST:
        return True
    if fast:
        return False
    news = asked.said is None or bool(asked.failed)
    return turn is Rotation.STEADY or news or (turn is Rotation.SLOW and slot == asked.slot)
