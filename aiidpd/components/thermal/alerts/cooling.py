"""Whether the cooling does what it is asked for (pure)."""

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
    course: GpuCourse, foresight: Forecast | None, look: CheckedGpu, policy: AlertSettings
) -> Iterator[Observation]:
    """Yield how the alerts about fans and resistance stand; nothing where the figures aren't known."""
    yield from _fan(course, look, policy)
    if foresight is not None and foresight.drift_ratio is not None:
        # What a warmer room than the assumed one would explain is no dust.
        sure = policy.drift_ratio + foresight.drift_error
        yield look.observation(
            rules.RESISTANCE_DRIFT,
            above(foresight.drift_ratio, sure, policy.drift_clear_ratio),
            resistance=foresight.resistance,
            baseline=foresight.baseline,
            drift_ratio=round(foresight.drift_ratio, 4),
        )


def _fan(course: GpuCourse, look: CheckedGpu, policy: AlertSettings) -> Iterator[Observation]:
    fan = look.reading.fan_ratio
    stretches = course.steps.last(policy.fan_steady)
    if fan is None or look.temperature is None or look.reading.power_watts is None or not stretches:
        return
    powers = [figures[1] for _, figures in stretches]
    steady = spread(powers) <= policy.steady_power_ratio * max(powers)
    rate = course.heat.slope()
    if rate is None:
        return
    condition = Status.BETWEEN
    if steady and rate >= policy.fan_heating_rate and fan >= policy.fan_asked_ratio:
        condition = Status.TRUE
    elif steady and rate <= _NOT_HEATING * policy.fan_heating_rate:
        condition = Status.FALSE
    yield look.observation(
        rules.FAN_INEFFECTIVE,
        condition,
        heating_celsius_per_minute=round(rate * 60, 2),
        power_watts=round(powers[-1], 1),
        fan_percent=round(fan * 100, 1),
        temperature_celsius=look.temperature,
    )
