"""Conditions: what is wrong now. Set and cleared by the component that can observe it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Final

from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.events import Severity
from aiidpd.kernel.publisher import Publisher

SOURCE: Final = "health"
_MOVED: Final = 1.0  # seconds by which the wall clock must have been set for a beginning to be given anew


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that is wrong now and will end. ``type`` and ``subject`` are its identity.

    ``since`` is in Unix seconds; 0 means from when it is set. ``source`` names the component, task or service
    that observes it, ``runbook`` the command that shows the page on it. ``simulated``: what it is about
    is made up.
    """

    type: str
    subject: str
    severity: Severity
    reason: str
    remedy: str = ""
    since: float = 0.0
    source: str = ""
    runbook: str = ""
    simulated: bool = False


class Conditions:
    """Conditions of the whole daemon, one list for whoever sets them.

    The beginning of one, a change of its severity and its end are published as ``finding.raised`` and
    ``finding.cleared``, unless ``announce`` is false: then whoever sets it publishes events of its own.
    """

    def __init__(self, clock: Clock, bus: EventBus) -> None:
        self._clock = clock
        self._publish = Publisher(bus, clock, SOURCE)
        self._active: dict[tuple[str, str], Condition] = {}
        self._offsets: dict[tuple[str, str], float] = {}  # of the wall clock, by which each began

    def set(self, condition: Condition, *, announce: bool = True) -> None:
        """Begin ``condition``, or update an active one, whose beginning stays."""
        key = (condition.type, condition.subject)
        active = self._active.get(key)
        if active is not None:
            condition = replace(condition, since=active.since)
        else:
            self._offsets[key] = self._offset()
            if not condition.since:
                condition = replace(condition, since=self._clock.time())
        self._active[key] = condition
        if announce and (active is None or active.severity != condition.severity):
            self._announce("finding.raised", condition, condition.reason, condition.severity)

    def clear(self, type_: str, subject: str, *, announce: bool = True) -> None:
        """End a condition; one that is not active is no error."""
        self._offsets.pop((type_, subject), None)
        condition = self._active.pop((type_, subject), None)
        if announce and condition is not None:
            self._announce("finding.cleared", condition, f"no longer: {condition.reason}", Severity.INFO)

    def update(self, types: Collection[str], active: Iterable[Condition], *, announce: bool = True) -> None:
        """Set the conditions in ``active``, and clear every other one of ``types``.

        For whoever observes all subjects at once: what is gone or fine is cleared by not being in it. Raises
        ValueError for a condition of another type, which nothing would clear.
        """
        wanted = {(each.type, each.subject): each for each in active}
        if strange := {type_ for type_, _ in wanted} - {*types}:
            raise ValueError(f"nothing would clear {', '.join(sorted(strange))}")
        for type_, subject in [key for key in self._active if key[0] in types and key not in wanted]:
            self.clear(type_, subject, announce=announce)
        for condition in wanted.values():
            self.set(condition, announce=announce)

    def active(self) -> tuple[Condition, ...]:
        """Return every active condition, the gravest first, then the oldest.

        Where the wall clock was set meanwhile, each began as long ago by the new time as it did.
        """
        found = (self._by_new_time(key, condition) for key, condition in self._active.items())
        return tuple(sorted(found, key=lambda each: (-each.severity, each.since, each.type, each.subject)))

    def _by_new_time(self, key: tuple[str, str], condition: Condition) -> Condition:
        moved = self._offset() - self._offsets[key]
        return condition if abs(moved) < _MOVED else replace(condition, since=condition.since + moved)

    def _offset(self) -> float:
        return self._clock.time() - self._clock.boottime()

    def _announce(self, kind: str, condition: Condition, reason: str, severity: Severity) -> None:
        self._publish.marked(simulated=condition.simulated).event(
            kind,
            reason,
            about=condition.subject,
            severity=severity,
            type=condition.type,
            remedy=condition.remedy,
        )
