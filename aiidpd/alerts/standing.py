"""An alert as it stands, for whoever looks (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aiidpd.alerts.rule import AlertRule
from aiidpd.alerts.state import Alert, Stage
from aiidpd.kernel.events import Scalar, Severity


@dataclass(frozen=True, slots=True)
class ActiveAlert:
    """An alert as it stands; ``since`` and ``known_at`` are Unix seconds.

    ``condition`` is "unknown" where the alert stands on what was known at ``known_at``. ``restored`` says
    that it stands from before a restart of the daemon, and that its condition was not confirmed since.
    """

    name: str
    subject: str
    stage: Stage
    severity: Severity
    summary: str
    remedy: str
    runbook: str
    since: float
    known_at: float
    condition: str
    evidence: Mapping[str, Scalar]
    source: str
    simulated: bool
    restored: bool = False


def stands(
    source: str, rule: AlertRule, subject: str, alert: Alert, wall: float, *, simulated: bool
) -> ActiveAlert:
    """Return how ``alert`` stands; ``wall`` is the Unix second at which the monotonic clock was 0."""
    return ActiveAlert(
        name=rule.name,
        subject=subject,
        stage=alert.stage,
        severity=rule.severity,
        summary=rule.say(alert.evidence),
        remedy=rule.remedy,
        runbook=rule.runbook,
        since=wall + alert.since,
        known_at=wall + alert.known,
        condition=alert.condition.value,
        evidence=alert.evidence,
        source=source,
        simulated=simulated,
        restored=alert.restored is not None,
    )
