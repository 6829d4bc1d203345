"""Metrics of the liveness of engines: verdicts, starts and checks."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from aiidpd.components.engines.liveness.verdicts import Verdicts
from aiidpd.telemetry.family import CounterFamily, GaugeFamily


class LivenessCollector(Collector):
    """Builds its families from the last verdicts alone."""

    def __init__(self, verdicts: Verdicts) -> None:
        self._verdicts = verdicts

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that a registration does not collect."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Yield the present verdict of each engine, the phases of its last start, and the checks."""
        verdict = GaugeFamily(
            "aiidpd_engine_verdict",
            "Verdict on the liveness of an engine; always 1.",
            labels=["endpoint", "model", "verdict"],
        )
        since = GaugeFamily(
            "aiidpd_engine_verdict_since_timestamp_seconds",
            "When the present verdict on an engine began, in Unix seconds.",
            labels=["endpoint", "model"],
        )
        start = GaugeFamily(
            "aiidpd_engine_start_seconds",
            "Seconds from the start of an engine's container to a phase of its last start that was observed: "
            "its page answers, its model is loaded, it makes its first step.",
            labels=["endpoint", "model", "phase"],
        )
        for name, each in self._verdicts.all():
            verdict.add_metric([name, each.model, each.verdict.value], 1)
            since.add_metric([name, each.model], each.since)
            if each.start is not None:
                phases = {
                    "answered": each.start.answered_seconds,
                    "loaded": each.start.loaded_seconds,
                    "first_step": each.start.first_step_seconds,
                }
                for phase, seconds in phases.items():
                    if seconds is not None:
                        start.add_metric([name, each.model, phase], seconds)
        checks = CounterFamily(
            "aiidpd_engine_checks",
            "Completions of one token that were sent to idle engines to see whether they answer, by result.",
            labels=["result"],
        )
        for result, count in sorted(self._verdicts.checks.items()):
            checks.add_metric([result], count)
        yield from (family for family in (verdict, since, start, checks) if family.points)
