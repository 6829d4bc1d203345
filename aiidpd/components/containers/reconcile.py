"""One container compared with a reading of it (pure)."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from aiidpd.components.containers import events, toggle
from aiidpd.components.containers.events import ContainerPublisher
from aiidpd.components.containers.runtime import ContainerReading
from aiidpd.components.containers.state import LOOP_DEATHS, LOOP_WINDOW, NEVER, PAUSED, UNPAUSED, Known
from aiidpd.components.containers.toggle import Toggle

LONGEST_ERROR: Final = 200
"""Characters of a runtime's words that tell two failures apart."""


def begun(reading: ContainerReading, now: float) -> Known:
    """Return what is known of a container of the first reading of all: nothing of it is news.

    One that waits for a restart, had some before, and ran so shortly that its deaths, at this pace, are a
    restart loop, is in one: how it died before can't be seen any more.
    """
    looping = loops(reading)
    return replace(
        described(Known(reading.id, "", ""), reading, now),
        running=reading.running,
        started=reading.started_at,
        exact=True,
        ended=_end(reading, NEVER),
        settled=True,
        check=Toggle(reading.health or ""),
        pause=Toggle(PAUSED if reading.state == "paused" else UNPAUSED),
        oom=reading.oom_killed,
        looping=looping,
        deaths=(reading.finished_at or now,) if looping else (),
        since=now,
        read_at=now,
        latest=now,
    )


def reconcile(publisher: ContainerPublisher, known: Known, reading: ContainerReading) -> Known:
    """Return ``known`` after ``reading``; what changed is published through ``publisher``."""
    now = publisher.now
    known = _run(publisher, known, reading)
    if reading.oom_killed and not known.oom:
        known = publisher.oom_killed(known, reading.finished_at or now)
    if known.running and not reading.running:
        known = publisher.died(known, _end(reading, now), reading.exit_code)
    elif reading.running and not known.running:
        # Only a clock that was set back can make an event claim an end that did not happen.
        known = replace(publisher.started(known, now), started=reading.started_at, exact=True)
    if not reading.running:
        known = replace(
            known,
            settled=True,
            ended=max(known.ended, _end(reading, NEVER)),
            check=replace(known.check, value=""),
            pause=replace(known.pause, value=UNPAUSED),
        )
    if known.running and reading.health is not None:
        known = _check(publisher, known, reading.health)
    if known.running:
        known = _pause(publisher, known, PAUSED if reading.state == "paused" else UNPAUSED)
    before = "" if known.reading is None else known.reading.error[:LONGEST_ERROR]
    if reading.error and reading.error[:LONGEST_ERROR] != before and not reading.running:
        publisher.publish(events.start_failed(known, now, reading.error))
    return known


def described(known: Known, reading: ContainerReading, as_of: float) -> Known:
    """Return ``known`` with the part of ``reading`` that is no news; events up to ``as_of`` are none."""
    return replace(
        known,
        name=reading.name,
        image=reading.image,
        as_of=as_of,
        starts=0,
        next_start=NEVER,
        reading=reading,
    )


def true(moment: float, now: float) -> float:
    """Return ``moment``, or that there is none where the clock was set back since to before it."""
    return moment if moment <= now else NEVER


def loops(reading: ContainerReading) -> bool:
    """Return whether the container waits for a restart after a run so short that it is in a loop."""
    if reading.state != "restarting" or reading.started_at is None or reading.finished_at is None:
        return False
    ran = reading.finished_at - reading.started_at
    return reading.restart_count >= LOOP_DEATHS and ran * LOOP_DEATHS < LOOP_WINDOW


def _run(publisher: ContainerPublisher, known: Known, reading: ContainerReading) -> Known:
    """Publish the runs that the reading proves and no event told."""
    start, end = reading.started_at, reading.finished_at
    if start is None:
        return known
    if _same_run(known, reading):
        unseen = _unseen(known, reading, published=0)
        known = _restarts_unseen(publisher, known, unseen, end or start)
        return replace(known, started=start, exact=True)
    told = not known.running and not known.settled and known.started is not None
    if told and (known.started or NEVER) < start <= known.ended:
        # The end that an event told is of this run, which is a later one than the event's start.
        unseen = max(1, _unseen(known, reading, published=0))
        known = _restarts_unseen(publisher, known, unseen, start)
        return replace(known, started=start, exact=True)
    # A container that runs still shows when its previous run ended, but not how.
    ended = end if end is not None and reading.running else start
    known = _restarts_unseen(publisher, known, _unseen(known, reading, published=1), ended)
    if known.running:
        known = publisher.died(known, ended, None)
    return replace(publisher.started(known, start, reading=reading), exact=True)


def _same_run(known: Known, reading: ContainerReading) -> bool:
    """Return whether the run that ``reading`` shows is the one that is known. It has a start."""
    start, shown = reading.started_at, known.reading
    if known.started is None or start is None:
        return False
    if not known.exact:
        return known.started_after <= start <= known.started
    if start != known.started:
        return False
    if shown is None or not (shown.running and reading.running and known.running):
        return True
    # The same start by a clock that was set, or that stands still.
    other = shown.pid is not None and reading.pid is not None and shown.pid != reading.pid
    return not other and reading.restart_count <= shown.restart_count


def _unseen(known: Known, reading: ContainerReading, *, published: int) -> int:
    """Return how many restarts by the runtime's policy nothing else told of.

    ``published`` runs are about to be. The count goes up when a run ends, and begins anew with a start on
    request; where it leaves a doubt, as after a stop, the restart is not claimed.
    """
    shown = known.reading
    starts = known.starts + published
    if shown is None or shown.started_at is None:
        return max(0, _restarts(reading) - max(0, starts - 1)) if starts else 0
    return max(0, _restarts(reading) - _restarts(shown) - starts)


def _restarts(reading: ContainerReading) -> int:
    return reading.restart_count - (not reading.running and reading.restart_count > 0)


def _restarts_unseen(publisher: ContainerPublisher, known: Known, number: int, at: float) -> Known:
    if not number:
        return known
    publisher.publish(events.restarts_unseen(known, at, number))
    return replace(known, deaths=(*known.deaths, *[at] * min(number, LOOP_DEATHS))[-LOOP_DEATHS:])


def _check(publisher: ContainerPublisher, known: Known, value: str) -> Known:
    now = publisher.now
    check, news = toggle.on_reading(known.check, value, now)
    known = replace(known, check=check)
    if news and value == "unhealthy":
        publisher.publish(events.unhealthy(known, now))
    elif news and value == "healthy":
        publisher.publish(events.healthy(known, now))
    return known


def _pause(publisher: ContainerPublisher, known: Known, value: str) -> Known:
    pause, news = toggle.on_reading(known.pause, value, publisher.now)
    if news:
        publisher.publish(events.paused(known, publisher.now, paused=value == PAUSED))
    return replace(known, pause=pause)


def _end(reading: ContainerReading, otherwise: float) -> float:
    """Return when the run ended that the reading shows last: never before it began, whatever clocks say."""
    if reading.finished_at is None:
        return otherwise
    return (
        max(reading.finished_at, reading.started_at or NEVER) if not reading.running else reading.finished_at
    )
