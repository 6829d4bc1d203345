"""Events about containers, from the events and readings of a runtime (pure).

A runtime's events can be lost, doubled and late; a reading is exact but has nothing of what came and went
before it. So a reading decides what is so, and an event only adds what a reading can't show any more (the
exit code of a run that was followed by another, a flap of health, a short pause). Rules that prevent that
anything is published twice:

- A run of a container is identified by its start time, its process and the count of its restarts, never
  by comparing its start with its end: the runtime may write the first after the second, and clocks are set.
  A start known from an event only is an upper bound of that time, since the runtime logs it after the start.
- An event is stepped through once: it is known by its time and content.
- An event about a run that is from before a reading of its container was requested has no news.
- Pauses and health alternate, and their events are published even where a reading came before them
  (:mod:`.toggle`).
- Every event makes its container ``stale``, to be read: whatever an event can't decide is decided then.

The caller reads a container only after having stepped through every event that it has from before, and hands
over no reading that was requested before an event of the same container that it has stepped through.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from aiidpd.components.containers import events, toggle
from aiidpd.components.containers.cause import Witnesses
from aiidpd.components.containers.events import ContainerPublisher
from aiidpd.components.containers.reconcile import begun, described, reconcile, true
from aiidpd.components.containers.runtime import RuntimeEvent
from aiidpd.components.containers.state import (
    LOOP_WINDOW,
    NEVER,
    PAUSED,
    REMEMBER_REMOVED,
    START_LAG,
    UNPAUSED,
    ContainersState,
    Effects,
    Inspected,
    Known,
    Observation,
    Snapshot,
)

_ENDING_SIGNALS = frozenset({"2", "3", "6", "9", "15"})  # others, such as SIGHUP, ask for something else
_OF_A_RUN = frozenset({"die", "oom", "kill", "health_status", "pause", "unpause"})
_MOST_HEARD = 32
_OPPOSITE = {PAUSED: UNPAUSED, UNPAUSED: PAUSED}
_NO_WITNESSES = Witnesses()


def step(
    state: ContainersState, observation: Observation, now: float, witnesses: Witnesses = _NO_WITNESSES
) -> tuple[ContainersState, Effects]:
    """Return the state after ``observation``, which was complete at ``now``, and what to publish."""
    via = "event" if isinstance(observation, RuntimeEvent) else "reading"
    reduction = _Step(state, now, ContainerPublisher(now, via, witnesses, state.resumed_at))
    match observation:
        case RuntimeEvent():
            reduction.event(observation)
        case Inspected():
            reduction.inspected(observation)
        case Snapshot():
            reduction.listed(observation)
    return reduction.close()


class _Step:
    """One step at work: mutable only inside :func:`step`."""

    def __init__(self, state: ContainersState, now: float, publisher: ContainerPublisher) -> None:
        self._known = dict(state.known)
        self._removed = dict(state.removed)
        self._stale = set(state.stale)
        self._listed = state.listed
        self._resumed_at = state.resumed_at
        self._now = now
        self._publisher = publisher

    def close(self) -> tuple[ContainersState, Effects]:
        state = ContainersState(
            MappingProxyType(self._known),
            MappingProxyType(self._removed),
            frozenset(self._stale & self._known.keys()),
            self._listed,
            self._resumed_at,
        )
        return state, tuple(self._publisher.effects)

    # Readings

    def listed(self, listing: Snapshot) -> None:
        if not self._listed:
            self._begin(listing)
            return
        if self._resumed_at is not None:
            self._publisher.effects.append(events.watching(listing.readings, self._now))
        for reading in listing.readings:
            self.inspected(Inspected(reading.id, reading, listing.requested))
        present = {reading.id for reading in listing.readings} | listing.unreadable
        for identity in [key for key in self._known if key not in present]:
            self.inspected(Inspected(identity, None))
        for known in list(self._known.values()):
            if known.looping and self._now - known.deaths[-1] >= LOOP_WINDOW:
                self._publisher.loop_ended(known, self._now, f"it did not die for {LOOP_WINDOW:.0f} s")
                self._known[known.id] = replace(known, looping=False, deaths=())
        self._resumed_at = None

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

    def inspected(self, inspected: Inspected) -> None:
        identity, reading = inspected.id, inspected.reading
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
        after = reconcile(self._publisher, known, reading)
        requested = self._now if inspected.requested is None else min(inspected.requested, self._now)
        # A run that the reading told of and that is over: its start may be on its way.
        told = after.starts > known.starts and not reading.running
        ahead = [at for at in (reading.started_at, reading.finished_at) if at is not None and at > self._now]
        self._known[identity] = replace(
            described(after, reading, max(requested, true(known.as_of, self._now))),
            read_at=self._now,
            owed_start=self._now if told else true(known.owed_start, self._now),
            latest=max(known.latest, self._now, *(at + START_LAG for at in ahead)),
        )

    # Events

    def event(self, event: RuntimeEvent) -> None:
        if not self._listed or event.id in self._removed:
            return
        known = self._known.get(event.id)
        if known is None:
            known = Known(event.id, event.name, event.image)
            self._publisher.publish(events.appeared(known, event.time))
            if event.action in _OF_A_RUN:  # it has started, at the latest just then
                known = self._publisher.started(known, event.time)
        if event.action == "destroy":
            self._remove(known, event.time)
            return
        self._stale.add(event.id)
        key = (event.time, event.action, event.detail)
        if key not in known.heard:
            known = on_event(self._publisher, known, event, self._now)
            known = _hearing(known, key)
        self._known[event.id] = known

    def _remove(self, known: Known, at: float) -> None:
        if known.running:
            known = self._publisher.died(known, at, None)
        self._known.pop(known.id, None)
        self._removed[known.id] = self._now
        for oldest in list(self._removed)[:-REMEMBER_REMOVED]:
            del self._removed[oldest]
        self._publisher.publish(events.removed(known, at))


def on_event(publisher: ContainerPublisher, known: Known, event: RuntimeEvent, now: float) -> Known:
    """Return ``known`` after ``event``, heard for the first time at ``now``; publish what changed."""
    at = event.time
    if at <= true(known.since, now) or now < at <= known.latest:
        return known  # the second is from before the clock was set back
    match event.action:
        case "pause" | "unpause":
            return _on_pause(publisher, known, PAUSED if event.action == "pause" else UNPAUSED, at, now)
        case "health_status":
            known_value = event.detail in ("healthy", "unhealthy")
            return _on_check(publisher, known, event.detail, at, now) if known_value else known
        case _:
            return _on_run(publisher, known, event)


def _on_run(publisher: ContainerPublisher, known: Known, event: RuntimeEvent) -> Known:
    at, action = event.time, event.action
    in_run = known.running and (known.started is None or at >= known.started)
    if action == "kill":
        asked = in_run and event.detail in _ENDING_SIGNALS
        return replace(known, signal=event.detail, signal_at=at) if asked else known
    if at > known.as_of and not _shown(known, at):
        if action == "start" and at <= known.owed_start:
            known = replace(known, owed_start=NEVER)
        elif action == "start" and not known.running and at > known.ended:
            known = publisher.started(known, at, after=at - START_LAG)
        elif action == "start" and in_run:
            known = replace(known, next_start=at)  # the end before it may yet come
        elif action == "die" and not known.running and at > max(known.ended, known.read_at):
            # The event of its start was lost, or is late.
            known = publisher.died(publisher.started(known, at), at, event.exit_code)
        elif action == "die" and in_run:
            known = publisher.died(known, at, event.exit_code)
            if known.next_start > at:
                known = publisher.started(known, known.next_start, after=known.next_start - START_LAG)
        elif action == "oom" and in_run and not known.oom:
            known = publisher.oom_killed(known, at)
    return known


def _shown(known: Known, at: float) -> bool:
    """Return whether an event of ``at`` is of the run that was read, by a clock that was set back since."""
    reading = known.reading
    stamps = () if reading is None else (reading.started_at, reading.finished_at)
    return any(
        stamp is not None and stamp > known.read_at and stamp <= at <= stamp + START_LAG for stamp in stamps
    )


def _on_pause(publisher: ContainerPublisher, known: Known, value: str, at: float, now: float) -> Known:
    current = replace(known.pause, at=true(known.pause.at, now))
    pause, values = toggle.on_event(current, value, at, opposite=_OPPOSITE[value])
    if _earlier_run(known, at, now):
        pause = replace(pause, value=known.pause.value)
    for each in values:
        publisher.publish(events.paused(known, at, paused=each == PAUSED))
    return replace(known, pause=pause)


def _earlier_run(known: Known, at: float, now: float) -> bool:
    """Return whether an event of ``at`` is of a run before the one that is known, or that is to come."""
    if not known.running:
        return at <= true(known.ended, now)  # else its start is not known yet
    return known.started is not None and at < true(known.started, now)


def _on_check(publisher: ContainerPublisher, known: Known, value: str, at: float, now: float) -> Known:
    current = replace(known.check, at=true(known.check.at, now))
    check, values = toggle.on_event(current, value, at)
    if _earlier_run(known, at, now):
        check = replace(check, value=known.check.value)
    for each in values:
        publisher.publish(events.unhealthy(known, at) if each == "unhealthy" else events.healthy(known, at))
    return replace(known, check=check)


def _hearing(known: Known, key: tuple[float, str, str]) -> Known:
    heard = (*known.heard, key)
    if len(heard) <= _MOST_HEARD:
        return replace(known, heard=heard)
    # What is older than all that is remembered can't be told from a repetition.
    forgotten = min(heard)
    rest = tuple(each for each in heard if each != forgotten)
    return replace(known, heard=rest, since=max(known.since, forgotten[0]))
