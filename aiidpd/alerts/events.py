"""Events of alerts: the name of each change on the bus (pure)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from aiidpd.alerts.state import Change, Transition
from aiidpd.kernel.events import Event, Severity

SOURCE: Final = "alerts"
_SEVERITIES = {
    Change.PENDING: Severity.INFO,
    Change.RESOLVED: Severity.INFO,
    Change.CANCELLED: Severity.INFO,
    Change.EXPIRED: Severity.WARNING,
}


def changed(source: str, transition: Transition, time: float, *, simulated: bool) -> Event:
    """Return the event ``alert.pending``, ``firing``, ``resolved``, ``cancelled`` or ``expired``."""
    rule = transition.rule
    return Event(
        time=time,
        source=SOURCE,
        kind=f"alert.{transition.change.value}",
        subject=transition.subject,
        severity=_SEVERITIES.get(transition.change, rule.severity),
        reason=transition.reason,
        evidence={
            "alert": rule.name,
            "alert_severity": rule.severity.name.lower(),
            "worker": source,
            "lasted_seconds": round(transition.lasted, 3),
            "remedy": rule.remedy,
            "runbook": rule.runbook,
            **transition.evidence,
        },
        simulated=simulated,
    )


def restored(source: str, names: Iterable[str], time: float, *, simulated: bool) -> Event:
    """Return the event ``alert.restored``: which alerts stand from before a restart."""
    each = sorted(names)
    return Event(
        time=time,
        source=SOURCE,
        kind="alert.restored",
        reason=f"{len(each)} from before the restart, to be confirmed by the first look: {', '.join(each)}",
        evidence={"worker": source, "count": len(each)},
        simulated=simulated,
    )
