"""Steady state: finds when a GPU has settled under load, idles or cools, and how warm it is then (pure)."""

from __future__ import annotations

from dataclasses import dataclass

from aiidpd.components.thermal.forecast.resistance import Operation
from aiidpd.components.thermal.gpu import BUSY_WATTS, GpuReading, power_limit
from aiidpd.components.thermal.signals.rolling import BucketedMeans, spread

BUCKET_SECONDS = 10.0
BUCKETS = 30
_FAN_SPREAD = 0.05
_IDLE_SPREAD = 1.0  # degrees within which an idle GPU has settled
_COOLING_BUCKETS = 3
_WARM = 4.0  # degrees above idle: nearer it cools too slowly to measure how fast
_NEWEST = 6  # buckets: of an idle GPU that still cools the end counts


@dataclass(frozen=True, slots=True)
class SteadyStatePolicy:
    """Bounds within which a GPU has settled. Temperatures in Celsius, times in seconds.

    Under load where for ``settle`` its temperature stayed within ``settled_celsius``, its power within
    ``settled_power_ratio`` and its fan within 5 %, at ``loaded_ratio`` of the power limit or more. It idles
    where for ``idle`` it was at ``idle_ratio`` or less and within 1 °C: without fans it cools for minutes.
    An idle time is a reference for ``reference_age``, since the room changes. The assumed
    temperature of a room may be wrong by ``ambient_error``.
    """

    settle: float = 120.0
    settled_celsius: float = 2.0
    settled_power_ratio: float = 0.1
    loaded_ratio: float = 0.3
    idle: float = 300.0
    idle_ratio: float = 0.2
    reference_age: float = 3600.0
    ambient_error: float = 8.0


@dataclass(frozen=True, slots=True)
class Reference:
    """A temperature that a rise is counted from, at a power and a fan speed; known at ``at`` (monotonic)."""

    at: float
    temperature: float
    power: float = 0.0
    fan: float = 0.0


@dataclass(frozen=True, slots=True)
class Operations:
    """Buckets in which a GPU may have settled, figure by figure."""

    temperatures: tuple[float, ...]
    powers: tuple[float, ...]
    fans: tuple[float, ...]

    @classmethod
    def last(cls, operations: BucketedMeans, seconds: float) -> Operations | None:
        """Return those of the last ``seconds``, None where they are not all there."""
        buckets = operations.last(seconds)
        return cls(*zip(*(figures for _, figures in buckets), strict=True)) if buckets else None


def idle(
    operations: BucketedMeans, reading: GpuReading, now: float, policy: SteadyStatePolicy
) -> Reference | None:
    """Return the reference that an idle GPU is; None where it does not idle or has not settled."""
    means = Operations.last(operations, policy.idle)
    if means is None:
        return None
    if (
        max(means.powers) > policy.idle_ratio * power_limit(reading)
        or spread(means.temperatures) > _IDLE_SPREAD
    ):
        return None
    temperature, power, fan = (
        _mean(each[-_NEWEST:]) for each in (means.temperatures, means.powers, means.fans)
    )
    return Reference(now, temperature, power, fan)


def loaded(
    operations: BucketedMeans, reading: GpuReading, reference: Reference, policy: SteadyStatePolicy
) -> Operation | None:
    """Return the operation of a settled GPU; None where it is not, or is as cold as ``reference``."""
    means = Operations.last(operations, policy.settle)
    if means is None:
        return None
    power = _mean(means.powers)
    settled = (
        power >= max(BUSY_WATTS, policy.loaded_ratio * power_limit(reading))
        and spread(means.powers) <= policy.settled_power_ratio * power
        and spread(means.temperatures) <= policy.settled_celsius
        and spread(means.fans) <= _FAN_SPREAD
    )
    rise = _mean(means.temperatures) - reference.temperature
    if not settled or rise <= 0:
        return None
    return Operation(rise, power, _mean(means.fans), reference.power, reference.fan)


def cooling(
    operations: BucketedMeans, reading: GpuReading, reference: Reference, policy: SteadyStatePolicy
) -> Operation | None:
    """Return how a GPU cools whose load has ended; None where it does not, or is nearly at ``reference``.

    The first bucket is left out, in which the chip itself cools and not yet its heatsink.
    """
    last = operations.done[-_COOLING_BUCKETS:]
    limit = policy.idle_ratio * power_limit(reading)
    if len(last) < _COOLING_BUCKETS or max(figures[1] for _, figures in last) > limit:
        return None
    (began, (first, *_)), (_, (temperature, power, fan)), (ended, (end, *_)) = last[-3:]
    rise = temperature - reference.temperature
    if rise < _WARM:
        return None
    rate = (first - end) / (ended - began)
    return Operation(rise, power, fan, reference.power, reference.fan, rate)


def _mean(figures: tuple[float, ...]) -> float:
    return sum(figures) / len(figures)
