"""Metrics of the daemon itself: tasks, conditions, build."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Sequence

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from aiidpd.kernel.conditions import Condition
from aiidpd.kernel.events import Severity
from aiidpd.kernel.task import WorkerState, WorkerStatus
from aiidpd.telemetry.family import CounterFamily, GaugeFamily


class WorkersCollector(Collector):
    """State and counts of each worker, from its status."""

    def __init__(self, statuses: Callable[[], Sequence[WorkerStatus]]) -> None:
        self._statuses = statuses

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        statuses = self._statuses()
        yield _gauge(
            "up", "Whether the worker's last pass succeeded, or it is inactive.", statuses, lambda s: s.up
        )
        yield _gauge(
            "simulated", "Whether what the worker reads is made up.", statuses, lambda s: s.simulated
        )
        yield _gauge(
            "last_success_timestamp_seconds",
            "When the worker's last successful pass ended.",
            statuses,
            lambda s: s.last_success_at,
        )
        yield _gauge(
            "pass_duration_seconds",
            "How long the worker's last pass took.",
            statuses,
            lambda s: s.last_duration,
        )
        passes = CounterFamily(
            "aiidpd_worker_passes", "Passes of the worker's loop that ended.", labels=["worker", "outcome"]
        )
        restarts = CounterFamily(
            "aiidpd_worker_restarts", "How often the supervisor started the worker anew.", labels=["worker"]
        )
        state = GaugeFamily(
            "aiidpd_worker_state", "1 for the state that the worker is in.", labels=["worker", "state"]
        )
        for status in statuses:
            passes.add_metric([status.name, "success"], status.passes)
            passes.add_metric([status.name, "failure"], status.failed_passes)
            restarts.add_metric([status.name], status.restarts)
            for known in WorkerState:
                state.add_metric([status.name, known.value], known is status.state)
        yield passes
        yield restarts
        yield state


class ConditionsCollector(Collector):
    """Counts the active conditions by severity; none is a zero, since that is known."""

    def __init__(self, active: Callable[[], Sequence[Condition]]) -> None:
        self._active = active

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        counts = dict.fromkeys(Severity, 0)
        for condition in self._active():
            counts[condition.severity] += 1
        family = GaugeFamily("aiidpd_conditions", "Conditions that are active now.", labels=["severity"])
        for severity, count in counts.items():
            family.add_metric([severity.name.lower()], count)
        yield family


class BuildCollector(Collector):
    """Versions of aiidpd and of Python."""

    def __init__(self, version: str) -> None:
        self._labels = {"version": version, "python": platform.python_version()}

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        family = GaugeFamily(
            "aiidpd_build_info", "1, with the versions as labels.", labels=list(self._labels)
        )
        family.add_metric(list(self._labels.values()), 1)
        yield family


def _gauge(
    name: str,
    documentation: str,
    statuses: Sequence[WorkerStatus],
    value: Callable[[WorkerStatus], float | None],
) -> Metric:
    family = GaugeFamily(f"aiidpd_worker_{name}", documentation, labels=["worker"])
    for status in statuses:
        number = value(status)
        if number is not None:
            family.add_metric([status.name], number)
    return family
