"""Containers of the last reading as Prometheus metrics."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from aiidpd.components.containers.memory import ContainersMemory
from aiidpd.components.containers.phase import phase
from aiidpd.components.containers.runtime import RuntimeSnapshot
from aiidpd.kernel.latest import Latest
from aiidpd.telemetry.family import CounterFamily, GaugeFamily


class ContainersCollector(Collector):
    """Builds its families from the cell alone; without a current reading it yields none.

    Only the present state and health have a series (value 1), so that the number of series stays
    at about eight a container.
    """

    def __init__(self, latest: Latest[RuntimeSnapshot], memory: ContainersMemory) -> None:
        self._latest = latest
        self._memory = memory

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        reading = self._latest.get()
        if reading is None:
            return
        info = GaugeFamily(
            "aiidpd_container_info",
            "What a container is, as labels; always 1.",
            labels=["container", "image", "project", "service", "gpu"],
        )
        state = GaugeFamily(
            "aiidpd_container_state",
            "The state that a container is in, as Docker names it; always 1.",
            labels=["container", "state"],
        )
        shown = GaugeFamily(
            "aiidpd_container_phase",
            "The state that a container is in, in one word with its health; always 1.",
            labels=["container", "phase"],
        )
        ends = CounterFamily(
            "aiidpd_container_deaths",
            "Ends of runs since the daemon started, by who ended them: itself, request (through the "
            "container engine), aiidpd, kernel (out of memory), unknown (killed, and nobody was observed).",
            labels=["container", "by"],
        )
        interruptions = CounterFamily(
            "aiidpd_container_stream_interruptions",
            "How often the stream of the container engine's events ended, was silent or withheld an event.",
        )
        health = GaugeFamily(
            "aiidpd_container_health",
            "What the health check of a running container says (healthy, unhealthy, starting); always 1.",
            labels=["container", "health"],
        )
        restarts = CounterFamily(
            "aiidpd_container_restarts",
            "Restarts by Docker's own restart policy since the container was last started by hand.",
            labels=["container"],
        )
        started = GaugeFamily(
            "aiidpd_container_start_time_seconds",
            "When the present run of a container started, in Unix seconds.",
            labels=["container"],
        )
        code = GaugeFamily(
            "aiidpd_container_exit_code",
            "The exit code of the last run of a container that does not run now.",
            labels=["container"],
        )
        oom = GaugeFamily(
            "aiidpd_container_oom_claimed",
            "1 where Docker says that the kernel killed a process of the last run for memory.",
            labels=["container"],
        )
        engine = GaugeFamily(
            "aiidpd_container_engine_info",
            "The version of the container engine; always 1.",
            labels=["version"],
        )
        engine.add_metric([reading.value.version], 1)
        for one in reading.value.containers:
            name = [one.name]
            info.add_metric([one.name, one.image, one.project, one.service, str(one.gpu).lower()], 1)
            state.add_metric([one.name, one.state], 1)
            shown.add_metric([one.name, str(phase(one))], 1)
            restarts.add_metric(name, one.restart_count)
            oom.add_metric(name, float(one.oom_killed))
            if one.health is not None:
                health.add_metric([one.name, one.health], 1)
            if one.running and one.started_at is not None:
                started.add_metric(name, one.started_at)
            if one.exit_code is not None:
                code.add_metric(name, one.exit_code)
        for (container, by), count in self._memory.ends.items():
            ends.add_metric([container, by], count)
        interruptions.add_metric([], self._memory.interruptions)
        yield from (engine, info, state, shown, ends, interruptions, health, restarts, started, code, oom)
