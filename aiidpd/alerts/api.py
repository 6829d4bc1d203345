"""Alerts over the API."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from pydantic import Field

from aiidpd.api.access import Access
from aiidpd.api.document import Document, Scalar, SeverityName
from aiidpd.api.route import Answer, Call, Route


class AlertDocument(Document):
    """An alert that is pending or fires."""

    name: str
    subject: str = Field(description="What it is about: a GPU's UUID, a container's name.")
    stage: Literal["pending", "firing"]
    severity: SeverityName
    summary: str
    remedy: str = Field(description="What to do first.")
    runbook: str = Field(description="The page that tells the rest.")
    since: float = Field(description="Since when it is pending, or fires.")
    known_at: float = Field(description="When its condition was last known.")
    condition: Literal["holds", "between", "clear", "unknown"] = Field(
        description="How the condition stands: between is within the hysteresis, "
        "unknown means that the alert stands on what was known before."
    )
    evidence: Mapping[str, Scalar]
    source: str = Field(description="The worker that watches it.")
    simulated: bool
    restored: bool = Field(
        description="Whether it stands from before a restart of the daemon and was not confirmed since."
    )


class AlertsDocument(Document):
    """The alerts: those that fire first, the gravest first."""

    alerts: list[AlertDocument]


def routes(active: Callable[[], Iterable[Any]]) -> tuple[Route, ...]:
    """Return the route of the alerts that are pending or fire."""

    async def alerts(_call: Call) -> Answer:
        return AlertsDocument(alerts=[AlertDocument.model_validate(alert) for alert in active()])

    return (Route("GET", "/v1/alerts", Access.READ, alerts, "What fires or is about to.", AlertsDocument),)
