"""Alerts of every source: outlives their tasks, publishes each change, sets the condition of what fires."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from aiidpd.alerts import events
from aiidpd.alerts.record import AlertRecord, fits, restore, to_record, too_old
from aiidpd.alerts.rule import AlertRule, by_name
from aiidpd.alerts.state import Alert, Change, Key, Observation, Stage, Status, Transition, step
from aiidpd.alerts.store import AlertStore
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.conditions import Condition, Conditions
from aiidpd.kernel.events import Scalar, Severity
from aiidpd.kernel.publisher import Publisher

_ENDS = {Stage.FIRING: Change.RESOLVED, Stage.PENDING: Change.CANCELLED}
_LAPSES = {Stage.FIRING: Change.EXPIRED, Stage.PENDING: Change.CANCELLED}


@dataclass(frozen=True, slots=True)
class ActiveAlert:
    """An alert with its stage, for the API; ``since`` and ``known_at`` are Unix seconds.

    ``condition`` is "unknown" where its stage follows from what was known at ``known_at``. ``restored``: from
    before a restart of the daemon, and its condition not confirmed since.
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


@dataclass(slots=True)
class _Source:
    rules: Mapping[str, AlertRule]
    alerts: dict[Key, Alert] = field(default_factory=dict)
    simulated: bool = False


class AlertClient:
    """Access of one worker to the manager: made with the worker; what it observed outlives it."""

    def __init__(self, manager: AlertManager, source: str) -> None:
        self._manager = manager
        self._source = source

    @property
    def restored(self) -> Mapping[Key, Alert]:
        """Alerts from before a restart of the daemon that nothing confirmed or ended yet."""
        alerts = self._manager.alerts(self._source)
        return {key: alert for key, alert in alerts.items() if alert.restored is not None}

    def observe(self, observed: Iterable[Observation], *, simulated: bool | None = None) -> None:
        """Give the status of every condition now; of what is not in ``observed`` nothing is known.

        ``simulated``: what is watched is made up; None means as before.
        """
        self._manager.observe(self._source, observed, simulated=simulated)

    def withdraw(self, keys: Iterable[Key], why: str) -> None:
        """End the alerts under ``keys``, because ``why``: what they are about is no longer watched."""
        self._manager.withdraw(self._source, keys, why)


