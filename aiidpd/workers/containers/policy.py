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

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TypeAlias

from aiidpd.kernel.events import Event
from aiidpd.workers.containers import facts
from aiidpd.workers.containers.engine import ContainerReading, EngineEvent

_NEVER = float("-inf")
_ENDING_SIGNALS = frozenset({"2", "3", "6", "9", "15"})  # others, such as SIGHUP, ask for something else


@dataclass(frozen=True, slots=True)
class ContainersPolicy:
    """How closely containers are watched. Times in seconds.

    All containers are read every ``reconcile_interval``, which finds what the events did not bring.
    A broken event stream is opened again after ``reconnect_initial``, doubling up to
    ``reconnect_cap``. ``loop_deaths`` deaths that nobody asked for within ``loop_window`` are a
    restart loop; it is over after ``loop_window`` without one. A removed container is remembered
    for ``remember_removed``, so that a late event does not bring it back.
    """

    reconcile_interval: float = 30.0
    reconnect_initial: float = 0.2
    reconnect_cap: float = 15.0
    loop_deaths: int = 3
    loop_window: float = 600.0
    remember_removed: float = 600.0


@dataclass(frozen=True, slots=True)
class Known:
    """What has been said about one container. Times in Unix seconds by the engine's clock.

    ``started`` is the current or last run's start: exact, or an upper bound of it. ``asked`` is the
    signal that Docker was asked to send in this run. Events up to ``as_of`` say nothing new.
    """

    id: str
    name: str
    image: str
    running: bool = False
    started: float | None = None
    exact: bool = False
    ended: float = _NEVER
    health: str | None = None
    health_at: float = _NEVER
    oom: bool = False
    oom_at: float = _NEVER
    asked: str = ""
    asked_at: float = _NEVER
    paused: bool = False
    restart_count: int = 0
    deaths: tuple[float, ...] = ()
    looping: bool = False
    as_of: float = _NEVER
    reading: ContainerReading | None = None


@dataclass(frozen=True, slots=True)
class ContainersState:
    """What has been said about all containers; ``stale`` are the ids that wait to be read."""

    known: Mapping[str, Known] = field(default_factory=lambda: MappingProxyType({}))
    removed: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    stale: frozenset[str] = frozenset()
    listed: bool = False


@dataclass(frozen=True, slots=True)
class Listed:
    """A reading of all containers; those in ``unreadable`` (ids) exist, but nothing is known of them."""

    readings: tuple[ContainerReading, ...]
    unreadable: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Looked:
    """A reading of one container; None where it does not exist."""

    id: str
    reading: ContainerReading | None


Observation: TypeAlias = EngineEvent | Listed | Looked
Effects: TypeAlias = tuple[Event, ...]


def step(
    state: ContainersState, observation: Observation, now: float, policy: ContainersPolicy
) -> tuple[ContainersState, Effects]:
    """Return the state after ``observation``, which was complete at ``now``, and what to publish."""
    book = _Book(state, now, policy)
    match observation:
        case EngineEvent():
            book.event(observation)
        case Looked():
            book.looked(observation.id, observation.reading)
        case Listed():
            book.listed(observation)
    return book.close()


