"""Logs of containers as Prometheus metrics, from the last readings alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from aiidpd.components.containers.logs.failures import FAILURES
from aiidpd.components.containers.logs.named import NamedFailures
from aiidpd.components.containers.logs.watcher import LogMemory
from aiidpd.components.containers.runtime import RuntimeSnapshot
from aiidpd.kernel.reading import Reading
from aiidpd.telemetry.family import CounterFamily, GaugeFamily


class LogsCollector(Collector):
    """Builds its families from what the watcher of logs remembers."""

    def __init__(
        self,
        memory: LogMemory,
        failures: NamedFailures,
        containers: Callable[[], Reading[RuntimeSnapshot] | None],
    ) -> None:
        self._memory = memory
        self._failures = failures
        self._containers = containers

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        lines = GaugeFamily(
            "aiidpd_container_log_lines_per_second",
            "Lines that a container with an engine or a GPU wrote a second when its log was last read.",
            labels=["container"],
        )
        size = GaugeFamily(
            "aiidpd_container_log_bytes_per_second",
            "Bytes of output that it wrote a second then.",
            labels=["container"],
        )
        lost = GaugeFamily(
            "aiidpd_container_gpu_lost",
            "1 where the log of a container says that its GPU is lost, 0 where it does not.",
            labels=["container"],
        )
        named = CounterFamily(
            "aiidpd_container_failures_named",
            "Deaths of containers whose failure was named by their log or by the engine, by its name.",
            labels=["failure"],
        )
        reading = self._containers()
        names = {each.id: each.name for each in reading.value.containers} if reading is not None else {}
        for identity, rate in self._memory.rates.items():
            if identity in names:
                lines.add_metric([names[identity]], rate.lines)
                size.add_metric([names[identity]], rate.bytes)
        for identity, state in self._memory.states.items():
            if identity in names:
                lost.add_metric([names[identity]], float(state.lost is not None))
        for each in FAILURES:
            named.add_metric([each.name], self._failures.counts.get(each.name, 0))
        yield from (lines, size, lost, named)
