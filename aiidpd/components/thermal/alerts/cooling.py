"""Alerts about the cooling (pure)."""

from __future__ import annotations

from collections.abc import Iterator

from aiidpd.alerts.state import Observation, Status, above
from aiidpd.components.thermal.alerts import rules
from aiidpd.components.thermal.forecast.forecast import Forecast, GpuCourse
from aiidpd.components.thermal.signals.checked import CheckedGpu
from aiidpd.components.thermal.signals.rolling import spread
from aiidpd.components.thermal.signals.thresholds import AlertSettings

_NOT_HEATING = 0.2  # of the rate that is too much


def cooling(
    course: GpuCourse, ahead: Forecast | None, gpu: CheckedGpu, settings: AlertSettings
) -> Iterator[Observation]:
    """Yield the status of the alerts about fans and resistance; nothing where the figures aren't known."""
    yield from _fan(course, gpu, settings)
    if ahead is not None and ahead.drift_ratio is not None:
        # What a warmer room than the assumed one would explain is no dust.
        sure = settings.drift_ratio + ahead.drift_error
        yield gpu.observation(
            rules.RESISTANCE_DRIFT,
            above(ahead.drift_ratio, sure, settings.drift_clear_ratio),
            resistance=ahead.resistance,
            baseline=ahead.baseline,
            drift_ratio=round(ahead.drift_ratio, 4),
        )


def _fan(course: GpuCourse, gpu: CheckedGpu, settings: AlertSettings) -> Iterator[Observation]:
    fan = gpu.reading.fan_ratio
    buckets = course.steps.last(settings.fan_steady)
    if fan is None or gpu.temperature is None or gpu.reading.power_watts is None or not buckets:
        return
    powers = [figures[1] for _, figures in buckets]
    steady = spread(powers) <= settings.steady_power_ratio * max(powers)
    rate = course.heat.slope()
    if rate is None:
        return
    condition = Status.BETWEEN
    if steady and rate >= settings.fan_heating_rate and fan >= settings.fan_intended_ratio:
        condition = Status.TRUE
    elif steady and rate <= _NOT_HEATING * settings.fan_heating_rate:
        condition = Status.FALSE
    yield gpu.observation(
        rules.FAN_INEFFECTIVE,
        condition,
        heating_celsius_per_minute=round(rate * 60, 2),
        power_watts=round(powers[-1], 1),
        fan_percent=round(fan * 100, 1),
        temperature_celsius=gpu.temperature,
    )
