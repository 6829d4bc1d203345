"""Alerts about the cooling (pure)."""

from __future__ import annotations

from collections.abc import Iterator

from aiidpd.alerts.state import Observation, Status, above
from aiidpd.components.thermal.alerts import rules
from aiidpd.components.thermal.forecast.forecast import Forecast, ForecastState
from aiidpd.components.thermal.settings import AlertSettings
from aiidpd.components.thermal.signals import thresholds
from aiidpd.components.thermal.signals.checked import CheckedGpu
from aiidpd.components.thermal.signals.rolling import spread

_NOT_HEATING = 0.2  # of the rate that is too much


def evaluate(
    state: ForecastState, forecast: Forecast, gpu: CheckedGpu, settings: AlertSettings
) -> Iterator[Observation]:
    """Yield the status of the alerts about fans and thermal resistance, where the figures are known."""
    yield from _fan(state, gpu)
    if forecast.drift_ratio is not None:
        # A rise that a warmer room than the assumed one would explain is no dust.
        drift = settings.resistance_drift_percent / 100
        limit = 1 + drift + forecast.drift_error
        yield gpu.observation(
            rules.RESISTANCE_DRIFT,
            above(forecast.drift_ratio, limit, 1 + drift / 2),
            resistance=forecast.resistance,
            baseline=forecast.baseline,
            drift_ratio=round(forecast.drift_ratio, 4),
        )


def _fan(state: ForecastState, gpu: CheckedGpu) -> Iterator[Observation]:
    fan = gpu.reading.fan_ratio
    buckets = state.operations.last(thresholds.FAN_STEADY)
    if fan is None or gpu.temperature is None or gpu.reading.power_watts is None or not buckets:
        return
    powers = [figures[1] for _, figures in buckets]
    steady = spread(powers) <= thresholds.STEADY_POWER_RATIO * max(powers)
    rate = state.temperatures.slope()
    if rate is None:
        return
    condition = Status.BETWEEN
    if steady and rate >= thresholds.FAN_HEATING_RATE and fan >= thresholds.FAN_INTENDED_RATIO:
        condition = Status.TRUE
    elif steady and rate <= _NOT_HEATING * thresholds.FAN_HEATING_RATE:
        condition = Status.FALSE
    yield gpu.observation(
        rules.FAN_INEFFECTIVE,
        condition,
        heating_celsius_per_minute=round(rate * 60, 2),
        power_watts=round(powers[-1], 1),
        fan_percent=round(fan * 100, 1),
        temperature_celsius=gpu.temperature,
    )
