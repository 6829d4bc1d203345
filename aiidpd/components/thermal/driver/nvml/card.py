"""One GPU between readings: what it said last, what it lacks, what failed."""

from __future__ import annotations

from collections.abc import Iterable

from aiidpd.components.thermal.driver.nvml.ask import ABSENT, GONE, LOST, Failed, Handle, Json, ask
from aiidpd.components.thermal.driver.nvml.calls import Call, Rotation
from aiidpd.components.thermal.driver.nvml.notes import Notes

SLOW_EVERY = 10
"""A slow call is made in one of so many full readings."""


class Card:
    """A GPU with its ``handle`` and ``name``, asked by ``calls``; ``place`` spreads the slow ones.

    ``mig`` is whether it was divided when last asked, ``reports`` whether it tells its Xids.
    """

    def __init__(self, handle: Handle, name: str, calls: Iterable[Call], place: int) -> None:
        self.handle = handle
        self.name = name
        self.mig: bool | None = None
        self.reports = False
        self._turns = {call: (place + at) % SLOW_EVERY for at, call in enumerate(calls)}
        self._notes = Notes()
        self._said: dict[Call, Json] = {}
        self._failed: dict[Call, list[Json]] = {}
        self._absent: set[Call] = set()
        self._pass = 0

    def read(self, *, fast: bool) -> tuple[Json, list[Json]]:
        """Return the figures and the faults that stand, after asking what is due.

        Raises:
            Failed: the GPU is lost, or the library no longer fits the driver.
        """
        self._pass += not fast
        for call in self._turns:
            if self._given_by_another(call):
                self._said.pop(call, None)
                self._failed.pop(call, None)
            elif self._due(call, fast=fast):
                self._take(call)
        said = self._said.values()
        figures = {name: value for fields in said for name, value in fields.items()}
        return figures, [dict(fault) for faults in self._failed.values() for fault in faults]

    def _due(self, call: Call, *, fast: bool) -> bool:
        if call in self._absent:
            return False
        if call.turn is Rotation.FAST:
            return True
        if fast:
            return False
        news = call not in self._said or call in self._failed
        slot = self._turns[call] == self._pass % SLOW_EVERY
        return call.turn is Rotation.STEADY or news or (call.turn is Rotation.SLOW and slot)

    def _given_by_another(self, call: Call) -> bool:
        return call.instead is not None and any(
            call.instead in fields for other, fields in self._said.items() if other != call
        )

    def _take(self, call: Call) -> None:
        self._failed.pop(call, None)
        try:
            fields, faults = ask(call.name, call.read, self.handle, self._notes)
        except Failed as error:
            self._said.pop(call, None)
            if error.code in LOST | GONE:
                raise
            if error.code in ABSENT:
                self._absent.add(call)
            else:
                self._failed[call] = [error.fault]
        else:
            self._said[call] = fields
            if faults:
                self._failed[call] = faults
