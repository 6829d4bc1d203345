"""The alerts that stand, as they outlive the daemon (pure): times in Unix seconds, and what was said last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from aiidpd.alerts.rule import AlertRule
from aiidpd.alerts.state import Alert, Restored, Stage, Status
from aiidpd.kernel.events import Scalar, Severity

_AWAY: Final = (
    3600.0  # seconds: a condition that was not looked at for longer is another one when it holds again
)


@dataclass(frozen=True, slots=True)
class AlertRecord:
    """One alert that is pending or fires.

    ``held`` is for how long its condition held while pending, ``unknown`` for how long nobody knew it, both
    in seconds. ``summary`` is what it said last, for a reader without its rule; ``boot`` names the boot of
    the machine in which that was known, "" for one that is not known.
    """

    source: str
    alert: str
    subject: str
    stage: Stage
    since: float
    known: float
    held: float
    unknown: float
    severity: Severity
    summary: str
    remedy: str
    evidence: Mapping[str, Scalar]
    simulated: bool
    boot: str

    @property
    def tombstone(self) -> AlertRule:
        """What stands for the rule where there is none any more."""
        words = self.summary.replace("{", "{{").replace("}", "}}")
        return AlertRule(self.alert, self.severity, "", words, self.remedy)


def to_record(
    source: str,
    rule: AlertRule,
    subject: str,
    alert: Alert,
    now: float,
    *,
    wall: float,
    simulated: bool,
    boot: str,
) -> AlertRecord:
    """Return ``alert`` as it is kept at monotonic second ``now`` in ``boot``; ``wall`` is Unix time at 0."""
    earlier = alert.restored is not None and not alert.restored.same_boot
    return AlertRecord(
        source=source,
        alert=rule.name,
        subject=subject,
        stage=alert.stage,
        since=wall + alert.since,
        known=wall + alert.known,
        held=alert.held,
        # The time since the last look is in it, as it is where the next look finds nothing.
        unknown=max(0.0, now - (alert.restored.at if alert.restored else alert.known)),
        severity=rule.severity,
        summary=rule.say(alert.evidence),
        remedy=rule.remedy,
        evidence=alert.evidence,
        simulated=simulated,
        boot="" if earlier else boot,
    )


def restore(kept: AlertRecord, now: float, time: float, boot: str) -> Alert:
    """Return ``kept`` as it stands in ``boot`` at monotonic second ``now``, which is Unix second ``time``.

    Where the clock was set back meanwhile no time has passed.
    """
    known = now - max(0.0, time - kept.known)
    return Alert(
        stage=kept.stage,
        since=min(known, now - max(0.0, time - kept.since)),
        at=now,
        known=known,
        condition=Status.UNKNOWN,
        evidence=kept.evidence,
        held=kept.held,
        restored=Restored(now - kept.unknown, known, kept.boot == boot != "", kept.simulated),
    )


def too_old(alert: Alert, rule: AlertRule, now: float) -> bool:
    """Return whether nobody knew about a revived ``alert`` for so long that it is no longer the same."""
    return now - alert.known > max(_AWAY, rule.stale_after)


def fits(rule: AlertRule | None, evidence: Mapping[str, Scalar]) -> bool:
    """Return whether ``rule`` is there and can speak of ``evidence``, which another version may have kept."""
    try:
        return rule is not None and bool(rule.say(evidence))
    except (LookupError, ValueError, TypeError):
        return False
