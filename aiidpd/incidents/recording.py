"""An incident in progress, and its document (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiidpd.incidents.incident import FORMAT, IncidentPolicy, name_of, to_document, until
from aiidpd.incidents.ring_buffer import Window
from aiidpd.kernel.events import Event


@dataclass(slots=True)
class Recording:
    """An incident in progress, or one to be written. Times are monotonic seconds, ``offset`` to Unix.

    ``documents`` and ``windows`` are what each contributor of evidence gave, by its name; ``faults`` those
    that failed and were not published yet. ``counts`` is how many subjects have files, by the list that
    names them. ``identity`` is empty until it was first to be written.

    ``trigger`` is the id of the last event that began or prolonged it. ``texts`` are files that are to be
    written. ``revision`` counts what triggers brought; ``saved`` is the last that is on the disk, ``refused``
    the last that the disk refused.
    """

    event: Event
    first: float
    last: float
    offset: float
    before: list[dict[str, Any]]
    documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    windows: dict[str, Window] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    triggers: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    left_out: int = 0
    identity: str = ""
    trigger: int = 0
    texts: dict[str, str] = field(default_factory=dict)
    revision: int = 1
    saved: int = 0
    refused: int = 0

    @property
    def behind(self) -> bool:
        """True where a trigger brought something that was not to be written yet."""
        return self.revision > max(self.saved, self.refused)

    def extend(self, event: Event, now: float, policy: IncidentPolicy) -> None:
        """Take ``event`` as a trigger: the incident ends later for it, within its bounds."""
        self.last = max(self.last, now)
        self.trigger = event.id
        if len(self.triggers) < policy.most_triggers:
            self.triggers.append(to_document(event))
        for window in self.windows.values():
            window.until = until(self.first, self.last, policy)

    def append(self, event: Event, policy: IncidentPolicy) -> None:
        """Append ``event`` to those that happened meanwhile; beyond the bound it is only counted."""
        if len(self.events) < policy.most_events:
            self.events.append(to_document(event))
        else:
            self.left_out += 1

    def close(self) -> None:
        """Take no row any more."""
        for window in self.windows.values():
            window.close()

    def to_document(self, state: str, summaries: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """Return the document in ``state``; ``summaries`` are the documents about rows, by contributor."""
        event = self.event
        document = {
            "format": FORMAT,
            "id": self.identity,
            "kind": name_of(event),
            "state": state,
            "subject": event.subject,
            "severity": event.severity.name.lower(),
            "reason": event.reason,
            "simulated": event.simulated,
            "started_at": self.offset + self.first,
            "last_trigger_at": self.offset + self.last,
            "triggers": list(self.triggers),
            "events": [*self.before, *self.events],
            "events_not_told": self.left_out,
        }
        # What has a file for each subject comes last: it is long, and people read what precedes it.
        for name in sorted(self.documents, key=lambda name: _lists(summaries.get(name, {}))):
            document |= {**self.documents[name], **summaries.get(name, {})}
        return document


def _lists(summary: Mapping[str, Any]) -> bool:
    return any(isinstance(entries, list) for entries in summary.values())
