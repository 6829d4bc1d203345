"""Alerts about temperatures, by the configured limits and the card's own (pure)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from aiidpd.alerts.state import Observation, above, below
from aiidpd.components.thermal.alerts import rules
from aiidpd.components.thermal.gpu import Limit
from aiidpd.components.thermal.settings import AlertSettings
from aiidpd.components.thermal.signals import thresholds
from aiidpd.components.thermal.signals.checked import CheckedGpu
from aiidpd.components.thermal.signals.rolling import RollingSum
from aiidpd.kernel.words import apart

_STILL_HOT = 0.8  # of the seconds that are too long: below that a GPU is no longer hot too long


@dataclass(frozen=True, slots=True)
class TemperatureMemory:
    """Seconds for which a GPU was hot lately."""

    hot: RollingSum = field(default_factory=RollingSum)


def evaluate(
    memory: TemperatureMemory, gpu: CheckedGpu, settings: AlertSettings
) -> tuple[TemperatureMemory, tuple[Observation, ...]]:
    """Return the state after the reading, and the status of the alerts about heat."""
    temperature = gpu.temperature
    if temperature is not None:
        hot = gpu.seconds if temperature >= gpu.limits.warning_celsius else 0.0
        memory = TemperatureMemory(memory.hot.add(gpu.now, hot, thresholds.HOT_WINDOW))
    return memory, (*_core(memory, gpu, settings), *_margin(gpu), *_memory_chips(gpu))


def _core(memory: TemperatureMemory, gpu: CheckedGpu, settings: AlertSettings) -> Iterator[Observation]:
    temperature, limits = gpu.temperature, gpu.limits
    if temperature is None:
        return
    for alert, limit in (
        (rules.TEMPERATURE_WARNING, limits.warning_celsius),
        (rules.TEMPERATURE_CRITICAL, limits.critical_celsius),
    ):
        condition = above(temperature, limit, limit - limits.hysteresis_celsius)
        yield gpu.observation(alert, condition, temperature_celsius=temperature, limit_celsius=limit)
    total = min(memory.hot.total, thresholds.HOT_WINDOW)
    yield gpu.observation(
        rules.HOT_TOO_LONG,
        above(total, settings.hot_limit, _STILL_HOT * settings.hot_limit),
        hot_seconds=round(total, 3),
        window_seconds=thresholds.HOT_WINDOW,
        limit_celsius=limits.warning_celsius,
        temperature_celsius=temperature,
    )


def _margin(gpu: CheckedGpu) -> Iterator[Observation]:
    left = gpu.degrees_left(Limit.SLOWDOWN)
    if left is not None:
        margin = gpu.limits.slowdown_margin_celsius
        condition = below(left, margin, margin + gpu.limits.hysteresis_celsius)
        distance = apart(-left, "the point where it slows itself down")
        yield gpu.observation(
            rules.NEAR_SLOWDOWN, condition, left_celsius=left, margin_celsius=margin, distance=distance
        )


def _memory_chips(gpu: CheckedGpu) -> Iterator[Observation]:
    temperature = gpu.reading.memory_temperature_celsius
    if temperature is None:
        return
    limit = gpu.limits.memory_warning_celsius
    if gpu.reading.memory_max_celsius is not None:
        limit = min(limit, gpu.reading.memory_max_celsius - gpu.limits.slowdown_margin_celsius)
    condition = above(temperature, limit, limit - gpu.limits.hysteresis_celsius)
    yield gpu.observation(
        rules.MEMORY_TEMPERATURE, condition, temperature_celsius=temperature, limit_celsius=limit
    )