class AlertManager:
    """Alerts of every source. Publishes each change; an alert that fires is a condition of its name.

    Events are ``alert.pending``, ``alert.firing``, ``alert.resolved``, ``alert.cancelled`` and
    ``alert.expired``, about the alert's subject. With a ``store`` active alerts outlive the daemon too, and
    ``alert.restored`` is published about them.
    """

    def __init__(
        self, clock: Clock, publish: Publisher, conditions: Conditions, store: AlertStore | None = None
    ) -> None:
        self._clock = clock
        self._publisher = publish
        self._conditions = conditions
        self._store = store
        self._sources: dict[str, _Source] = {}
        self.fired: dict[str, int] = {}

    @property
    def rules(self) -> tuple[AlertRule, ...]:
        """Rules of every source."""
        return tuple(rule for source in self._sources.values() for rule in source.rules.values())

    def client(self, source: str, rules: Iterable[AlertRule]) -> AlertClient:
        """Return the client of a new worker ``source`` that observes the conditions of ``rules``.

        The alerts of the worker before it stay active, those from before a restart too, and nothing is known
        of them until the new one observes. An alert that ``rules`` no longer has is over.
        """
        mine = self._sources.setdefault(source, _Source({}))
        before, mine.rules = mine.rules, by_name(rules)
        for name in mine.rules:
            self.fired.setdefault(name, 0)
        gone = [key for key in mine.alerts if key[0] not in mine.rules]
        self._end(source, gone, "it is no longer watched for", before)
        if self._store is not None:
            self._restore(source, self._store.take(source), self._store.boot)
        self.observe(source, (), simulated=None)
        return AlertClient(self, source)

    def observe(self, source: str, observed: Iterable[Observation], *, simulated: bool | None) -> None:
        """Take what ``source`` observed now."""
        mine = self._sources[source]
        if simulated is not None and simulated != mine.simulated:
            # What is made up and what is real have no alert in common.
            kind = "simulated" if simulated else "real"
            self._end(source, list(mine.alerts), f"what is watched is {kind} now", mine.rules)
            mine.simulated = simulated
        alerts, transitions = step(mine.alerts, observed, self._clock.monotonic(), mine.rules)
        mine.alerts = dict(alerts)
        for transition in transitions:
            self._apply(source, transition)
        if self._store is not None:
            self._store.save_due(self._records)

    def withdraw(self, source: str, keys: Iterable[Key], why: str) -> None:
        """End the alerts of ``source`` under ``keys``, because ``why``."""
        self._end(source, keys, why, self._sources[source].rules)

    def alerts(self, source: str) -> Mapping[Key, Alert]:
        """Return the alerts of ``source``, whatever their stage."""
        return self._sources[source].alerts

    def active(self) -> tuple[ActiveAlert, ...]:
        """Return what is pending or firing: the firing first, the gravest first, then the oldest.

        A condition that no rule sets fires as long as it is active, under its type.
        """
        found = [alert for alert in self.all() if alert.stage is not Stage.INACTIVE]
        found += map(_firing, self.conditions())
        order = (Stage.FIRING, Stage.PENDING)
        found.sort(key=lambda a: (order.index(a.stage), -a.severity, a.since, a.name, a.subject))
        return tuple(found)

    def all(self) -> tuple[ActiveAlert, ...]:
        """Return every alert whose condition is known, or was when it began."""
        return tuple(
            self._active(name, mine.rules[key], subject, alert, simulated=mine.simulated)
            for name, mine in self._sources.items()
            for (key, subject), alert in mine.alerts.items()
            if _known(alert)
        )

    def conditions(self) -> Iterator[Condition]:
        """Yield the active conditions that no rule of an alert sets, from a warning on."""
        rules = {rule.name for rule in self.rules}
        for condition in self._conditions.active():
            if condition.type not in rules and condition.severity >= Severity.WARNING:
                yield condition

    def stages(self) -> Iterator[tuple[AlertRule, str, Stage]]:
        """Yield rule, subject and stage of the alerts that :meth:`all` returns: a scrape needs no words."""
        for mine in self._sources.values():
            for (name, subject), alert in mine.alerts.items():
                if _known(alert):
                    yield mine.rules[name], subject, alert.stage

    def close(self, seconds: float = 1.0) -> None:
        """Have the active alerts written for the next daemon, in at most ``seconds``. Blocks."""
        if self._store is not None:
            self._store.save(self._records())
            self._store.wait(seconds)

    @property
    def _wall(self) -> float:
        return self._clock.time() - self._clock.monotonic()

    def _records(self) -> list[AlertRecord]:
        now = self._clock.monotonic()
        return [
            to_record(
                name,
                mine.rules[key],
                subject,
                alert,
                now,
                wall=self._wall,
                simulated=mine.simulated,
                boot=self._store.boot if self._store else "",
            )
            for name, mine in self._sources.items()
            for (key, subject), alert in mine.alerts.items()
            if alert.stage is not Stage.INACTIVE
        ]

    def _restore(self, source: str, found: Iterable[AlertRecord], boot: str) -> None:
        mine, now, time = self._sources[source], self._clock.monotonic(), self._clock.time()
        names = []
        for record in found:
            key = (record.alert, record.subject)
            mine.simulated = record.simulated
            alert = restore(record, now, time, boot)
            rule = mine.rules.get(record.alert)
            if rule is None or not fits(rule, record.evidence):
                why = "it is no longer watched for" if rule is None else "it is judged by another rule now"
                self._apply(source, _ended(alert, record.tombstone, record.subject, now, why))
            elif too_old(alert, rule, now):
                why = f"nothing was known of it for {(now - alert.known) / 3600:.0f} h"
                self._apply(source, _ended(alert, rule, record.subject, now, why, ends=_LAPSES))
            else:
                mine.alerts[key] = alert
                names.append(record.alert)
                if alert.stage is Stage.FIRING:
                    began = self._wall + alert.since
                    self._set(source, rule, record.subject, rule.summarize(alert.evidence), since=began)
        if names:
            events.restored(self._publisher.marked(simulated=mine.simulated), source, names)

    def _end(self, source: str, keys: Iterable[Key], why: str, rules: Mapping[str, AlertRule]) -> None:
        mine, now = self._sources[source], self._clock.monotonic()
        for key in keys:
            alert = mine.alerts.pop(key, None)
            if alert is not None and alert.stage is not Stage.INACTIVE:
                self._apply(source, _ended(alert, rules[key[0]], key[1], now, why))

    def _apply(self, source: str, transition: Transition) -> None:
        rule, change, subject = transition.rule, transition.change, transition.subject
        if change is Change.FIRING:
            self.fired[rule.name] += 1
            self._set(source, rule, subject, transition.reason)
        elif change in (Change.RESOLVED, Change.EXPIRED):
            self._conditions.clear(rule.name, subject, announce=False)
        if self._store is not None:
            self._store.note(change)
        simulated = self._sources[source].simulated
        events.changed(self._publisher.marked(simulated=simulated), source, transition)

    def _set(self, source: str, rule: AlertRule, subject: str, reason: str, *, since: float = 0.0) -> None:
        condition = Condition(
            rule.name,
            subject,
            rule.severity,
            reason,
            rule.remedy,
            since,
            source,
            rule.runbook,
            self._sources[source].simulated,
        )
        # The alert's own event has all of it; one of the condition too would repeat everything.
        self._conditions.set(condition, announce=False)

    def _active(
        self, source: str, rule: AlertRule, subject: str, alert: Alert, *, simulated: bool
    ) -> ActiveAlert:
        return ActiveAlert(
            name=rule.name,
            subject=subject,
            stage=alert.stage,
            severity=rule.severity,
            summary=rule.summarize(alert.evidence),
            remedy=rule.remedy,
            runbook=rule.runbook,
            since=self._wall + alert.since,
            known_at=self._wall + alert.known,
            condition=alert.condition.value,
            evidence=alert.evidence,
            source=source,
            simulated=simulated,
            restored=alert.restored is not None,
        )


def _ended(
    alert: Alert,
    rule: AlertRule,
    subject: str,
    now: float,
    why: str,
    *,
    ends: Mapping[Stage, Change] = _ENDS,
) -> Transition:
    return Transition(rule, subject, ends[alert.stage], now - alert.since, alert.evidence, why)


def _firing(condition: Condition) -> ActiveAlert:
    return ActiveAlert(
        name=condition.type,
        subject=condition.subject,
        stage=Stage.FIRING,
        severity=condition.severity,
        summary=condition.reason,
        remedy=condition.remedy,
        runbook=condition.runbook,
        since=condition.since,
        known_at=condition.since,
        condition=Status.TRUE.value,
        evidence={},
        source=condition.source,
        simulated=condition.simulated,
    )


def _known(alert: Alert) -> bool:
    return alert.stage is not Stage.INACTIVE or alert.condition is not Status.UNKNOWN
