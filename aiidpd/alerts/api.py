"""Alerts over the API."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from aiidpd.alerts.manager import ActiveAlert
from aiidpd.api.access import Access
from aiidpd.api.document import Scalar, SeverityName, document_of, severity_name
from aiidpd.api.route import Answer, Call, Route


@dataclass(frozen=True, slots=True)
class AlertDocument:
    """An alert that is pending or fires."""

    name: str
    subject: str
    """Subject: a GPU's UUID, a container's name."""
    stage: Literal["pending", "firing"]
    severity: SeverityName
    summary: str
    remedy: str
    """First thing to do."""
    runbook: str
    """Page that has the rest."""
    since: float
    """Since when it is pending, or fires."""
    known_at: float
    """Time at which its condition was last known."""
    condition: Literal["holds", "between", "clear", "unknown"]
    """Status of the condition: between is within the hysteresis, unknown means that the alert rests on
    what was known before.
    """
    evidence: Mapping[str, Scalar]
    source: str
    """Worker that watches it."""
    simulated: bool
    restored: bool
    """True where it is from before a restart of the daemon and was not confirmed since."""


@dataclass(frozen=True, slots=True)
class AlertsDocument:
    """Alerts: those that fire first, the gravest first."""

    alerts: tuple[AlertDocument, ...]


def alert_document(alert: ActiveAlert) -> AlertDocument:
    """Return the document of ``alert``."""
    return document_of(
        AlertDocument,
        alert,
        stage=alert.stage.value,
        severity=severity_name(alert.severity),
        evidence=dict(alert.evidence),
    )


def routes(active: Callable[[], Iterable[ActiveAlert]]) -> tuple[Route, ...]:
    """Return the route of the alerts that are pending or fire."""

    async def alerts(_call: Call) -> Answer:
        return AlertsDocument(tuple(alert_document(alert) for alert in active()))

    return (Route("GET", "/v1/alerts", Access.READ, alerts, "What fires or is about to.", AlertsDocument),)
