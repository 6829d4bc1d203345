"""Audit over the API."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from aiidpd.api.access import Access
from aiidpd.api.document import SnapshotResponse, current
from aiidpd.api.route import Answer, Call, Route
from aiidpd.components.audit.document import FindingDocument, document_of_finding
from aiidpd.components.audit.memory import AuditView
from aiidpd.components.audit.rule import Level
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.task import WorkerStatus


@dataclass(frozen=True, slots=True)
class AuditDocument(SnapshotResponse):
    """Outcome of the last audit, the gravest findings first, those that are waived last."""

    findings: list[FindingDocument] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    """Findings that are not waived, by severity."""
    subjects: dict[str, int] = field(default_factory=dict)
    """Number of subjects that were judged, by kind."""
    unchecked: dict[str, str] = field(default_factory=dict)
    """Rules that could not be judged, each with the reason."""


def routes(latest: Latest[AuditView], status: Callable[[], WorkerStatus]) -> tuple[Route, ...]:
    """Return the route of the audit."""

    async def audit(_call: Call) -> Answer:
        reading = latest.get()
        if reading is None:
            return current(AuditDocument, None, status())
        view, report = reading.value, reading.value.report
        return current(
            AuditDocument,
            reading,
            status(),
            findings=[
                document_of_finding(each, since=known.since if (known := view.since.get(each.key)) else None)
                for each in report.findings
            ],
            counts={level.word: report.counts[level] for level in Level},
            subjects=dict(report.subjects),
            unchecked=dict(report.unchecked),
        )

    return (
        Route(
            "GET",
            "/v1/audit",
            Access.READ,
            audit,
            "What is not secured as it should be: containers, their engine, this machine, its models.",
            AuditDocument,
        ),
    )
