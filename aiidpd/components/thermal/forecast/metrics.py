"""Metrics of the forecasts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from aiidpd.components.thermal.forecast.forecast import Forecast
from aiidpd.kernel.latest import Latest
from aiidpd.telemetry.family import GaugeFamily

_GPU = ("gpu", "uuid")
_GAUGES = (
    (
        "heating_celsius_per_second",
        "heating_celsius_per_second",
        "Change of the core temperature over half a minute; negative where it cools.",
    ),
    (
        "thermal_resistance_celsius_per_watt",
        "resistance",
        "Degrees above the GPU's own idle per watt; only while temperature, power and fan are steady.",
    ),
    (
        "thermal_resistance_baseline_celsius_per_watt",
        "baseline",
        "What the thermal resistance usually is at this fan speed; only while it is measured.",
    ),
    (
        "thermal_resistance_drift_ratio",
        "drift_ratio",
        "Thermal resistance over its baseline: 1.15 is 15 % worse than usual.",
    ),
)


class ForecastCollector(Collector):
    """Builds the families from ``latest`` at each scrape; what is not known is left out."""

    def __init__(self, latest: Latest[tuple[Forecast, ...]]) -> None:
        self._latest = latest

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering does not collect."""
        return []

    def collect(self) -> Iterator[Metric]:
        reading = self._latest.get()
        if reading is None:
            return
        seconds = GaugeFamily(
            "aiidpd_gpu_predicted_seconds_to_threshold",
            "Seconds until the next threshold at the present heating rate; absent while it does not heat.",
            labels=(*_GPU, "threshold"),
        )
        for gpu in reading.value:
            if gpu.seconds_to_threshold is not None:
                seconds.add_metric((str(gpu.index), gpu.uuid, gpu.threshold), gpu.seconds_to_threshold)
        if seconds.points:
            yield seconds
        for name, figure, text in _GAUGES:
            family = GaugeFamily(f"aiidpd_gpu_{name}", text, labels=_GPU)
            for gpu in reading.value:
                value = getattr(gpu, figure)
                if value is not None:
                    family.add_metric((str(gpu.index), gpu.uuid), value)
            if family.points:
                yield family
