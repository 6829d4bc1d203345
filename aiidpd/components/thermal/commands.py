"""Commands that set something on a GPU (pure). Each names it by UUID: an index can name another later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class SetPowerLimit:
    """Let the board draw at most ``watts``; the driver refuses what lies outside of the card's range."""

    uuid: str
    watts: float


@dataclass(frozen=True, slots=True)
class ResetPowerLimit:
    """Go back to the card's default limit. Whoever found another limit there restores that one instead."""

    uuid: str


@dataclass(frozen=True, slots=True)
class LockClocks:
    """Keep the graphics clock between ``min_hertz`` and ``max_hertz``; the driver rounds to whole MHz."""

    uuid: str
    min_hertz: float
    max_hertz: float


@dataclass(frozen=True, slots=True)
class ResetClocks:
    """Undo :class:`LockClocks`. The driver does not report locked clocks; safe to repeat."""

    uuid: str


Command: TypeAlias = SetPowerLimit | ResetPowerLimit | LockClocks | ResetClocks
