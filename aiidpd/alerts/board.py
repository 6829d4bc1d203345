"""Where the alerts of all workers stand: outlives every worker, and tells what becomes of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from aiidpd.alerts.rule import AlertRule, by_name
from aiidpd.alerts.state import Alert, Change, Condition, Key, Observation, Stage, Transition, step
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.events import Event, Scalar, Severity
from aiidpd.kernel.health import Health

SOURCE: Final = "alerts"
_SEVERITIES = {
    Change.PENDING: Severity.INFO,
    Change.RESOLVED: Severity.INFO,
    Change.CANCELLED: Severity.INFO,
    Change.EXPIRED: Severity.WARNING,
}


@dataclass(frozen=True, slots=True)
class StandingAlert:
    """An alert as it stands; ``since`` and ``known_at`` are Unix seconds.

    ``condition`` is "unknown" where the alert stands on what was known at ``known_at``.
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


@dataclass(slots=True)
class _Source:
    rules: Mapping[str, AlertRule]
    alerts: Mapping[Key, Alert] = field(default_factory=dict)
    simulated: bool = False


class AlertFeed:
    """One worker's way to the board. Made with the worker, gone with it; what it told stays."""

    def __init__(self, board: AlertBoard, source: str) -> None:
        self._board = board
        self._source = source

    def observe(self, observed: Iterable[Observation], *, simulated: bool = False) -> None:
        """Say how every condition stands now; of what is not mentioned nothing is known."""
        self._board.observe(self._source, observed, simulated=simulated)


class AlertBoard:
    """Holds the alerts of every source, and tells each change to the bus and to health.

    Events are ``alert.pending``, ``alert.firing``, ``alert.resolved``, ``alert.cancelled`` and
    ``alert.expired``, about the alert's subject. A firing alert is a finding with the alert's name.
    """

    def __init__(self, clock: Clock, bus: EventBus, health: Health) -> None:
        self._clock = clock
        self._bus = bus
        self._health = health
        self._sources: dict[str, _Source] = {}
        self.fired: dict[str, int] = {}

    @property
    def rules(self) -> tuple[AlertRule, ...]:
        """The rules of every source."""
        return tuple(rule for source in self._sources.values() for rule in source.rules.values())

    def feed(self, source: str, rules: Iterable[AlertRule]) -> AlertFeed:
        """Return the feed of a new worker ``source`` that speaks by ``rules``.

        The alerts of the worker before it stand, and nothing is known of them until the new one speaks.
        An alert that ``rules`` no longer has is over.
        """
        mine = self._sources.setdefault(source, _Source({}))
        mine.rules = by_name(rules)
        for name in mine.rules:
            self.fired.setdefault(name, 0)
        for name, subject in mine.alerts:
            if name not in mine.rules:
                self._health.clear(name, subject, announce=False)
        self.observe(source, (), simulated=mine.simulated)
        return AlertFeed(self, source)

    def observe(self, source: str, observed: Iterable[Observation], *, simulated: bool) -> None:
        """Take what ``source`` observed now."""
        mine = self._sources[source]
        mine.simulated = simulated
        mine.alerts, told = step(mine.alerts, observed, self._clock.monotonic(), mine.rules)
        for transition in told:
            self._tell(source, transition, simulated=simulated)

    def standing(self) -> tuple[StandingAlert, ...]:
        """Return what is pending or firing: the firing first, the gravest first, then the oldest."""
        found = [alert for alert in self.all() if alert.stage is not Stage.INACTIVE]
        order = (Stage.FIRING, Stage.PENDING)
        found.sort(key=lambda a: (order.index(a.stage), -a.severity, a.since, a.name, a.subject))
        return tuple(found)

    def all(self) -> tuple[StandingAlert, ...]:
        """Return every alert whose condition is known, or was when it began."""
        return tuple(
            self._stands(name, mine.rules[key], subject, alert, simulated=mine.simulated)
            for name, mine in self._sources.items()
            for (key, subject), alert in mine.alerts.items()
            if alert.stage is not Stage.INACTIVE or alert.condition is not Condition.UNKNOWN
        )

    def _stands(
        self, source: str, rule: AlertRule, subject: str, alert: Alert, *, simulated: bool
    ) -> StandingAlert:
        wall = self._clock.time() - self._clock.monotonic()
        return StandingAlert(
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
        )

    def _tell(self, source: str, transition: Transition, *, simulated: bool) -> None:
        rule, change, subject = transition.rule, transition.change, transition.subject
        if change is Change.FIRING:
            self.fired[rule.name] += 1
            # The event below tells of it; one from health too would say everything twice.
            self._health.report(
                rule.name,
                subject,
                severity=rule.severity,
                reason=transition.reason,
                remedy=f"{rule.remedy}; {rule.runbook}",
                announce=False,
            )
        elif change in (Change.RESOLVED, Change.EXPIRED):
            self._health.clear(rule.name, subject, announce=False)
        event = Event(
            time=self._clock.time(),
            source=SOURCE,
            kind=f"alert.{change.value}",
            subject=subject,
            severity=_SEVERITIES.get(change, rule.severity),
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
        self._bus.publish(event)
