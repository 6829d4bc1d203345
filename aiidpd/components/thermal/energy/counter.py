"""Energy counter of one GPU, in joules (pure): by the card's own counter, or by its power added up."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from aiidpd.components.thermal.gpu import GpuReading

CARD_ACCURACY: Final = 0.05
"""Error bound of a card's own figures: nvidia-smi(1) has plus or minus 5 % for power."""

POWER_ACCURACY: Final = 0.10
"""Error bound of energy that was added up from power: peaks between two readings are not seen."""

LONGEST_GAP: Final = 10.0
"""Seconds between two readings beyond which power and holders of the time between are not known."""

_WRAP: Final = 2**32 / 1000  # joules: a counter of millijoules in 32 bits begins anew here
_MOST_WATTS: Final = 2500.0  # more than any card: what a counter may grow by where the card names no limit


class Method(StrEnum):
    """Source of an energy figure."""

    COUNTER = "counter"  # the card counts it
    POWER = "power"  # its power, added up


@dataclass(frozen=True, slots=True)
class EnergyCounter:
    """Energy of one GPU in joules, since it was first read; ``at`` and ``power`` are of the last reading.

    ``joules`` is the sum of what the card counted and what was added up from its power. For ``unknown``
    seconds neither was known, and they are not filled in. ``at`` is in monotonic seconds.
    ``counter`` is the last one that was believed, at ``counter_at``; ``bridged`` is what was added up since.
    """

    counted: float = 0.0
    integrated: float = 0.0
    unknown: float = 0.0
    resets: int = 0
    counter: float | None = None
    counter_at: float = 0.0
    bridged: float = 0.0
    power: float | None = None
    at: float | None = None

    @property
    def joules(self) -> float:
        """All energy that is known."""
        return self.counted + self.integrated

    @property
    def error(self) -> float:
        """Error bound of ``joules``, either way, in joules."""
        return self.counted * CARD_ACCURACY + self.integrated * POWER_ACCURACY

    @property
    def method(self) -> Method | None:
        """Source of most of it; None before the second reading."""
        if not self.joules:
            return None
        return Method.COUNTER if self.counted >= self.integrated else Method.POWER


def advance(meter: EnergyCounter, reading: GpuReading, at: float) -> tuple[EnergyCounter, float]:
    """Return ``meter`` after ``reading``, made at ``at`` (monotonic seconds), and the joules since then.

    Where the card counts, what it counted is taken, over any gap; a counter that fell began anew with the
    driver (or after 2^32 millijoules), and one that grew by more than the card can draw is not believed.
    Else the power is added up (trapezoids), and a gap longer than :data:`LONGEST_GAP` is not bridged.
    """
    if meter.at is not None and at <= meter.at:
        return meter, 0.0
    first = meter.at is None
    elapsed = 0.0 if meter.at is None else at - meter.at
    power = _power(reading)
    grown = _grown(meter, reading, at)
    if grown is not None:
        joules, anew = max(0.0, grown[0] - meter.bridged), grown[1]
        after = replace(
            meter,
            counted=meter.counted + joules,
            resets=meter.resets + anew,
            counter=reading.energy_joules,
            counter_at=at,
            bridged=0.0,
            power=power,
            at=at,
        )
        return after, joules
    after = replace(meter, at=at, power=power)
    if meter.counter is None and _is_count(reading.energy_joules):
        after = replace(after, counter=reading.energy_joules, counter_at=at, bridged=0.0)
    if first:
        return after, 0.0
    if meter.power is None or after.power is None or elapsed > LONGEST_GAP:
        return replace(after, unknown=meter.unknown + elapsed), 0.0
    joules = elapsed * (meter.power + after.power) / 2
    bridged = 0.0 if meter.counter is None else meter.bridged + joules
    return replace(after, integrated=meter.integrated + joules, bridged=bridged), joules


def _grown(meter: EnergyCounter, reading: GpuReading, at: float) -> tuple[float, int] | None:
    """Return by how much the card's counter grew and whether it began anew, None where it gives nothing."""
    before, now = meter.counter, reading.energy_joules
    if before is None or now is None or not _is_count(now):
        return None
    # Twice the card's limit, for peaks; and a second more, because drivers renew the counter now and then.
    watts = 2 * (reading.power_limit_max_watts or _MOST_WATTS / 2)
    most = watts * (at - meter.counter_at + 1.0)
    if before <= now:
        return (now - before, 0) if now - before <= most else None
    for since in (now + _WRAP - before, now):
        if 0 <= since <= most:
            return since, 1
    # It began anew before the reading before: since when it counts is not known.
    return 0.0, 1


def _is_count(value: float | None) -> bool:
    return value is not None and math.isfinite(value) and value >= 0


def _power(reading: GpuReading) -> float | None:
    power = reading.power_watts if reading.power_watts is not None else reading.power_instant_watts
    return power if power is not None and math.isfinite(power) and power >= 0 else None
