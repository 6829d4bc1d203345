"""Metrics of the GPUs: the last reading, as long as it is current."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, TypeAlias

from prometheus_client.metrics_core import Metric as PrometheusMetric
from prometheus_client.registry import Collector

from aiidpd.components.thermal import xid
from aiidpd.components.thermal.figures import FAMILIES, Kind, Metric
from aiidpd.components.thermal.gpu import CLOCK_EVENTS, GpuReading, GpuSnapshot, MigInstance
from aiidpd.kernel.latest import Latest
from aiidpd.telemetry.family import CounterFamily, Family, GaugeFamily, InfoFamily

_XIDS: Final = "xid_events"
Sample: TypeAlias = tuple[tuple[str, ...], float | None]
"""Values of the labels behind gpu and uuid, and that of the series; None makes no series."""


class ThermalCollector(Collector):
    """Builds the ``aiidpd_gpu_`` families from ``latest`` at each scrape; what is not known is left out.

    Every series has the labels gpu (the driver's index) and uuid; ``aiidpd_gpu_info`` adds the name,
    the driver's version and whether the GPU is simulated. The Xid counters come from ``ledger`` and stay
    when their GPU is lost, so they have the uuid alone.
    """

    def __init__(self, latest: Latest[GpuSnapshot], ledger: xid.XidLedger | None = None) -> None:
        self._latest = latest
        self._ledger = ledger or xid.XidLedger()

    def describe(self) -> Iterable[PrometheusMetric]:
        """Return nothing, so that registering does not collect."""
        return []

    def collect(self) -> Iterator[Family]:
        reading = self._latest.get()
        gpus = [(_labels(gpu), gpu) for gpu in reading.value.gpus] if reading else []
        for name, metrics in FAMILIES.items():
            if name == _XIDS:
                family = _xids(metrics[0], self._ledger)
            elif reading is None:
                continue
            elif metrics[0].kind is Kind.INFO:
                family = _info(metrics[0], reading.value)
            else:
                family = _family(metrics, gpus)
            if family.points:
                yield family


def _family(metrics: tuple[Metric, ...], gpus: Iterable[tuple[tuple[str, str], GpuReading]]) -> Family:
    first = metrics[0]
    make = CounterFamily if first.kind is Kind.COUNTER else GaugeFamily
    family = make(f"aiidpd_gpu_{first.name}", first.help, labels=first.labels)
    for labels, gpu in gpus:
        for metric in metrics:
            if not metric.value:
                for values, part in _PARTS[metric.name](gpu):
                    if part is not None:
                        family.add_metric((*labels, *values), part)
            elif (value := getattr(gpu, metric.value)) is not None:
                family.add_metric((*labels, *metric.label_values), value)
    return family


def _labels(gpu: GpuReading) -> tuple[str, str]:
    return str(gpu.index), gpu.uuid


def _clock_events(gpu: GpuReading) -> Iterator[Sample]:
    if gpu.clock_events is not None:
        for reason in CLOCK_EVENTS.values():
            yield (reason,), reason in gpu.clock_events


def _fan_ratios(gpu: GpuReading) -> Iterator[Sample]:
    for fan in gpu.fans:
        yield (str(fan.index),), fan.speed_ratio


def _fan_turns(gpu: GpuReading) -> Iterator[Sample]:
    for fan in gpu.fans:
        yield (str(fan.index),), fan.speed_rpm


def _process_memory(gpu: GpuReading) -> Iterator[Sample]:
    # By container: pids would be labels without bound. What runs outside of containers has an empty one.
    held: dict[str, float] = {}
    for process in gpu.processes or ():
        if process.used_memory_bytes is not None:
            container = (process.container_id or "")[:12]
            held[container] = held.get(container, 0.0) + process.used_memory_bytes
    for container, used in sorted(held.items()):
        yield (container,), used


def _mig_used(gpu: GpuReading) -> Iterator[Sample]:
    for part in gpu.mig_instances:
        yield _mig_labels(part), part.memory_used_bytes


def _mig_total(gpu: GpuReading) -> Iterator[Sample]:
    for part in gpu.mig_instances:
        yield _mig_labels(part), part.memory_total_bytes


def _mig_labels(part: MigInstance) -> tuple[str, str, str]:
    return part.uuid, str(part.gpu_instance), str(part.compute_instance)


_PARTS: Final[Mapping[str, Callable[[GpuReading], Iterator[Sample]]]] = {
    "clock_event_active": _clock_events,
    "fan_intended_ratio": _fan_ratios,
    "fan_intended_rpm": _fan_turns,
    "container_memory_bytes": _process_memory,
    "mig_memory_used_bytes": _mig_used,
    "mig_memory_total_bytes": _mig_total,
}
"""Metrics whose series are parts of a field, by name."""


def _xids(metric: Metric, ledger: xid.XidLedger) -> Family:
    family = CounterFamily(f"aiidpd_gpu_{metric.name}", metric.help, labels=metric.labels)
    for uuid in ledger.uuids():
        for code, count in ledger.counts(uuid):
            family.add_metric((uuid, str(code), xid.meaning(code).kind.value), count)
    return family


def _info(metric: Metric, snapshot: GpuSnapshot) -> Family:
    family = InfoFamily("aiidpd_gpu", metric.help, labels=metric.labels)
    simulated = "true" if snapshot.simulated else "false"
    for gpu in snapshot.gpus:
        family.add_metric((*_labels(gpu), gpu.name, snapshot.driver_version, simulated), 1)
    return family
