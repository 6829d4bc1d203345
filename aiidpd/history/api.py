"""Event history over the API: past events, and a stream of new ones without a gap between."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Protocol

from aiidpd.api.access import Access
from aiidpd.api.document import (
    SEVERITIES,
    Heartbeat,
    Request,
    Scalar,
    SeverityName,
    bounded,
    document_of,
    severity_name,
)
from aiidpd.api.route import Answer, Call, Route, Stream
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.errors import Unavailable
from aiidpd.kernel.events import Event, Severity

_PAGE = 32  # events of the record that wait in memory for a reader; each may have some kilobytes
_BACKLOG = 256  # new events that wait likewise, the same ones for all readers


@dataclass(frozen=True, slots=True)
class EventsQuery(Request):
    """Filter of events."""

    after_id: Annotated[int, bounded(ge=0, le=2**63 - 1)] = 0
    """Only events after this one, the oldest first."""
    since: Annotated[float | None, bounded(ge=0)] = None
    """Only events from this time on, in Unix seconds."""
    limit: Annotated[int, bounded(ge=1, le=1000)] = 100
    """Most that are given: the newest, or with after_id the next."""
    kind: Annotated[str, bounded(max_length=100)] = ""
    """Only kinds that begin so, such as "container."."""
    severity: SeverityName = "debug"
    """Least severity that is given."""
    subject: Annotated[str | None, bounded(max_length=1000)] = None
    """Only events about this subject."""
    follow: bool = False
    """Continue with the events to come, one line of JSON each."""


@dataclass(frozen=True, slots=True)
class EventDocument:
    """Something that happened or was decided."""

    id: int
    """Grows with each event, across restarts too."""
    time: float
    source: str
    kind: str
    subject: str
    severity: SeverityName
    reason: str
    evidence: Mapping[str, Scalar]
    simulated: bool


@dataclass(frozen=True, slots=True)
class EventsDocument:
    """Events, the newest last."""

    events: tuple[EventDocument, ...]


@dataclass(frozen=True, slots=True)
class Missed:
    """A line that reports that events were lost between the one before and the one after."""

    missed: int
    """Number of them, 0 where that is not known."""
    reason: str


class EventHistory(Protocol):
    """Source of past events: those published up to the call are among them."""

    async def events(
        self,
        *,
        after_id: int = 0,
        limit: int = 100,
        since: float | None = None,
        kinds: str = "",
        min_severity: Severity = Severity.DEBUG,
        subject: str | None = None,
        forward: bool = False,
    ) -> list[Event]:
        """Return events by id: the first ``limit`` after ``after_id``, or without one the newest ``limit``.

        ``forward`` selects the first ones after an ``after_id`` of 0 too. ``kinds`` is a prefix. Raises
        :class:`~aiidpd.kernel.errors.Unavailable`.
        """

    async def event_ids(
        self,
        limit: int,
        *,
        since: float | None = None,
        kinds: str = "",
        min_severity: Severity = Severity.DEBUG,
        subject: str | None = None,
    ) -> list[int]:
        """Return the ids of the newest ``limit`` events, newest last; raises likewise."""


def routes(history: EventHistory, bus: EventBus) -> tuple[Route, ...]:
    """Return the route of the events."""

    async def events(call: Call) -> Answer:
        query: EventsQuery = call.query
        if query.follow:
            return follow(history, bus, query)
        found = await past(history, query, after_id=query.after_id, limit=query.limit)
        return EventsDocument(tuple(event_document(event) for event in found))

    return (
        Route(
            "GET",
            "/v1/events",
            Access.READ,
            events,
            "What happened and was decided; with follow=true first the recorded events, then each new one.",
            EventsDocument,
            query=EventsQuery,
            lines=(EventDocument, Heartbeat, Missed),
        ),
    )


def event_document(event: Event) -> EventDocument:
    """Return the document of ``event``."""
    return document_of(
        EventDocument, event, severity=severity_name(event.severity), evidence=dict(event.evidence)
    )


async def past(
    history: EventHistory, query: EventsQuery, *, after_id: int, limit: int, forward: bool = False
) -> list[Event]:
    """Return the recorded events that ``query`` selects; raises :class:`Unavailable`.

    With ``forward`` the first ones after ``after_id``, be that 0 too.
    """
    return await history.events(
        after_id=after_id,
        limit=limit,
        forward=forward,
        since=query.since,
        kinds=query.kind,
        min_severity=SEVERITIES[query.severity],
        subject=query.subject,
    )


def matches(query: EventsQuery, event: Event) -> bool:
    """Return whether ``event`` is one of ``query``, its id and limit aside."""
    return (
        event.kind.startswith(query.kind)
        and event.severity >= SEVERITIES[query.severity]
        and (query.since is None or event.time >= query.since)
        and (query.subject is None or event.subject == query.subject)
    )


async def follow(history: EventHistory, bus: EventBus, query: EventsQuery) -> Stream:
    """Yield the recorded events that ``query`` selects, then each new one, every id once and in order.

    Where the record can't be read, or a slow reader lost events that are not on record, one
    :class:`Missed` takes their place.
    """
    # Before the record is read, so that none falls between.
    with bus.subscribe(_BACKLOG) as subscription:
        seen, missed, lost = query.after_id, 0, 0
        behind, event, begun = True, None, seen > 0
        while True:
            while behind:
                try:
                    if not begun:
                        seen, begun = await _before_newest(history, query), True
                    page = await past(history, query, after_id=seen, limit=_PAGE, forward=True)
                except Unavailable as error:
                    page, begun = [], True
                    yield Missed(missed=lost, reason=str(error))
                behind = len(page) == _PAGE
                for old in page:
                    seen = old.id
                    yield event_document(old)
            if event is not None and event.id > seen:
                seen = event.id
                if matches(query, event):
                    yield event_document(event)
            event = await subscription.next()
            # A reader too slow for its queue finds in the record what the queue lost.
            lost, missed = subscription.missed - missed, subscription.missed
            behind = lost > 0


async def _before_newest(history: EventHistory, query: EventsQuery) -> int:
    """Return the id after which the newest ``query.limit`` events follow; raises :class:`Unavailable`.

    They are read page by page from there on: all of them at once may be megabytes for each reader.
    """
    newest = await history.event_ids(
        limit=query.limit,
        since=query.since,
        kinds=query.kind,
        min_severity=SEVERITIES[query.severity],
        subject=query.subject,
    )
    return newest[0] - 1 if newest else 0
