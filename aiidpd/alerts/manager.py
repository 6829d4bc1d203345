"""Where the alerts of all workers stand: outlives every worker, and tells what becomes of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from aiidpd.alerts import events
from aiidpd.alerts.record import AlertRecord, fits, restore, to_record, too_old
from aiidpd.alerts.rule import AlertRule, by_name
from aiidpd.alerts.standing import ActiveAlert, stands
from aiidpd.alerts.state import Alert, Change, Key, Observation, Stage, Status, Transition, step
from aiidpd.alerts.store import AlertStore
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.conditions import Conditions

_ENDS = {Stage.FIRING: Change.RESOLVED, Stage.PENDING: Change.CANCELLED}
_LAPSES = {Stage.FIRING: Change.EXPIRED, Stage.PENDING: Change.CANCELLED}


@dataclass(slots=True)
class _Source:
    rules: Mapping[str, AlertRule]
    alerts: dict[Key, Alert] = field(default_factory=dict)
    simulated: bool = False


class AlertClient:
    """One worker's way to the board. Made with the worker, gone with it; what it told stays."""

    def __init__(self, board: AlertManager, source: str) -> None:
        self._board = board
        self._source = source

    @property
    def restored(self) -> Mapping[Key, Alert]:
        """The alerts from before a restart of the daemon that nothing confirmed or ended yet."""
        alerts = self._board.alerts(self._source)
        return {key: alert for key, alert in alerts.items() if alert.restored is not None}

    def observe(self, observed: Iterable[Observation], *, simulated: bool | None = None) -> None:
        """Say how every condition stands now; of what is not mentioned nothing is known.

        ``simulated`` says whether what is watched is made up; None means as before.
        """
        self._board.observe(self._source, observed, simulated=simulated)

    def withdraw(self, keys: Iterable[Key], why: str) -> None:
        """End the alerts under ``keys``, because ``why``: what they are about is no longer watched."""
        self._board.withdraw(self._source, keys, why)


