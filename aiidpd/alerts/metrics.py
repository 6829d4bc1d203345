"""Metrics of the alerts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from aiidpd.alerts.manager import AlertManager
from aiidpd.alerts.state import Stage
from aiidpd.telemetry.family import CounterFamily, GaugeFamily

_LABELS = ("alert", "severity", "subject")


class AlertsCollector(Collector):
    """Builds the ``aiidpd_alert_`` families from the manager at each scrape.

    The series are bounded by the rules and the things that are watched. An alert whose condition is not
    known has no series, unless it is active; a condition without a rule has one while it is active.
    """

    def __init__(self, manager: AlertManager) -> None:
        self._manager = manager

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering does not collect."""
        return []

    def collect(self) -> Iterator[Metric]:
        firing = GaugeFamily(
            "aiidpd_alert_firing",
            "Whether the alert fires (1) or its condition is known not to.",
            labels=_LABELS,
        )
        pending = GaugeFamily(
            "aiidpd_alert_pending",
            "1 while the alert waits for its dwell to end; no series otherwise.",
            labels=_LABELS,
        )
        for rule, subject, stage in self._manager.stages():
            labels = (rule.name, rule.severity.name.lower(), subject)
            firing.add_metric(labels, stage is Stage.FIRING)
            if stage is Stage.PENDING:
                pending.add_metric(labels, 1)
        for condition in self._manager.conditions():
            firing.add_metric((condition.type, condition.severity.name.lower(), condition.subject), 1)
        fired = CounterFamily("aiidpd_alert_fired", "How often the alert began to fire.", labels=["alert"])
        for name, count in self._manager.fired.items():
            fired.add_metric([name], count)
        yield firing
        yield pending
        yield fired
