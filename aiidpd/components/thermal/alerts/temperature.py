"""How hot a GPU is, next to our limits and its own (pure)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from aiidpd.alerts.state import Observation, above, below
from aiidpd.components.thermal.alerts import rules
from aiidpd.components.thermal.gpu import Limit
from aiidpd.components.thermal.signals.checked import CheckedGpu
from aiidpd.components.thermal.signals.rolling import RollingSum
from aiidpd.components.thermal.signals.thresholds import AlertSettings
from aiidpd.kernel.words import apart

_STILL_HOT = 0.8  # of the seconds that are too long: below that a GPU is no longer hot too long


@dataclass(frozen=True, slots=True)
class TemperatureMemory:
    """For how long a GPU was hot lately."""

    hot: RollingSum = field(default_factory=RollingSum)


def heat(
    memory: TemperatureMemory, look: CheckedGpu, policy: AlertSettings
) -> tuple[TemperatureMemory, tuple[Observation, ...]]:
    """Return what is remembered after ``look``, and how the alerts about heat stand."""
    temperature = look.temperature
    if temperature is not None:
        hot = look.seconds if temperature >= look.limits.warning_celsius else 0.0
        memory = TemperatureMemory(memory.hot.add(look.now, hot, policy.hot_window))
    return memory, (*_core(memory, look, policy), *_margin(look), *_memory_chips(look))


def _core(memory: TemperatureMemory, look: CheckedGpu, policy: AlertSettings) -> Iterator[Observation]:
    temperature, limits = look.temperature, look.limits
    if temperature is None:
        return
    for alert, limit in (
        (rules.TEMPERATURE_WARNING, limits.warning_celsius),
        (rules.TEMPERATURE_CRITICAL, limits.critical_celsius),
    ):
        condition = above(temperature, limit, limit - limits.clear_below)
        yield look.observation(alert, condition, temperature_celsius=temperature, limit_celsius=limit)
    total = min(memory.hot.total, policy.hot_window)
    yield look.observation(
        rules.HOT_TOO_LONG,
        above(total, policy.hot_seconds, _STILL_HOT * policy.hot_seconds),
        hot_seconds=round(total, 3),
        window_seconds=policy.hot_window,
        limit_celsius=limits.warning_celsius,
        temperature_celsius=temperature,
    )


def _margin(look: CheckedGpu) -> Iterator[Observation]:
    left = look.degrees_left(Limit.SLOWDOWN)
    if left is not None:
        margin = look.limits.slowdown_margin_celsius
        condition = below(left, margin, margin + look.limits.clear_below)
        distance = apart(-left, "the point where it slows itself down")
        yield look.observation(
            rules.NEAR_SLOWDOWN, condition, left_celsius=left, margin_celsius=margin, distance=distance
        )


def _memory_chips(look: CheckedGpu) -> Iterator[Observation]:
    temperature = look.reading.memory_temperature_celsius
    if temperature is None:
        return
    limit = look.limits.memory_warning_celsius
    if look.reading.memory_max_celsius is not None:
        limit = min(limit, look.reading.memory_max_celsius - look.limits.slowdown_margin_celsius)
    condition = above(temperature, limit, limit - look.limits.clear_below)
    yield look.observation(
        rules.MEMORY_TEMPERATURE, condition, temperature_celsius=temperature, limit_celsius=limit
    )
