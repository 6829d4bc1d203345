"""The policies of alerts, made of the settings."""

from __future__ import annotations

from aiidpd.components.thermal.alerts.evaluate import Policies
from aiidpd.components.thermal.forecast.forecast import ForecastPolicy
from aiidpd.components.thermal.forecast.steady_state import SteadyStatePolicy
from aiidpd.components.thermal.settings import GpuOverride, GpuSettings
from aiidpd.components.thermal.signals.thresholds import AlertSettings, GpuLimits

_GAPS = 3  # readings that may be missing before the time between two tells nothing


def alarm_policies(gpu: GpuSettings) -> Policies:
    """Return the policies that ``gpu`` describes."""
    drift = gpu.alerts.resistance_drift_percent / 100
    usual = AlertSettings()
    alarms = AlertSettings(
        limits=_limits(gpu),
        overrides={override.gpu: _limits(gpu, override) for override in gpu.overrides},
        warning_dwell=gpu.alerts.warning_dwell,
        critical_dwell=gpu.alerts.critical_dwell,
        hot_seconds=gpu.alerts.hot_limit,
        throttle_seconds=gpu.alerts.throttle_limit,
        drift_ratio=1 + drift,
        drift_clear_ratio=1 + drift / 2,
        expected_gpus=gpu.alerts.expected_gpus,
        longest_gap=max(usual.longest_gap, _GAPS * gpu.interval),
    )
    settling = SteadyStatePolicy(ambient_celsius=gpu.ambient_celsius)
    return Policies(alarms, ForecastPolicy(settling=settling))


def _limits(gpu: GpuSettings, override: GpuOverride | None = None) -> GpuLimits:
    def one(name: str) -> float:
        own = getattr(override, name, None)
        return float(getattr(gpu, name) if own is None else own)

    return GpuLimits(
        warning_celsius=one("warning_celsius"),
        critical_celsius=one("critical_celsius"),
        memory_warning_celsius=one("memory_warning_celsius"),
        slowdown_margin_celsius=one("slowdown_margin_celsius"),
        clear_below=gpu.hysteresis_celsius,
    )