class AlertManager:
    """Holds the alerts of every source, and tells each change to the bus and to health.

    Events are ``alert.pending``, ``alert.firing``, ``alert.resolved``, ``alert.cancelled`` and
    ``alert.expired``, about the alert's subject. A firing alert is a finding with the alert's name. With a
    ``keeper`` what stands outlives the daemon too, and ``alert.restored`` tells of it.
    """

    def __init__(
        self, clock: Clock, bus: EventBus, health: Conditions, keeper: AlertStore | None = None
    ) -> None:
        self._clock = clock
        self._bus = bus
        self._health = health
        self._keeper = keeper
        self._sources: dict[str, _Source] = {}
        self.fired: dict[str, int] = {}

    @property
    def rules(self) -> tuple[AlertRule, ...]:
        """The rules of every source."""
        return tuple(rule for source in self._sources.values() for rule in source.rules.values())

    def feed(self, source: str, rules: Iterable[AlertRule]) -> AlertClient:
        """Return the feed of a new worker ``source`` that speaks by ``rules``.

        The alerts of the worker before it stand, those from before a restart too, and nothing is known of
        them until the new one speaks. An alert that ``rules`` no longer has is over.
        """
        mine = self._sources.setdefault(source, _Source({}))
        before, mine.rules = mine.rules, by_name(rules)
        for name in mine.rules:
            self.fired.setdefault(name, 0)
        gone = [key for key in mine.alerts if key[0] not in mine.rules]
        self._end(source, gone, "it is no longer watched for", before)
        if self._keeper is not None:
            self._take_up(source, self._keeper.take(source), self._keeper.boot)
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
        alerts, told = step(mine.alerts, observed, self._clock.monotonic(), mine.rules)
        mine.alerts = dict(alerts)
        for transition in told:
            self._tell(source, transition)
        if self._keeper is not None:
            self._keeper.look(self._kept)

    def withdraw(self, source: str, keys: Iterable[Key], why: str) -> None:
        """End the alerts of ``source`` under ``keys``, because ``why``."""
        self._end(source, keys, why, self._sources[source].rules)

    def alerts(self, source: str) -> Mapping[Key, Alert]:
        """Return the alerts of ``source``, whatever their stage."""
        return self._sources[source].alerts

    def active(self) -> tuple[ActiveAlert, ...]:
        """Return what is pending or firing: the firing first, the gravest first, then the oldest."""
        found = [alert for alert in self.all() if alert.stage is not Stage.INACTIVE]
        order = (Stage.FIRING, Stage.PENDING)
        found.sort(key=lambda a: (order.index(a.stage), -a.severity, a.since, a.name, a.subject))
        return tuple(found)

    def all(self) -> tuple[ActiveAlert, ...]:
        """Return every alert whose condition is known, or was when it began."""
        return tuple(
            stands(name, mine.rules[key], subject, alert, self._wall, simulated=mine.simulated)
            for name, mine in self._sources.items()
            for (key, subject), alert in mine.alerts.items()
            if _known(alert)
        )

    def stages(self) -> Iterator[tuple[AlertRule, str, Stage]]:
        """Yield rule, subject and stage of the alerts that :meth:`all` returns: a scrape needs no words."""
        for mine in self._sources.values():
            for (name, subject), alert in mine.alerts.items():
                if _known(alert):
                    yield mine.rules[name], subject, alert.stage

    def close(self, seconds: float = 1.0) -> None:
        """Have what stands written for the next daemon, in at most ``seconds``. Blocks."""
        if self._keeper is not None:
            self._keeper.save(self._kept())
            self._keeper.wait(seconds)

    @property
    def _wall(self) -> float:
        return self._clock.time() - self._clock.monotonic()

    def _kept(self) -> list[AlertRecord]:
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
                boot=self._keeper.boot if self._keeper else "",
            )
            for name, mine in self._sources.items()
            for (key, subject), alert in mine.alerts.items()
            if alert.stage is not Stage.INACTIVE
        ]

    def _take_up(self, source: str, found: Iterable[AlertRecord], boot: str) -> None:
        mine, now, time = self._sources[source], self._clock.monotonic(), self._clock.time()
        names = []
        for kept in found:
            key = (kept.alert, kept.subject)
            mine.simulated = kept.simulated
            alert = restore(kept, now, time, boot)
            rule = mine.rules.get(kept.alert)
            if rule is None or not fits(rule, kept.evidence):
                why = "it is no longer watched for" if rule is None else "it is judged by another rule now"
                self._tell(source, _ended(alert, kept.tombstone, kept.subject, now, why))
            elif too_old(alert, rule, now):
                why = f"nothing was known of it for {(now - alert.known) / 3600:.0f} h"
                self._tell(source, _ended(alert, rule, kept.subject, now, why, ends=_LAPSES))
            else:
                mine.alerts[key] = alert
                names.append(kept.alert)
                if alert.stage is Stage.FIRING:
                    self._report(rule, kept.subject, rule.say(alert.evidence), since=self._wall + alert.since)
        if names:
            self._bus.publish(events.restored(source, names, time, simulated=mine.simulated))

    def _end(self, source: str, keys: Iterable[Key], why: str, rules: Mapping[str, AlertRule]) -> None:
        mine, now = self._sources[source], self._clock.monotonic()
        for key in keys:
            alert = mine.alerts.pop(key, None)
            if alert is not None and alert.stage is not Stage.INACTIVE:
                self._tell(source, _ended(alert, rules[key[0]], key[1], now, why))

    def _tell(self, source: str, transition: Transition) -> None:
        rule, change, subject = transition.rule, transition.change, transition.subject
        if change is Change.FIRING:
            self.fired[rule.name] += 1
            self._report(rule, subject, transition.reason)
        elif change in (Change.RESOLVED, Change.EXPIRED):
            self._health.clear(rule.name, subject, announce=False)
        if self._keeper is not None:
            self._keeper.note(change)
        simulated = self._sources[source].simulated
        self._bus.publish(events.changed(source, transition, self._clock.time(), simulated=simulated))

    def _report(self, rule: AlertRule, subject: str, reason: str, *, since: float | None = None) -> None:
        # The alert's own event tells of it; one from health too would say everything twice.
        remedy = f"{rule.remedy}; {rule.runbook}"
        self._health.report(
            rule.name,
            subject,
            severity=rule.severity,
            reason=reason,
            remedy=remedy,
            announce=False,
            since=since,
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


def _known(alert: Alert) -> bool:
    return alert.stage is not Stage.INACTIVE or alert.condition is not Status.UNKNOWN
