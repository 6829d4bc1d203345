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

_PAGE = 500
_PACE = 0.1  # seconds between two updates of one job: nobody reads faster


async def past(services: Services, query: EventsQuery, *, after_id: int, limit: int) -> list[Event]:
    """Return the recorded events that ``query`` asks for; raises :class:`Unavailable`."""
    return await services.history.events(
        after_id=after_id,
        limit=limit,
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
    with services.bus.subscribe() as subscription:  # before the record is read, so that none falls between
        seen, missed, lost = query.after_id, 0, 0
        behind, event = True, None
        while True:
            while behind:
                # After a number a full page may have a next one; the newest few are all there is.
                size = _PAGE if seen else query.limit
                try:
                    page = await past(services, query, after_id=seen, limit=size)
                except Unavailable as error:
                    page = []
                    yield Missed(missed=lost, reason=str(error))
                behind = seen > 0 and len(page) == size
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


async def job(work: Job) -> Stream:
    """Yield ``work`` now and after each change, until it is final."""
    async for status in work.updates():
        yield JobDocument.model_validate(status)
        if not status.state.final:
            await anyio.sleep(_PACE)
