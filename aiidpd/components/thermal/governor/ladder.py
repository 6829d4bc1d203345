"""Ladder of a GPU: steps that take ever more from it: power, then clocks, then its work (pure)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeAlias

from aiidpd.components.thermal.commands import Command, LockClocks, ResetClocks, SetPowerLimit
from aiidpd.components.thermal.governor import tuning
from aiidpd.components.thermal.gpu import GpuReading
from aiidpd.components.thermal.settings import GovernorSettings

_MEGAHERTZ = 1_000_000.0
_LEAST_STEP = 1.0  # watts


class Actuator(StrEnum):
    """A setting of a card that takes power from it."""

    POWER = "power limit"
    CLOCKS = "locked clocks"


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts that a ladder is made from, in watts and hertz; None is not known (yet)."""

    limit: float | None = None
    default: float | None = None
    lowest: float | None = None
    highest: float | None = None
    top_clock: float | None = None

    def learn(self, reading: GpuReading) -> Facts:
        """Return the facts with what ``reading`` says; what it leaves out stays as it was."""
        limit, default = reading.power_limit_set_watts, reading.power_limit_default_watts
        lowest, highest = reading.power_limit_min_watts, reading.power_limit_max_watts
        top_clock = reading.graphics_clock_max_hertz
        learned = Facts(
            self.limit if limit is None else limit,
            self.default if default is None else default,
            self.lowest if lowest is None else lowest,
            self.highest if highest is None else highest,
            self.top_clock if top_clock is None else top_clock,
        )
        return self if learned == self else learned


@dataclass(frozen=True, slots=True)
class Step:
    """Settings of one level; None is "as we found it". ``back_off`` requests others to leave it alone."""

    power_watts: float | None = None
    clock_hertz: float | None = None
    back_off: bool = False

    def __str__(self) -> str:
        words = []
        if self.power_watts is not None:
            words.append(f"a power limit of {self.power_watts:g} W")
        if self.clock_hertz is not None:
            words.append(f"at most {self.clock_hertz / _MEGAHERTZ:g} MHz")
        if self.back_off:
            words.append("others asked to back off")
        return ", ".join(words) or "nothing"


Ladder: TypeAlias = tuple[Step, ...]
"""Level 0 is the baseline; each level takes at least as much as the one before it, by every actuator."""


def build(facts: Facts, settings: GovernorSettings, without: frozenset[Actuator] = frozenset()) -> Ladder:
    """Return the ladder of a card; an actuator that it lacks, or that is in ``without``, is left out."""
    powers = [] if Actuator.POWER in without else _powers(facts, settings)
    clocks = [] if Actuator.CLOCKS in without or not settings.lock_clocks else _clocks(facts, settings)
    steps = [Step(facts.limit if powers else None)]
    steps += [Step(watts) for watts in powers]
    steps += [replace(steps[-1], clock_hertz=hertz) for hertz in clocks]
    steps.append(replace(steps[-1], back_off=True))
    return tuple(steps)


def _powers(facts: Facts, settings: GovernorSettings) -> list[float]:
    """Return the limits below the present one, falling; none where the card's range is not known."""
    if facts.limit is None or facts.lowest is None or facts.highest is None:
        return []
    default = facts.default if facts.default is not None else facts.limit
    # Whole watts, rounded into the range: a driver refuses half a watt outside of it.
    lowest = min(max(facts.lowest, settings.power_floor_percent / 100 * default), facts.highest)
    floor, stride = float(math.ceil(lowest)), max(_LEAST_STEP, tuning.POWER_STEP_RATIO * default)
    if floor > facts.highest:
        return []
    powers: list[float] = []
    watts = min(facts.limit, facts.highest)
    while watts - floor >= _LEAST_STEP:
        watts = max(floor, float(math.floor(watts - stride)))
        powers.append(watts)
    return powers


def _clocks(facts: Facts, settings: GovernorSettings) -> list[float]:
    if facts.top_clock is None:
        return []
    clocks: list[float] = []
    ratio = 1 - tuning.CLOCK_STEP_RATIO
    while ratio > settings.clock_floor_percent / 100 + 1e-9:
        clocks.append(ratio)
        ratio -= tuning.CLOCK_STEP_RATIO
    clocks.append(settings.clock_floor_percent / 100)
    hertz = (max(1.0, math.floor(ratio * facts.top_clock / _MEGAHERTZ)) * _MEGAHERTZ for ratio in clocks)
    return list(dict.fromkeys(hertz))


def commands(uuid: str, before: Step | None, after: Step, *, clocks_touched: bool) -> tuple[Command, ...]:
    """Return what leads from ``before`` (None: not known) to ``after``, the gentler actuator first.

    Clocks that were never locked by us are never unlocked by us either: somebody else may have locked
    them, and the driver does not report it.
    """
    todo: list[Command] = []
    if after.power_watts is not None and (before is None or before.power_watts != after.power_watts):
        todo.append(SetPowerLimit(uuid, after.power_watts))
    if after.clock_hertz is not None:
        if before is None or before.clock_hertz != after.clock_hertz:
            todo.append(LockClocks(uuid, 0.0, after.clock_hertz))
    elif clocks_touched and (before is None or before.clock_hertz is not None):
        todo.append(ResetClocks(uuid))
    return tuple(todo)
