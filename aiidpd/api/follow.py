"""What streams give: events and jobs, from now on and without gap."""

from __future__ import annotations

import anyio

from aiidpd.api.document import SEVERITIES
from aiidpd.api.route import Stream
from aiidpd.api.schema import EventDocument, EventsQuery, JobDocument, Missed
from aiidpd.api.services import Services
from aiidpd.kernel.errors import Unavailable
from aiidpd.kernel.events import Event
from aiidpd.kernel.jobs import Job

_PAGE = 32  # events of the record that wait in memory for a reader; each may have some kilobytes
_BACKLOG = 256  # new events that wait likewise, the same ones for all readers
_PACE = 0.1  # seconds between two updates of one job: nobody reads faster


async def past(
    services: Services, query: EventsQuery, *, after_id: int, limit: int, forward: bool = False
) -> list[Event]:
    """Return the recorded events that ``query`` asks for; raises :class:`Unavailable`.

    With ``forward`` the first ones after ``after_id``, be that 0 too.
    """
    return await services.history.events(
        after_id=after_id,
        limit=limit,
        forward=forward,
        since=query.since,
        kinds=query.kind,
        min_severity=SEVERITIES[query.severity],
        subject=query.subject,
    )


def asked_for(query: EventsQuery, event: Event) -> bool:
    """Return whether ``query`` asks for ``event``, its id and limit aside."""
    return (
        event.kind.startswith(query.kind)
        and event.severity >= SEVERITIES[query.severity]
        and (query.since is None or event.time >= query.since)
        and (query.subject is None or event.subject == query.subject)
    )


async def events(services: Services, query: EventsQuery) -> Stream:
    """Yield the recorded events that ``query`` asks for, then each new one, every id once and in order.

    Where the record can't be read, or a slow reader lost events that are not on record, one
    :class:`Missed` stands in their place.
    """
    # Before the record is read, so that none falls between.
    with services.bus.subscribe(_BACKLOG) as subscription:
        seen, missed, lost = query.after_id, 0, 0
        behind, event, begun = True, None, seen > 0
        while True:
            while behind:
                try:
                    if not begun:
                        seen, begun = await _before_newest(services, query), True
                    page = await past(services, query, after_id=seen, limit=_PAGE, forward=True)
                except Unavailable as error:
                    page, begun = [], True
                    yield Missed(missed=lost, reason=str(error))
                behind = len(page) == _PAGE
                for old in page:
                    seen = old.id
                    yield EventDocument.model_validate(old)
            if event is not None and event.id > seen:
                seen = event.id
                if asked_for(query, event):
                    yield EventDocument.model_validate(event)
            event = await subscription.next()
            # A reader too slow for its queue finds in the record what the queue lost.
            lost, missed = subscription.missed - missed, subscription.missed
            behind = lost > 0


async def _before_newest(services: Services, query: EventsQuery) -> int:
    """Return the id after which the newest ``query.limit`` events follow; raises :class:`Unavailable`.

    They are read page by page from there on: all of them at once may be megabytes for each reader.
    """
    newest = await services.history.event_ids(
        limit=query.limit,
        since=query.since,
        kinds=query.kind,
        min_severity=SEVERITIES[query.severity],
        subject=query.subject,
    )
    return newest[0] - 1 if newest else 0


async def job(work: Job) -> Stream:
    """Yield ``work`` now and after each change, until it is final."""
    async for status in work.updates():
        yield JobDocument.model_validate(status)
        if not status.state.final:
            await anyio.sleep(_PACE)