class _Book:
    """One step at work: mutable only inside :func:`step`."""

    def __init__(self, state: ContainersState, now: float, policy: ContainersPolicy) -> None:
        self._known = dict(state.known)
        self._removed = {key: at for key, at in state.removed.items() if now - at < policy.remember_removed}
        self._stale = set(state.stale)
        self._listed = state.listed
        self._now = now
        self._policy = policy
        self._effects: list[Event] = []
        self._via = "reading"

    def close(self) -> tuple[ContainersState, Effects]:
        state = ContainersState(
            MappingProxyType(self._known),
            MappingProxyType(self._removed),
            frozenset(self._stale & self._known.keys()),
            self._listed,
        )
        return state, tuple(self._effects)

    # What the engine shows

    def listed(self, listing: Listed) -> None:
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
                self._say(facts.loop_ended(known, self._now, self._policy.loop_window))
                self._known[known.id] = replace(known, looping=False, deaths=())

    def _begin(self, listing: Listed) -> None:
        # What is true already is not news, except what is wrong.
        self._listed = True
        for reading in listing.readings:
            self._known[reading.id] = replace(
                self._described(Known(reading.id, "", ""), reading),
                running=reading.running,
                started=reading.started_at,
                exact=True,
                ended=reading.finished_at or _NEVER,
                health=reading.health,
                oom=reading.oom_killed,
            )
        self._effects.append(facts.watching(listing.readings, self._now))
        for known in self._known.values():
            if known.health == "unhealthy":
                self._say(facts.unhealthy(known, self._now))

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
            self._say(facts.appeared(known, self._now))
        self._known[identity] = self._described(self._compare(known, reading), reading)

    def _compare(self, known: Known, reading: ContainerReading) -> Known:
        start, end = reading.started_at, reading.finished_at
        if start is not None and not _same_run(known, start):
            # A container that runs still shows when its previous run ended, but not how.
            ended = end if end is not None and reading.running else start
            unseen = max(0, reading.restart_count - known.restart_count - 1)
            known = replace(known, deaths=(*known.deaths, *[ended] * unseen)[-self._policy.loop_deaths :])
            if known.running:
                known = self._died(known, ended, None)
            known = self._started(replace(known, restart_count=reading.restart_count), start, exact=True)
        elif start is not None:
            known = replace(known, started=start, exact=True)
        if reading.oom_killed and not known.oom:
            known = self._oom_killed(known, end or self._now)
        if known.running and not reading.running:
            known = self._died(known, end or self._now, reading.exit_code)
        elif reading.running and not known.running:
            # Only a clock that was set back can make an event claim an end that did not happen.
            known = self._started(known, self._now, exact=False)
        if known.running and reading.health is not None:
            known = self._health(known, reading.health, self._now)
        if known.paused != (reading.state == "paused"):
            known = replace(known, paused=not known.paused)
            self._say(facts.paused(known, self._now))
        return known

    def _described(self, known: Known, reading: ContainerReading) -> Known:
        return replace(
            known,
            name=reading.name,
            image=reading.image,
            paused=reading.state == "paused",
            restart_count=reading.restart_count,
            as_of=self._now,
            reading=reading,
        )

    # What the engine says

    def event(self, event: EngineEvent) -> None:
        if not self._listed or event.id in self._removed:
            return
        self._via = "event"
        known = self._known.get(event.id)
        if known is None:
            known = Known(event.id, event.name, event.image)
            if event.action in ("die", "oom", "kill", "health_status", "pause", "unpause"):
                known = replace(known, running=True, started=event.time)
            self._say(facts.appeared(known, event.time))
        if event.action == "destroy":
            self._remove(known, event.time)
            return
        self._stale.add(event.id)
        if event.time > known.as_of:
            known = replace(self._heard(known, event), as_of=event.time)
        self._known[event.id] = known

    def _heard(self, known: Known, event: EngineEvent) -> Known:
        at, action, detail = event.time, event.action, event.detail
        if action == "start" and not known.running and at > known.ended:
            return self._started(known, at, exact=False)
        if not known.running or (known.started is not None and at < known.started):
            return known  # of a run whose end is known already
        if action == "die":
            known = self._died(known, at, event.exit_code)
        elif action == "oom" and not known.oom:
            known = self._oom_killed(known, at)
        elif action == "kill" and detail in _ENDING_SIGNALS:
            known = replace(known, asked=detail, asked_at=at)
        elif action == "health_status" and detail in ("healthy", "unhealthy"):
            known = self._health(known, detail, at)
        return known

    # What changes

    def _started(self, known: Known, at: float, *, exact: bool) -> Known:
        # What was heard after this start is of this run, though its start was not known then.
        known = replace(
            known,
            running=True,
            started=at,
            exact=exact,
            health=known.health if known.health_at > at else None,
            oom=known.oom and known.oom_at > at,
            asked=known.asked if known.asked_at > at else "",
            paused=False,
        )
        self._say(facts.started(known, at))
        return known

    def _died(self, known: Known, at: float, code: int | None) -> Known:
        known = replace(known, running=False, ended=at, paused=False)
        self._say(facts.died(known, at, code))
        if known.asked:
            return known
        deaths = (*known.deaths, at)[-self._policy.loop_deaths :]
        known = replace(known, deaths=deaths)
        full = len(deaths) == self._policy.loop_deaths
        if full and not known.looping and deaths[-1] - deaths[0] <= self._policy.loop_window:
            known = replace(known, looping=True)
            self._say(facts.looping(known, at, self._policy.loop_window))
        return known

    def _oom_killed(self, known: Known, at: float) -> Known:
        known = replace(known, oom=True, oom_at=at)
        self._say(facts.oom_killed(known, at))
        return known

    def _health(self, known: Known, health: str, at: float) -> Known:
        if health == known.health:
            return known
        known = replace(known, health=health, health_at=at)
        if health == "unhealthy":
            self._say(facts.unhealthy(known, at))
        elif health == "healthy":
            self._say(facts.healthy(known, at))
        return known

    def _remove(self, known: Known, at: float) -> None:
        if known.running:
            known = self._died(known, at, None)
        self._known.pop(known.id, None)
        self._removed[known.id] = self._now
        self._say(facts.removed(known, at))

    def _say(self, event: Event) -> None:
        self._effects.append(replace(event, evidence={**event.evidence, "seen_by": self._via}))


def _same_run(known: Known, start: float) -> bool:
    if not known.running:
        return start <= known.ended  # a later run would have started after that end
    if known.started is None:
        return False
    return start == known.started if known.exact else start <= known.started
