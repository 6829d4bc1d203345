"""What is worth saying about containers, from what the engine says and shows (pure).

An engine's events can be lost, doubled and late; a reading is exact but says nothing about what
came and went before it. So a reading decides what is, and an event only adds what a reading can't
show any more (the exit code of a run that was followed by another, a flap of health). Three rules
keep any fact from being said twice:

- A run of a container is identified by its start time. A start known from an event only is an upper
  bound of that time, since the engine logs the event after the start.
- An event from before the last reading of its container says nothing new.
- Every event asks for a reading (``stale``), so whatever an event can't decide is decided then.

The caller reads a container only after having stepped through every event that it holds from before.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from aiidpd.components.containers import facts
from aiidpd.components.containers.comparing import begun, compare, described
from aiidpd.components.containers.events import ContainerPublisher
from aiidpd.components.containers.hearing import heard
from aiidpd.components.containers.runtime import ContainerReading, RuntimeEvent
from aiidpd.components.containers.state import (
    ContainersPolicy,
    ContainersState,
    Effects,
    Inspected,
    Known,
    Observation,
    Snapshot,
)

_OF_A_RUN = frozenset({"die", "oom", "kill", "health_status", "pause", "unpause"})


def step(
    state: ContainersState, observation: Observation, now: float, policy: ContainersPolicy
) -> tuple[ContainersState, Effects]:
    """Return the state after ``observation``, which was complete at ``now``, and what to publish."""
    via = "event" if isinstance(observation, RuntimeEvent) else "reading"
    book = _Book(state, now, policy, via)
    match observation:
        case RuntimeEvent():
            book.event(observation)
        case Inspected():
            book.looked(observation.id, observation.reading)
        case Snapshot():
            book.listed(observation)
    return book.close()


class _Book:
    """One step at work: mutable only inside :func:`step`."""

    def __init__(self, state: ContainersState, now: float, policy: ContainersPolicy, via: str) -> None:
        self._known = dict(state.known)
        self._removed = {key: at for key, at in state.removed.items() if now - at < policy.remember_removed}
        self._stale = set(state.stale)
        self._listed = state.listed
        self._now = now
        self._policy = policy
        self._teller = ContainerPublisher(now, policy, via)

    def close(self) -> tuple[ContainersState, Effects]:
        state = ContainersState(
            MappingProxyType(self._known),
            MappingProxyType(self._removed),
            frozenset(self._stale & self._known.keys()),
            self._listed,
        )
        return state, tuple(self._teller.effects)

    # What the engine shows

    def listed(self, listing: Snapshot) -> None:
        if not self._listed:
            self._begin(listing)
            return
        for reading in listing.readings:
            self.looked(reading.id, reading)
        present = {reading.id for reading in listing.readings} | listing.unreadable
        for identity in [key for key in self._known if key not in present]:
            self.looked(identity, None)
        for known in list(self._known.values()):
            if known.looping and self._now - known.deaths[-1] >= self._policy.loop_window:
                self._teller.loop_ended(
                    known, self._now, f"it did not die for {self._policy.loop_window:.0f} s"
                )
                self._known[known.id] = replace(known, looping=False, deaths=())

    def _begin(self, listing: Snapshot) -> None:
        # What is true already is not news, except what is wrong.
        self._listed = True
        for reading in listing.readings:
            self._known[reading.id] = begun(reading, self._now, self._policy)
        self._teller.effects.append(facts.watching(listing.readings, self._now))
        for known in self._known.values():
            if known.health == "unhealthy":
                self._teller.say(facts.unhealthy(known, self._now))
            if known.looping:
                reason = f"Docker has restarted it {known.restart_count} times and is about to again"
                self._teller.say(facts.looping(known, self._now, reason, self._policy.loop_window))

    def looked(self, identity: str, reading: ContainerReading | None) -> None:
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
            self._teller.say(facts.appeared(known, self._now))
        self._known[identity] = described(compare(self._teller, known, reading), reading, self._now)

    # What the engine says

    def event(self, event: RuntimeEvent) -> None:
        if not self._listed or event.id in self._removed:
            return
        known = self._known.get(event.id)
        if known is None:
            known = Known(event.id, event.name, event.image)
            if event.action in _OF_A_RUN:
                known = replace(known, running=True, started=event.time)
            self._teller.say(facts.appeared(known, event.time))
        if event.action == "destroy":
            self._remove(known, event.time)
            return
        self._stale.add(event.id)
        if event.time > known.as_of:
            known = replace(heard(self._teller, known, event), as_of=event.time)
        self._known[event.id] = known

    def _remove(self, known: Known, at: float) -> None:
        if known.running:
            known = self._teller.died(known, at, None)
        self._known.pop(known.id, None)
        self._removed[known.id] = self._now
        self._teller.say(facts.removed(known, at))
