"""Events about containers, from the events and readings of a runtime (pure).

A runtime's events can be lost, doubled and late; a reading is exact but has nothing of what came and went
before it. So a reading decides what is so, and an event only adds what a reading can't show any more (the
exit code of a run that was followed by another, a flap of health). Three rules prevent that anything is
published twice:

- A run of a container is identified by its start time. A start known from an event only is an upper
  bound of that time, since the runtime logs the event after the start.
- An event from before the last reading of its container has nothing new.
- Every event makes its container ``stale``, to be read: whatever an event can't decide is decided then.

The caller reads a container only after having stepped through every event that it has from before.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from aiidpd.components.containers import events
from aiidpd.components.containers.events import ContainerPublisher
from aiidpd.components.containers.runtime import ContainerReading, RuntimeEvent
from aiidpd.components.containers.state import (
    LOOP_DEATHS,
    LOOP_WINDOW,
    NEVER,
    REMEMBER_REMOVED,
    ContainersState,
    Effects,
    Inspected,
    Known,
    Observation,
    Snapshot,
)

_ENDING_SIGNALS = frozenset({"2", "3", "6", "9", "15"})  # others, such as SIGHUP, ask for something else
_OF_A_RUN = frozenset({"die", "oom", "kill", "health_status", "pause", "unpause"})


def step(state: ContainersState, observation: Observation, now: float) -> tuple[ContainersState, Effects]:
    """Return the state after ``observation``, which was complete at ``now``, and what to publish."""
    via = "event" if isinstance(observation, RuntimeEvent) else "reading"
    reduction = _Step(state, now, via)
    match observation:
        case RuntimeEvent():
            reduction.event(observation)
        case Inspected():
            reduction.inspected(observation.id, observation.reading)
        case Snapshot():
            reduction.listed(observation)
    return reduction.close()


class _Step:
    """One step at work: mutable only inside :func:`step`."""

    def __init__(self, state: ContainersState, now: float, via: str) -> None:
        self._known = dict(state.known)
        self._removed = {key: at for key, at in state.removed.items() if now - at < REMEMBER_REMOVED}
        self._stale = set(state.stale)
        self._listed = state.listed
        self._now = now
        self._publisher = ContainerPublisher(now, via)

    def close(self) -> tuple[ContainersState, Effects]:
        state = ContainersState(
            MappingProxyType(self._known),
            MappingProxyType(self._removed),
            frozenset(self._stale & self._known.keys()),
            self._listed,
        )
        return state, tuple(self._publisher.effects)

    # Readings

    def listed(self, listing: Snapshot) -> None:
        if not self._listed:
            self._begin(listing)
            return
        for reading in listing.readings:
            self.inspected(reading.id, reading)
        present = {reading.id for reading in listing.readings} | listing.unreadable
        for identity in [key for key in self._known if key not in present]:
            self.inspected(identity, None)
        for known in list(self._known.values()):
            if known.looping and self._now - known.deaths[-1] >= LOOP_WINDOW:
                self._publisher.loop_ended(known, self._now, f"it did not die for {LOOP_WINDOW:.0f} s")
                self._known[known.id] = replace(known, looping=False, deaths=())

    def _begin(self, listing: Snapshot) -> None:
        # What is true already is not news, except what is wrong.
        self._listed = True
        for reading in listing.readings:
            self._known[reading.id] = begun(reading, self._now)
        self._publisher.effects.append(events.watching(listing.readings, self._now))
        for known in self._known.values():
            if known.health == "unhealthy":
                self._publisher.publish(events.unhealthy(known, self._now))
            if known.looping:
                reason = f"Docker has restarted it {known.restart_count} times and is about to again"
                self._publisher.publish(events.looping(known, self._now, reason, LOOP_WINDOW))

    def inspected(self, identity: str, reading: ContainerReading | None) -> None:
        self._stale.discard(identity)
        if identity in self._removed or not self._listed:
            return
        known = self._known.get(identity)
        if reading is None:
            if known is not None:
                self._remove(known, self._now)
            return
        if known is None:
            known = Known(identity, reading.name, reading.image)
            self._publisher.publish(events.appeared(known, self._now))
        self._known[identity] = described(reconcile(self._publisher, known, reading), reading, self._now)

    # Events

    def event(self, event: RuntimeEvent) -> None:
        if not self._listed or event.id in self._removed:
            return
        known = self._known.get(event.id)
        if known is None:
            known = Known(event.id, event.name, event.image)
            if event.action in _OF_A_RUN:
                known = replace(known, running=True, started=event.time)
            self._publisher.publish(events.appeared(known, event.time))
        if event.action == "destroy":
            self._remove(known, event.time)
            return
        self._stale.add(event.id)
        if event.time > known.as_of:
            known = replace(on_event(self._publisher, known, event), as_of=event.time)
        self._known[event.id] = known

    def _remove(self, known: Known, at: float) -> None:
        if known.running:
            known = self._publisher.died(known, at, None)
        self._known.pop(known.id, None)
        self._removed[known.id] = self._now
        self._publisher.publish(events.removed(known, at))


def on_event(publisher: ContainerPublisher, known: Known, event: RuntimeEvent) -> Known:
    """Return ``known`` after ``event``, which its last reading did not show; publish what changed."""
    at, action, detail = event.time, event.action, event.detail
    if action == "start" and not known.running and at > known.ended:
        return publisher.started(known, at, exact=False)
    if not known.running or (known.started is not None and at < known.started):
        return known  # of a run whose end is known already
    if action == "die":
        known = publisher.died(known, at, event.exit_code)
    elif action == "oom" and not known.oom:
        known = publisher.oom_killed(known, at)
    elif action == "kill" and detail in _ENDING_SIGNALS:
        known = replace(known, signal=detail, signal_at=at)
    elif action == "health_status" and detail in ("healthy", "unhealthy"):
        known = publisher.health(known, detail, at)
    return known


def begun(reading: ContainerReading, now: float) -> Known:
    """Return what is known of a container of the first reading of all: nothing of it is news.

    One that waits for a restart, had some before, and ran so shortly that its deaths, at this pace, are a
    restart loop, is in one: how it died before can't be seen any more.
    """
    looping = _loops(reading)
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


def reconcile(publisher: ContainerPublisher, known: Known, reading: ContainerReading) -> Known:
    """Return ``known`` after ``reading``; what changed is published through ``publisher``."""
    start, end = reading.started_at, reading.finished_at
    if start is not None and not _same_run(known, start):
        # A container that runs still shows when its previous run ended, but not how.
        ended = end if end is not None and reading.running else start
        unseen = max(0, reading.restart_count - known.restart_count - 1)
        known = replace(known, deaths=(*known.deaths, *[ended] * unseen)[-LOOP_DEATHS:])
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
        publisher.publish(events.paused(known, publisher.now))
    return known


def described(known: Known, reading: ContainerReading, now: float) -> Known:
    """Return ``known`` with the part of ``reading``, complete at ``now``, that is no news."""
    return replace(
        known,
        name=reading.name,
        image=reading.image,
        paused=reading.state == "paused",
        restart_count=reading.restart_count,
        as_of=now,
        reading=reading,
    )


def _loops(reading: ContainerReading) -> bool:
    if reading.state != "restarting" or reading.started_at is None or reading.finished_at is None:
        return False
    ran = reading.finished_at - reading.started_at
    return reading.restart_count >= LOOP_DEATHS and ran * LOOP_DEATHS < LOOP_WINDOW


def _same_run(known: Known, start: float) -> bool:
    if not known.running:
        return start <= known.ended  # a later run would have started after that end
    if known.started is None:
        return False
    return start == known.started if known.exact else start <= known.started
