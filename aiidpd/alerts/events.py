"""Events of alerts: one for each change."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from aiidpd.alerts.state import Change, Transition
from aiidpd.kernel.events import Scalar, Severity
from aiidpd.kernel.publisher import Publisher

SOURCE: Final = "alerts"
_SEVERITIES = {
    Change.PENDING: Severity.INFO,
    Change.RESOLVED: Severity.INFO,
    Change.CANCELLED: Severity.INFO,
    Change.EXPIRED: Severity.WARNING,
}


def changed(publish: Publisher, source: str, transition: Transition) -> None:
    """Publish the event ``alert.pending``, ``firing``, ``resolved``, ``cancelled`` or ``expired``."""
    rule = transition.rule
    evidence: dict[str, Scalar] = {
        "alert": rule.name,
        "alert_severity": rule.severity.name.lower(),
        "worker": source,
        "lasted_seconds": round(transition.lasted, 3),
        "remedy": rule.remedy,
        "runbook": rule.runbook,
        **transition.evidence,
    }
    severity = _SEVERITIES.get(transition.change, rule.severity)
    kind = f"alert.{transition.change.value}"
    publish.event(kind, transition.reason, about=transition.subject, severity=severity, **evidence)


def restored(publish: Publisher, source: str, names: Iterable[str]) -> None:
    """Publish the event ``alert.restored``: which alerts are active from before a restart."""
    each = sorted(names)
    reason = f"{len(each)} from before the restart, to be confirmed by the first pass: {', '.join(each)}"
    publish.event("alert.restored", reason, worker=source, count=len(each))
