"""Findings of the last audit as Prometheus metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from aiidpd.components.audit.memory import AuditView
from aiidpd.components.audit.rule import Level
from aiidpd.kernel.latest import Latest
from aiidpd.telemetry.family import GaugeFamily


class AuditCollector(Collector):
    """Builds its families from the last report alone; before the first it yields none."""

    def __init__(self, latest: Latest[AuditView]) -> None:
        self._latest = latest

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        reading = self._latest.get()
        if reading is None:
            return
        report = reading.value.report
        total = GaugeFamily(
            "aiidpd_audit_findings",
            "What is not secured as it should be, and not waived, by severity.",
            labels=["severity"],
        )
        for level in Level:
            total.add_metric([level.word], report.counts[level])
        by_rule = GaugeFamily(
            "aiidpd_audit_rule_findings",
            "Findings of a rule that are not waived.",
            labels=["rule", "severity"],
        )
        counts = Counter((each.rule, each.severity.word) for each in report.findings if each.waived is None)
        for (rule, severity), count in sorted(counts.items()):
            by_rule.add_metric([rule, severity], count)
        waived = GaugeFamily(
            "aiidpd_audit_waived_findings",
            "Findings that a waiver accepts.",
            sum(each.waived is not None for each in report.findings),
        )
        unchecked = GaugeFamily(
            "aiidpd_audit_unchecked_rules",
            "Rules that could not be judged, since what they need could not be read.",
            len(report.unchecked),
        )
        subjects = GaugeFamily(
            "aiidpd_audit_subjects", "Containers, listeners and models that were judged.", labels=["kind"]
        )
        for kind, count in sorted(report.subjects.items()):
            subjects.add_metric([kind], count)
        yield from (total, by_rule, waived, unchecked, subjects)
