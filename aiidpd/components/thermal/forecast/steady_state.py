"""When a GPU has settled under load or idles, and what it says then (pure)."""

from __future__ import annotations

from dataclasses import dataclass

from aiidpd.components.thermal.forecast.resistance import Operation
from aiidpd.components.thermal.gpu import GpuReading
from aiidpd.components.thermal.signals.rolling import BucketedMeans, spread

STRETCH = 10.0  # seconds
STRETCHES = 30
_LEAST_WATTS = 40.0
_UNLIMITED = 160.0  # watts, for a card that does not tell its limit
_FAN_SPREAD = 0.05
_IDLE_SPREAD = 1.0  # degrees within which an idle GPU has settled
_COOLING_STRETCHES = 3
_WARM = 4.0  # degrees above idle: nearer it cools too slowly to tell how fast
_NEWEST = 6  # stretches: of an idle GPU that still cools the end counts


@dataclass(frozen=True, slots=True)
class SteadyStatePolicy:
    """When a GPU has settled. Temperatures in Celsius, times in seconds.

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
    """What a rise is counted from: a temperature at a power and a fan speed, known at monotonic ``at``."""

    at: float
    temperature: float
    power: float = 0.0
    fan: float = 0.0


@dataclass(frozen=True, slots=True)
class SteadyState:
    """The stretches in which a GPU may have settled, figure by figure."""

    temperatures: tuple[float, ...]
    powers: tuple[float, ...]
    fans: tuple[float, ...]

    @classmethod
    def of(cls, steps: BucketedMeans, seconds: float) -> SteadyState | None:
        """Return those of the last ``seconds``, None where they are not all there."""
        stretches = steps.last(seconds)
        return cls(*zip(*(figures for _, figures in stretches), strict=True)) if stretches else None


def idle(
    steps: BucketedMeans, reading: GpuReading, now: float, policy: SteadyStatePolicy
) -> Reference | None:
    """Return what a GPU that idles is a reference for, None where it does not or has not settled."""
    means = SteadyState.of(steps, policy.idle)
    if means is None:
        return None
    limit = reading.power_limit_watts or _UNLIMITED
    if max(means.powers) > policy.idle_ratio * limit or spread(list(means.temperatures)) > _IDLE_SPREAD:
        return None
    temperature, power, fan = (
        _mean(each[-_NEWEST:]) for each in (means.temperatures, means.powers, means.fans)
    )
    return Reference(now, temperature, power, fan)


def loaded(
    steps: BucketedMeans, reading: GpuReading, reference: Reference, policy: SteadyStatePolicy
) -> Operation | None:
    """Return at what a GPU works that has settled; None where it has not, or is as cold as ``reference``."""
    means = SteadyState.of(steps, policy.settle)
    if means is None:
        return None
    power = _mean(means.powers)
    settled = (
        power >= max(_LEAST_WATTS, policy.loaded_ratio * (reading.power_limit_watts or _UNLIMITED))
        and spread(list(means.powers)) <= policy.settled_power_ratio * power
        and spread(list(means.temperatures)) <= policy.settled_celsius
        and spread(list(means.fans)) <= _FAN_SPREAD
    )
    rise = _mean(means.temperatures) - reference.temperature
    if not settled or rise <= 0:
        return None
    return Operation(rise, power, _mean(means.fans), reference.power, reference.fan)


def cooling(
    steps: BucketedMeans, reading: GpuReading, reference: Reference, policy: SteadyStatePolicy
) -> Operation | None:
    """Return how a GPU cools whose load has ended, None where it does not, or is nearly at ``reference``.

    The first stretch is left out, in which the chip itself cools and not yet its heatsink.
    """
    last = steps.done[-_COOLING_STRETCHES:]
    limit = policy.idle_ratio * (reading.power_limit_watts or _UNLIMITED)
    if len(last) < _COOLING_STRETCHES or max(figures[1] for _, figures in last) > limit:
        return None
    (began, (first, *_)), (_, (temperature, power, fan)), (ended, (end, *_)) = last[-3:]
    rise = temperature - reference.temperature
    if rise < _WARM:
        return None
    rate = (first - end) / (ended - began)
    return Operation(rise, power, fan, reference.power, reference.fan, rate)


def _mean(figures: tuple[float, ...]) -> float:
    return sum(figures) / len(figures)
