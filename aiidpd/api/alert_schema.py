"""The documents about alerts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from aiidpd.api.document import Document, Scalar, SeverityName


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
