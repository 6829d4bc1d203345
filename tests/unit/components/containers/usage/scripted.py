"""A reader of use that shows what a test says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from aiidpd.components.containers.usage.reader import Target, UseReader, UseReading

GIB = 1 << 30


class ScriptedReader(UseReader):
    """Shows what a test says, as if the kernel did."""

    def __init__(self) -> None:
        super().__init__(Path("/nonexistent"), Path("/nonexistent"))
        self.shown: dict[str, UseReading] = {}
        self.targets: list[Target] = []
        self.lingering: tuple[str, ...] = ()
        self.available: int | None = 100 * GIB

    def read(self, targets: Iterable[Target], now: float) -> dict[str, UseReading]:
        self.targets = [*targets]
        names = [each.id for each in self.targets if each.id in self.shown]
        return {
            name: replace(self.shown[name], use=replace(self.shown[name].use, read=now)) for name in names
        }

    def left(self, running: frozenset[str]) -> tuple[str, ...]:
        return tuple(each for each in self.lingering if each not in running)

    def host_available_bytes(self) -> int | None:
        return self.available
