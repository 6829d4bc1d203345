"""State machine of every alert (pure): inactive, pending, firing, and how each ends.

A worker gives in each pass the status of each alert's condition; the machine decides what follows.

- A condition that *holds* makes the alert pending, and firing once it held for the rule's dwell in sum.
- *Between* is the band of the hysteresis: it changes nothing. A pending alert stays pending there and its
  dwell does not count on, so noise around a threshold makes an alert pending once, not at every crossing.
- A condition that is *clear* ends a pending alert at once, a firing one after ``keep_firing``.
- A condition that is *unknown*, or of which nothing is reported, neither fires nor resolves anything: no data
  is neither good news nor bad. Time in which it was unknown counts for nothing. After ``stale_after``
  an alert of which nothing is known ends as expired, which is not called resolved.
- An alert that was *restored* is from before a restart of the daemon. The first pass confirms or ends it;
  where its condition is about some time past, "clear" counts only once that time is over, because a daemon
  that has just begun remembers nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum, StrEnum
from typing import TypeAlias

from aiidpd.alerts.rule import AlertRule
from aiidpd.kernel.events import Scalar
from aiidpd.kernel.words import lasting


class Status(Enum):
    """Status of an alert's condition."""

    TRUE = "holds"
    BETWEEN = "between"
    FALSE = "clear"
    UNKNOWN = "unknown"


def above(value: float | None, enter: float, leave: float) -> Status:
    """Return the condition "``value`` is high": it holds from ``enter`` on, and is clear at ``leave``."""
    if value is None:
        return Status.UNKNOWN
    if value >= enter:
        return Status.TRUE
    return Status.FALSE if value <= leave else Status.BETWEEN


def below(value: float | None, enter: float, leave: float) -> Status:
    """Return the condition "``value`` is low": it holds from ``enter`` down, and is clear at ``leave``."""
    return above(None if value is None else -value, -enter, -leave)


class Stage(StrEnum):
    """Stage of an alert."""

    INACTIVE = "inactive"
    PENDING = "pending"
    FIRING = "firing"


class Change(StrEnum):
    """A change of an alert, as its event is called."""

    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"  # it fired, and the condition is clear
    CANCELLED = "cancelled"  # it was pending, and did not come to fire
    EXPIRED = "expired"  # it fired, and nobody knows any more


@dataclass(frozen=True, slots=True)
class Observation:
    """Status of the condition of ``alert`` for ``subject`` now. ``evidence`` has what its summary needs."""

    alert: str
    subject: str
    condition: Status
    evidence: Mapping[str, Scalar]


@dataclass(frozen=True, slots=True)
class Restored:
    """Origin of an alert that was not confirmed yet.

    ``known`` is when it was last known before the restart, ``at`` since when nothing was known of it while
    a daemon ran; both in monotonic seconds. ``same_boot``: the machine itself ran on in between.
    """

    at: float
    known: float
    same_boot: bool = True
    simulated: bool = False


