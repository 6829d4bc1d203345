"""What Prometheus sees of the GPUs: the last reading, as long as it is true."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from aiidpd.components.thermal import xid
from aiidpd.components.thermal.figures import COUNTERS, FLAGS, GAUGES, THROTTLE_SECONDS
from aiidpd.components.thermal.gpu import CLOCK_EVENTS, GpuReading, GpuSnapshot
from aiidpd.kernel.latest import Latest
from aiidpd.telemetry.family import CounterFamily, Family, GaugeFamily, InfoFamily

_GPU = ("gpu", "uuid")


class ThermalCollector(Collector):
    """Builds the ``aiidpd_gpu_`` families from ``latest`` at each scrape; what is not known is left out.

    Every series has the labels gpu (the driver's index) and uuid; ``aiidpd_gpu_info`` adds the name,
    the driver's version and whether the GPU is simulated. The Xid counters come from ``ledger`` and stay
    when their GPU is lost, so they have the uuid alone.
    """

    def __init__(self, latest: Latest[GpuSnapshot], ledger: xid.XidLedger | None = None) -> None:
        self._latest = latest
        self._ledger = ledger or xid.XidLedger()

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering does not collect."""
        return []

    def collect(self) -> Iterator[Metric]:
        reading = self._latest.get()
        if reading is not None:
            for family in _families(reading.value):
                if family.points:
                    yield family
        xids = _xids(self._ledger)
        if xids.points:
            yield xids


def _families(snapshot: GpuSnapshot) -> Iterator[Family]:
    gpus = snapshot.gpus
    labelled = [(_labels(gpu), gpu) for gpu in gpus]
    for name, figure, text in GAUGES:
        yield _filled(GaugeFamily(f"aiidpd_gpu_{name}", text, labels=_GPU), labelled, figure)
    for name, figure, text in COUNTERS:
        yield _filled(CounterFamily(f"aiidpd_gpu_{name}", text, labels=_GPU), labelled, figure)
    for name, figure, text in FLAGS:
        yield _filled(GaugeFamily(f"aiidpd_gpu_{name}", text, labels=_GPU), labelled, figure)
    yield _throttling(gpus)
    yield _clock_events(gpus)
    yield from _fans(gpus)
    yield _process_memory(gpus)
    yield from _parts(gpus)
    yield _info(snapshot)


def _filled(family: Family, gpus: Iterable[tuple[tuple[str, str], GpuReading]], figure: str) -> Family:
    for labels, gpu in gpus:
        value = getattr(gpu, figure)
        if value is not None:
            family.add_metric(labels, value)
    return family


def _labels(gpu: GpuReading) -> tuple[str, str]:
    return str(gpu.index), gpu.uuid


def _throttling(gpus: Iterable[GpuReading]) -> Family:
    family = CounterFamily(
        "aiidpd_gpu_throttled_seconds",
        "Time for which this reason held the clocks down, since the driver was loaded.",
        labels=(*_GPU, "reason"),
    )
    for gpu in gpus:
        labels = _labels(gpu)
        for reason, figure in THROTTLE_SECONDS:
            value = getattr(gpu, figure)
            if value is not None:
                family.add_metric((*labels, reason), value)
    return family


def _clock_events(gpus: Iterable[GpuReading]) -> Family:
    family = GaugeFamily(
        "aiidpd_gpu_clock_event_active",
        "Whether this reason holds the clocks down now (1) or not (0); sw_power_cap is normal under load.",
        labels=(*_GPU, "reason"),
    )
    for gpu in gpus:
        if gpu.clock_events is not None:
            labels = _labels(gpu)
            for reason in CLOCK_EVENTS.values():
                family.add_metric((*labels, reason), reason in gpu.clock_events)
    return family


def _fans(gpus: Iterable[GpuReading]) -> Iterator[Family]:
    labels = (*_GPU, "fan")
    ratio = GaugeFamily(
        "aiidpd_gpu_fan_intended_ratio", "Intended speed of each fan; 1 is the full speed.", labels=labels
    )
    turns = GaugeFamily(
        "aiidpd_gpu_fan_intended_rpm", "Intended speed of each fan in turns a minute.", labels=labels
    )
    for gpu in gpus:
        for fan in gpu.fans:
            for family, value in ((ratio, fan.speed_ratio), (turns, fan.speed_rpm)):
                if value is not None:
                    family.add_metric((*_labels(gpu), str(fan.index)), value)
    yield ratio
    yield turns


def _process_memory(gpus: Iterable[GpuReading]) -> Family:
    # By container: pids would be labels without bound. What runs outside of containers has an empty one.
    family = GaugeFamily(
        "aiidpd_gpu_container_memory_bytes",
        "GPU memory that the processes of a container hold; container is the short id, empty for the host.",
        labels=(*_GPU, "container"),
    )
    for gpu in gpus:
        held: dict[str, float] = {}
        for process in gpu.processes or ():
            if process.used_memory_bytes is not None:
                container = (process.container_id or "")[:12]
                held[container] = held.get(container, 0.0) + process.used_memory_bytes
        for container, used in sorted(held.items()):
            family.add_metric((*_labels(gpu), container), used)
    return family


def _parts(gpus: Iterable[GpuReading]) -> Iterator[Family]:
    labels = (*_GPU, "mig_uuid", "gpu_instance", "compute_instance")
    used = GaugeFamily("aiidpd_gpu_mig_memory_used_bytes", "Memory in use of a MIG part.", labels=labels)
    total = GaugeFamily("aiidpd_gpu_mig_memory_total_bytes", "Memory that a MIG part has.", labels=labels)
    for gpu in gpus:
        for part in gpu.mig_instances:
            values = (*_labels(gpu), part.uuid, str(part.gpu_instance), str(part.compute_instance))
            for family, value in ((used, part.memory_used_bytes), (total, part.memory_total_bytes)):
                if value is not None:
                    family.add_metric(values, value)
    yield used
    yield total


def _xids(ledger: xid.XidLedger) -> Family:
    family = CounterFamily(
        "aiidpd_gpu_xid_events",
        "Xid events since the daemon's start; class is what to look into first: "
        "application, driver, hardware or unknown.",
        labels=("uuid", "xid", "class"),
    )
    for uuid in ledger.uuids():
        for code, count in ledger.counts(uuid):
            family.add_metric((uuid, str(code), xid.meaning(code).kind.value), count)
    return family


def _info(snapshot: GpuSnapshot) -> Family:
    family = InfoFamily(
        "aiidpd_gpu",
        "What each GPU is, and whether it is simulated.",
        labels=(*_GPU, "name", "driver_version", "simulated"),
    )
    simulated = "true" if snapshot.simulated else "false"
    for gpu in snapshot.gpus:
        family.add_metric((*_labels(gpu), gpu.name, snapshot.driver_version, simulated), 1)
    return family
