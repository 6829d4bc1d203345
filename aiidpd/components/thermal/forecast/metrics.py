"""Metrics of the forecasts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from aiidpd.components.thermal.forecast.forecast import Forecast
from aiidpd.kernel.latest import Latest
from aiidpd.telemetry.family import GaugeFamily

_GPU = ("gpu", "uuid")


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
        for family, figure in _gauges():
            for gpu in reading.value:
                value = getattr(gpu, figure)
                if value is not None:
                    family.add_metric((str(gpu.index), gpu.uuid), value)
            if family.points:
                yield family


def _gauges() -> Iterator[tuple[GaugeFamily, str]]:
    """Yield a new family for each figure of a forecast. Their names are written out for docs/metrics.md."""
    yield (
        GaugeFamily(
            "aiidpd_gpu_heating_celsius_per_second",
            "Change of the core temperature over half a minute; negative where it cools.",
            labels=_GPU,
        ),
        "heating_celsius_per_second",
    )
    yield (
        GaugeFamily(
            "aiidpd_gpu_thermal_resistance_celsius_per_watt",
            "Degrees above the GPU's own idle per watt; only while temperature, power and fan are steady.",
            labels=_GPU,
        ),
        "resistance",
    )
    yield (
        GaugeFamily(
            "aiidpd_gpu_thermal_resistance_baseline_celsius_per_watt",
            "What the thermal resistance usually is at this fan speed; only while it is measured.",
            labels=_GPU,
        ),
        "baseline",
    )
    yield (
        GaugeFamily(
            "aiidpd_gpu_thermal_resistance_drift_ratio",
            "Thermal resistance over its baseline: 1.15 is 15 % worse than usual.",
            labels=_GPU,
        ),
        "drift_ratio",
    )
