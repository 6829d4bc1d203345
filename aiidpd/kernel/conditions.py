"""Conditions: what is wrong now. Set and cleared by the component that can observe it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.events import Event, Severity

_MOVED: Final = 1.0  # seconds by which the wall clock must have been set for a beginning to be told anew


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that holds now. ``code`` and ``subject`` are its identity; ``since`` is Unix seconds."""

    code: str
    subject: str
    severity: Severity
    reason: str
    remedy: str = ""
    since: float = 0.0


class Conditions:
    """The findings of the whole daemon. Raising and clearing each publish one event, repeats none."""

    def __init__(self, clock: Clock, bus: EventBus) -> None:
        self._clock = clock
        self._bus = bus
        self._findings: dict[tuple[str, str], Condition] = {}
        self._offsets: dict[tuple[str, str], float] = {}  # of the wall clock, by which each began

    def report(
        self,
        code: str,
        subject: str,
        *,
        severity: Severity,
        reason: str,
        remedy: str = "",
        announce: bool = True,
        since: float | None = None,
    ) -> None:
        """Raise a finding, or bring the reason of one that stands up to date.

        It stands from now on, or from ``since`` (Unix seconds) where it was known before.

        Without ``announce`` no event is published: whoever raises it tells of it in words of their own.
        """
        key = (code, subject)
        standing = self._findings.get(key)
        if standing is not None:
            since = standing.since
        else:
            self._offsets[key] = self._offset()
            since = self._clock.time() if since is None else since
        finding = Condition(code, subject, severity, reason, remedy, since)
        self._findings[key] = finding
        if announce and (standing is None or standing.severity != severity):
            self._announce(finding, "finding.raised", reason)

    def clear(self, code: str, subject: str, *, announce: bool = True) -> None:
        """Withdraw a finding; one that does not stand is no error."""
        self._offsets.pop((code, subject), None)
        finding = self._findings.pop((code, subject), None)
        if announce and finding is not None:
            self._announce(finding, "finding.cleared", f"no longer: {finding.reason}", Severity.INFO)

    def findings(self) -> tuple[Condition, ...]:
        """Return every finding that stands, the gravest first, then the oldest.

        Where the wall clock was set meanwhile, each began as long ago by the new time as it did.
        """
        found = (self._by_new_time(key, finding) for key, finding in self._findings.items())
        return tuple(sorted(found, key=lambda f: (-f.severity, f.since, f.code, f.subject)))

    def _by_new_time(self, key: tuple[str, str], finding: Condition) -> Condition:
        moved = self._offset() - self._offsets[key]
        return finding if abs(moved) < _MOVED else replace(finding, since=finding.since + moved)

    def _offset(self) -> float:
        return self._clock.time() - self._clock.boottime()

    def _announce(self, finding: Condition, kind: str, reason: str, severity: Severity | None = None) -> None:
        event = Event(
            time=self._clock.time(),
            source="health",
            kind=kind,
            subject=finding.subject,
            severity=finding.severity if severity is None else severity,
            reason=reason,
            evidence={"code": finding.code, "remedy": finding.remedy},
        )
        self._bus.publish(event)
