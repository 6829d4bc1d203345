"""Active alerts as they outlive the daemon (pure): times in Unix seconds, and the last summary."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import isfinite
from typing import Final, Literal

from aiidpd.alerts.rule import AlertRule
from aiidpd.alerts.state import Alert, Restored, Stage, Status
from aiidpd.kernel.events import Scalar, Severity

_AWAY: Final = (
    3600.0  # seconds: a condition that was not observed for longer is another one when it holds again
)


@dataclass(frozen=True, slots=True)
class AlertRecord:
    """One alert that is pending or fires.

    ``held`` is for how long its condition held while pending, ``unknown`` for how long nobody knew it, both
    in seconds. ``summary`` is its last one, for a reader without its rule; ``boot`` names the boot of the
    machine in which that was known, "" for one that is not known.
    """

    source: str
    alert: str
    subject: str
    since: float
    known: float
    held: float
    unknown: float
    summary: str
    remedy: str
    simulated: bool
    boot: str
    stage: Stage
    severity: Severity
    evidence: Mapping[str, Scalar]

    def validate(self) -> None:
        """Raise ValueError where no alert can be like this."""
        if self.stage is Stage.INACTIVE:
            raise ValueError("an alert that is not active")
        if min(self.held, self.unknown) < 0:
            raise ValueError("a negative number of seconds")

    @property
    def tombstone(self) -> AlertRule:
        """Rule of an alert that has none any more."""
        words = self.summary.replace("{", "{{").replace("}", "}}")
        return AlertRule(self.alert, self.severity, "", words, self.remedy)


@dataclass(frozen=True, slots=True)
class AlertRecords:
    """Active alerts of all sources: those that would be missed most come first."""

    version: Literal[1]
    alerts: tuple[AlertRecord, ...]

    def validate(self) -> None:
        """Raise ValueError where an alert is there twice."""
        if len({(each.source, each.alert, each.subject) for each in self.alerts}) < len(self.alerts):
            raise ValueError("it has an alert twice")

    def halved(self) -> AlertRecords:
        """Return the half of the records that would be missed most."""
        return AlertRecords(1, self.alerts[: len(self.alerts) // 2])


def to_records(alerts: Iterable[AlertRecord]) -> AlertRecords:
    """Return ``alerts`` in their order, without the evidence that no file can hold."""
    order = sorted(alerts, key=lambda each: (each.stage is Stage.PENDING, -each.severity, each.since))
    return AlertRecords(1, tuple(replace(each, evidence=_finite(each.evidence)) for each in order))


def _finite(evidence: Mapping[str, Scalar]) -> Mapping[str, Scalar]:
    wild = [name for name, value in evidence.items() if isinstance(value, float) and not isfinite(value)]
    return {**evidence, **dict.fromkeys(wild)} if wild else evidence


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
    """Return the record of ``alert`` at monotonic second ``now`` in ``boot``; ``wall`` is Unix time at 0."""
    earlier = alert.restored is not None and not alert.restored.same_boot
    return AlertRecord(
        source=source,
        alert=rule.name,
        subject=subject,
        stage=alert.stage,
        since=wall + alert.since,
        known=wall + alert.known,
        held=alert.held,
        # The time since the last pass is in it, as it is where the next pass finds nothing.
        unknown=max(0.0, now - (alert.restored.at if alert.restored else alert.known)),
        severity=rule.severity,
        summary=rule.summarize(alert.evidence),
        remedy=rule.remedy,
        evidence=alert.evidence,
        simulated=simulated,
        boot="" if earlier else boot,
    )


def restore(record: AlertRecord, now: float, time: float, boot: str) -> Alert:
    """Return the alert of ``record`` in ``boot`` at monotonic second ``now``, which is Unix second ``time``.

    Where the clock was set back meanwhile no time has passed.
    """
    known = now - max(0.0, time - record.known)
    return Alert(
        stage=record.stage,
        since=min(known, now - max(0.0, time - record.since)),
        at=now,
        known=known,
        condition=Status.UNKNOWN,
        evidence=record.evidence,
        held=record.held,
        restored=Restored(now - record.unknown, known, record.boot == boot != "", record.simulated),
    )


def too_old(alert: Alert, rule: AlertRule, now: float) -> bool:
    """Return whether nobody knew about a restored ``alert`` for so long that it is no longer the same."""
    return now - alert.known > max(_AWAY, rule.stale_after)


def fits(rule: AlertRule | None, evidence: Mapping[str, Scalar]) -> bool:
    """Return whether ``rule`` is there and fits ``evidence``, which another version may have written."""
    try:
        return rule is not None and bool(rule.summarize(evidence))
    except (LookupError, ValueError, TypeError):
        return False
