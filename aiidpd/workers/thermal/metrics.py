"""What Prometheus sees of the GPUs: the last reading, as long as it is true."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from aiidpd.kernel.latest import Latest
from aiidpd.workers.thermal.gpu import CLOCK_EVENTS, GpuReading, GpuSnapshot

_GPU = ("gpu", "uuid")
_GAUGES = (
    ("temperature_celsius", "temperature_celsius", "Core temperature."),
    ("slowdown_temperature_celsius", "slowdown_celsius", "Core temperature from which the driver throttles."),
    ("shutdown_temperature_celsius", "shutdown_celsius", "Core temperature at which the GPU shuts down."),
    ("power_watts", "power_watts", "Power drawn by the whole board."),
    ("power_limit_watts", "power_limit_watts", "Power limit that the driver enforces."),
    ("fan_speed_ratio", "fan_ratio", "Intended fan speed; 1 is the full speed."),
    ("utilisation_ratio", "utilisation_ratio", "Share of time in which a kernel was running."),
    (
        "memory_controller_utilisation_ratio",
        "memory_controller_utilisation_ratio",
        "Share of time in which GPU memory was read or written.",
    ),
    ("memory_used_bytes", "memory_used_bytes", "GPU memory in use, with what the driver reserves."),
    ("memory_total_bytes", "memory_total_bytes", "GPU memory that the card has."),
    ("graphics_clock_hertz", "graphics_clock_hertz", "Present clock of the graphics domain."),
    ("memory_clock_hertz", "memory_clock_hertz", "Present clock of the memory."),
)


class ThermalCollector(Collector):
    """Builds the ``aiidpd_gpu_`` families from ``latest`` at each scrape; what is not known is left out.

    Every series has the labels gpu (the driver's index) and uuid; ``aiidpd_gpu_info`` adds the name,
    the driver's version and whether the GPU is simulated.
    """

    def __init__(self, latest: Latest[GpuSnapshot]) -> None:
        self._latest = latest

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering does not collect."""
        return []

    def collect(self) -> Iterator[Metric]:
        reading = self._latest.get()
        if reading is None:
            return
        snapshot = reading.value
        for name, figure, help_text in _GAUGES:
            family = GaugeMetricFamily(f"aiidpd_gpu_{name}", help_text, labels=_GPU)
            for gpu in snapshot.gpus:
                value = getattr(gpu, figure)
                if value is not None:
                    family.add_metric(_labels(gpu), value)
            if family.samples:
                yield family
        yield from _clock_events(snapshot)
        yield _info(snapshot)


def _labels(gpu: GpuReading) -> tuple[str, str]:
    return str(gpu.index), gpu.uuid


def _clock_events(snapshot: GpuSnapshot) -> Iterator[Metric]:
    family = GaugeMetricFamily(
        "aiidpd_gpu_clock_event_active",
        "Whether this reason holds the clocks down now (1) or not (0); sw_power_cap is normal under load.",
        labels=(*_GPU, "reason"),
    )
    for gpu in snapshot.gpus:
        if gpu.clock_events is not None:
            for reason in CLOCK_EVENTS.values():
                family.add_metric((*_labels(gpu), reason), float(reason in gpu.clock_events))
    if family.samples:
        yield family


def _info(snapshot: GpuSnapshot) -> Metric:
    family = InfoMetricFamily("aiidpd_gpu", "What each GPU is, and whether it is simulated.", labels=_GPU)
    for gpu in snapshot.gpus:
        values = {
            "name": gpu.name,
            "driver_version": snapshot.driver_version,
            "simulated": "true" if snapshot.simulated else "false",
        }
        family.add_metric(_labels(gpu), values)
    return family
