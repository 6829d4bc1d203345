"""Changes between a reading of a container and the one before (pure)."""

from __future__ import annotations

from dataclasses import replace

from aiidpd.components.containers import facts
from aiidpd.components.containers.events import ContainerPublisher
from aiidpd.components.containers.runtime import ContainerReading
from aiidpd.components.containers.state import NEVER, ContainersPolicy, Known


def begun(reading: ContainerReading, now: float, policy: ContainersPolicy) -> Known:
    """Return what is known of a container of the first reading of all: nothing of it is news.

    One that waits for a restart, and had some before, is in a restart loop: Docker waits longer before each
    that follows on a short run, so that this is seen nowhere else.
    """
    looping = reading.state == "restarting" and reading.restart_count >= policy.loop_deaths
    return replace(
        described(Known(reading.id, "", ""), reading, now),
        running=reading.running,
        started=reading.started_at,
        exact=True,
        ended=reading.finished_at or NEVER,
        health=reading.health,
        oom=reading.oom_killed,
        looping=looping,
        deaths=(reading.finished_at or now,) if looping else (),
    )


def compare(publisher: ContainerPublisher, known: Known, reading: ContainerReading) -> Known:
    """Return ``known`` after ``reading``; what changed is said through ``publisher``."""
    start, end = reading.started_at, reading.finished_at
    if start is not None and not _same_run(known, start):
        # A container that runs still shows when its previous run ended, but not how.
        ended = end if end is not None and reading.running else start
        unseen = max(0, reading.restart_count - known.restart_count - 1)
        known = replace(known, deaths=(*known.deaths, *[ended] * unseen)[-publisher.policy.loop_deaths :])
        if known.running:
            known = publisher.died(known, ended, None)
        known = publisher.started(replace(known, restart_count=reading.restart_count), start, exact=True)
    elif start is not None:
        known = replace(known, started=start, exact=True)
    if reading.oom_killed and not known.oom:
        known = publisher.oom_killed(known, end or publisher.now)
    if known.running and not reading.running:
        known = publisher.died(known, end or publisher.now, reading.exit_code)
    elif reading.running and not known.running:
        # Only a clock that was set back can make an event claim an end that did not happen.
        known = publisher.started(known, publisher.now, exact=False)
    if known.running and reading.health is not None:
        known = publisher.health(known, reading.health, publisher.now)
    if known.paused != (reading.state == "paused"):
        known = replace(known, paused=not known.paused)
        publisher.say(facts.paused(known, publisher.now))
    return known


def described(known: Known, reading: ContainerReading, now: float) -> Known:
    """Return ``known`` with what ``reading``, complete at ``now``, just says: nothing of it is told."""
    return replace(
        known,
        name=reading.name,
        image=reading.image,
        paused=reading.state == "paused",
        restart_count=reading.restart_count,
        as_of=now,
        reading=reading,
    )


def _same_run(known: Known, start: float) -> bool:
    if not known.running:
        return start <= known.ended  # a later run would have started after that end
    if known.started is None:
        return False
    return start == known.started if known.exact else start <= known.started
