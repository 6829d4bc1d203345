"""An incident: how it begins, how long it lasts, how its events are written (pure)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Final

from aiidpd.kernel.events import Event, Scalar, Severity

FORMAT: Final = 1
"""Version of an incident's document. It stays where only columns of its files change."""

BEFORE: Final = 600.0
"""Seconds that an incident reaches back."""

_NAME = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST_NAME = 60
IDENTITY: Final = re.compile(r"\d{8}T\d{6}Z-[A-Za-z0-9._-]{1,64}", re.ASCII)
"""Form of an incident's id: a folder's name, and never a path."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """A kind of event that begins an incident.

    The event's kind must be ``kind``, its severity ``severity`` at least, and each name in ``evidence`` have
    one of the values given for it.
    """

    kind: str
    severity: Severity = Severity.DEBUG
    evidence: Mapping[str, frozenset[Scalar]] = field(default_factory=lambda: MappingProxyType({}))

    def meets(self, event: Event) -> bool:
        """Return whether ``event`` is of this kind."""
        return (
            event.kind == self.kind
            and event.severity >= self.severity
            and all(event.evidence.get(name) in values for name, values in self.evidence.items())
        )


ALERT_FIRING: Final = Trigger("alert.firing", Severity.ERROR)
"""A grave alert begins an incident, whoever raised it."""


@dataclass(frozen=True, slots=True)
class IncidentPolicy:
    """Length of an incident, and how much of it is recorded; times in seconds.

    It has the events of the time ``before`` its first trigger, and ends ``after`` its last one, but
    ``longest`` after the first at the latest: what continues then begins the next one. ``most_triggers`` and
    ``most_events`` bound its document.
    """

    before: float = BEFORE
    after: float = 60.0
    longest: float = 900.0
    most_triggers: int = 100
    most_events: int = 300

    @property
    def follows(self) -> float:
        """Seconds in which rows may be added to an incident, at most."""
        return self.longest + self.after


def name_of(event: Event) -> str:
    """Return the name of the incident that ``event`` begins: that of an alert, else the kind of the event."""
    alert = event.evidence.get("alert") if event.kind == ALERT_FIRING.kind else None
    text = alert if isinstance(alert, str) and alert else event.kind
    return _NAME.sub("-", text)[:_LONGEST_NAME].strip("-.") or "incident"


def identity_of(event: Event) -> str:
    """Return the id of the incident that ``event`` begins: the UTC time and its name."""
    return f"{datetime.fromtimestamp(event.time, UTC):%Y%m%dT%H%M%SZ}-{name_of(event)}"


def until(first: float, last: float, policy: IncidentPolicy) -> float:
    """Return when an incident ends whose first and last triggers were at these times (monotonic seconds)."""
    return min(last + policy.after, first + policy.longest)


def to_document(event: Event) -> dict[str, Any]:
    """Return ``event`` as an incident's document has it."""
    return {
        "id": event.id,
        "time": event.time,
        "source": event.source,
        "kind": event.kind,
        "subject": event.subject,
        "severity": event.severity.name.lower(),
        "reason": event.reason,
        "evidence": dict(event.evidence),
        "simulated": event.simulated,
    }


def thin(rows: Sequence[Sequence[Any]], most: int, by: int) -> list[Sequence[Any]]:
    """Return at most ``most`` of ``rows``: of each stretch the one with the greatest figure in column ``by``.

    Each is a row that was read, so nothing is shown that never was, and a peak is not averaged away.
    """
    if len(rows) <= most:
        return list(rows)

    def height(row: Sequence[Any]) -> float:
        return float("-inf") if row[by] is None else float(row[by])

    edges = [step * len(rows) // most for step in range(most + 1)]
    return [max(rows[low:high], key=height) for low, high in pairwise(edges)]