@dataclass(frozen=True, slots=True)
class Alert:
    """State of one alert for one subject. Times are monotonic seconds.

    ``since`` is when the stage began, ``at`` when something was last observed, ``known`` when that was not
    "unknown"; ``held`` is for how long the condition held while pending. ``evidence`` is the last known,
    and where the alert fires the last with which its condition was not clear.
    """

    stage: Stage
    since: float
    at: float
    known: float
    condition: Status
    evidence: Mapping[str, Scalar]
    held: float = 0.0
    clear_since: float | None = None
    restored: Restored | None = None


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of one alert. ``lasted`` is how many seconds the stage before it lasted.

    ``why`` is what ended it, where that was not its condition.
    """

    rule: AlertRule
    subject: str
    change: Change
    lasted: float
    evidence: Mapping[str, Scalar]
    why: str = ""

    @property
    def reason(self) -> str:
        """A sentence on what happened."""
        summary = self.rule.summarize(self.evidence)
        if self.why:
            return f"over after {lasting(self.lasted)}, because {self.why}; the last was: {summary}"
        match self.change:
            case Change.PENDING:
                return f"{summary}; fires if that holds for {self.rule.dwell:g} s"
            case Change.FIRING:
                return summary
            case Change.RESOLVED:
                return f"over after {lasting(self.lasted)}: {self.rule.summarize_end(self.evidence)}"
            case Change.CANCELLED:
                return f"did not last: {self.rule.summarize_end(self.evidence)}"
            case Change.EXPIRED:
                return f"nothing is known for {self.rule.stale_after:g} s, the last was: {summary}"


Key: TypeAlias = tuple[str, str]
"""The name of an alert and its subject."""


def step(
    alerts: Mapping[Key, Alert], observed: Iterable[Observation], now: float, rules: Mapping[str, AlertRule]
) -> tuple[Mapping[Key, Alert], tuple[Transition, ...]]:
    """Return the alerts after what was ``observed`` at monotonic second ``now``, and what changed.

    An alert in ``alerts`` of which nothing was observed is unknown; where its rule is gone it ends.
    """
    seen: dict[Key, Observation] = {}
    for each in observed:
        key = (each.alert, each.subject)
        if key in seen:
            raise ValueError(f"{each.alert} was observed twice for {each.subject or 'its subject'}")
        seen[key] = each
    after: dict[Key, Alert] = {}
    transitions: list[Transition] = []
    for key in {**alerts, **seen}:
        rule = rules.get(key[0])
        if rule is None:
            if key in seen:
                raise ValueError(f"there is no alert {key[0]}")
            continue
        before = alerts.get(key)
        state, change = _advance(before, seen.get(key), rule, now)
        if state is not None:
            after[key] = state
        if change is not None:
            lasted = now - before.since if before else 0.0
            last = state or before
            transitions.append(Transition(rule, key[1], change, lasted, last.evidence if last else {}))
    return after, tuple(transitions)


def _advance(
    before: Alert | None, seen: Observation | None, rule: AlertRule, now: float
) -> tuple[Alert | None, Change | None]:
    if seen is None or seen.condition is Status.UNKNOWN:
        return _unknown(before, rule, now)
    return _known(before, seen, rule, now)


def _unknown(before: Alert | None, rule: AlertRule, now: float) -> tuple[Alert | None, Change | None]:
    if before is None:
        return None, None
    known = before.restored.at if before.restored else before.known  # nobody could know while we were away
    if now - known < rule.stale_after:
        return replace(before, at=now, condition=Status.UNKNOWN, clear_since=None), None
    ends = {Stage.FIRING: Change.EXPIRED, Stage.PENDING: Change.CANCELLED, Stage.INACTIVE: None}
    return None, ends[before.stage]


def _confirm(
    restored: Restored | None, condition: Status, rule: AlertRule, now: float
) -> tuple[Status, Restored | None]:
    """Return what ``condition`` is worth, and what of ``restored`` is left after it."""
    if restored is None or condition is Status.TRUE or now - restored.known >= rule.looks_back:
        return condition, None
    return Status.BETWEEN, replace(restored, at=now)


def _known(
    before: Alert | None, seen: Observation, rule: AlertRule, now: float
) -> tuple[Alert, Change | None]:
    if before is None:
        before = Alert(Stage.INACTIVE, now, now, now, Status.UNKNOWN, seen.evidence)
    stage, change = before.stage, None
    if stage is Stage.INACTIVE and seen.condition is not Status.TRUE and before.restored is None:
        # So it is with nearly every alert in nearly every pass.
        return Alert(stage, before.since, now, now, seen.condition, seen.evidence), None
    held, clear_since = 0.0, None
    condition, restored = _confirm(before.restored, seen.condition, rule, now)
    match stage, condition:
        case Stage.INACTIVE, Status.TRUE:
            stage, change = (Stage.PENDING, Change.PENDING) if rule.dwell else (Stage.FIRING, Change.FIRING)
        case Stage.PENDING, Status.TRUE:
            # Only the time between two passes that both found it counts, and none without a pass.
            held = before.held + (now - before.at if before.condition is Status.TRUE else 0.0)
            if held >= rule.dwell:
                stage, change = Stage.FIRING, Change.FIRING
        case Stage.PENDING, Status.BETWEEN:
            held = before.held
        case Stage.PENDING, Status.FALSE:
            stage, change = Stage.INACTIVE, Change.CANCELLED
        case Stage.FIRING, Status.FALSE:
            clear_since = now if before.clear_since is None else before.clear_since
            if now - clear_since >= rule.keep_firing:
                stage, change, clear_since = Stage.INACTIVE, Change.RESOLVED, None
    since = before.since if stage is before.stage else now
    # While it fires on, its condition clear already, it reports what it fired for.
    firing_on = stage is before.stage is Stage.FIRING and seen.condition is Status.FALSE
    evidence = before.evidence if firing_on else seen.evidence
    return Alert(stage, since, now, now, condition, evidence, held, clear_since, restored), change
