"""Watches a container runtime: its event stream, and a full reconcile every ``reconcile_interval``."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from math import inf

import anyio

from aiidpd.components.containers.conditions import WATCHED, conditions
from aiidpd.components.containers.reducer import step
from aiidpd.components.containers.runtime import ContainerRuntime, RuntimeEvent, RuntimeSnapshot
from aiidpd.components.containers.settings import ContainersSettings
from aiidpd.components.containers.state import (
    ContainersState,
    Effects,
    Inspected,
    Observation,
    Snapshot,
)
from aiidpd.components.containers.stopped import StoppedContainers
from aiidpd.kernel.backoff import Backoff
from aiidpd.kernel.clock import Clock, wait_for
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.errors import NotInstalled, Unavailable
from aiidpd.kernel.events import Event
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.task import Heartbeat
from aiidpd.platform.installed import Installed

# A broken event stream is opened again after so many seconds, doubling up to the cap.
_RECONNECT_INITIAL = 0.2
_RECONNECT_CAP = 15.0
_LONGEST_WAIT = 5.0  # seconds between two beats
_OVERLAP = 1.0  # seconds of events requested again at a seam: the engine may log them out of order
_QUEUE = 4096  # events; more than the engine itself remembers


@dataclass(slots=True)
class ContainersMemory:
    """Part of the watcher that outlives its runs.

    ``seen`` is the Unix second up to which events were seen.
    ``paused`` has the containers (the beginnings of their ids) that we paused ourselves.
    """

    state: ContainersState = field(default_factory=ContainersState)
    seen: float | None = None
    paused: set[str] = field(default_factory=set)


class _EventQueue:
    """A bounded queue of the events that came; ``ended`` is why the stream ended, once it has."""

    def __init__(self) -> None:
        self.events: deque[RuntimeEvent] = deque(maxlen=_QUEUE)
        self.arrived = anyio.Event()
        self.ended: str | None = None
        self.lost = False

    async def follow(self, stream: AsyncIterator[RuntimeEvent]) -> None:
        # Nothing but appending happens here: an engine drops events for a listener that lags 100 ms.
        try:
            async for event in stream:
                self.lost = self.lost or len(self.events) == _QUEUE
                self.events.append(event)
                self.arrived.set()
        except Unavailable as error:
            self.ended = str(error)
        else:
            self.ended = "the engine ended it"
        self.arrived.set()

    def take(self, before: float = float("inf")) -> list[RuntimeEvent]:
        """Take the events from before ``before`` (Unix seconds)."""
        taken = [event for event in self.events if event.time < before]
        self.events = deque((event for event in self.events if event.time >= before), maxlen=_QUEUE)
        if not self.events and self.ended is None:
            self.arrived = anyio.Event()
        return taken


class ContainersWorker:
    """A loop whose passes are the readings of all containers; between them it follows events.

    ``memory`` outlives this object; ``latest`` is cleared while the runtime can't be read.
    ``owned(id)``: this pause is ours and already published, so its paused and unpaused events are dropped.
    ``failure(id)`` is the last failure of a container in words, empty where none has a name.
    """

    def __init__(
        self,
        runtime: ContainerRuntime,
        settings: ContainersSettings,
        *,
        latest: Latest[RuntimeSnapshot],
        publish: Publisher,
        conditions: Conditions,
        stopped: StoppedContainers,
        clock: Clock,
        memory: ContainersMemory | None = None,
        owned: Callable[[str], bool] = lambda _: False,
        installed: Installed | None = None,
        failure: Callable[[str], str] = lambda _: "",
        reconnect_cap: float = _RECONNECT_CAP,
    ) -> None:
        self._runtime = runtime
        self._settings = settings
        self._latest = latest
        self._publisher = publish.marked(simulated=runtime.simulated)
        self._conditions = conditions
        self._stopped = stopped
        self._clock = clock
        self._memory = memory if memory is not None else ContainersMemory()
        self._owned = owned
        self._installed = installed
        self._failure = failure
        self._unreadable: tuple[tuple[str, str], ...] = ()
        self._version = ""
        self._found = False
        self._backoff = Backoff(
            initial=_RECONNECT_INITIAL,
            cap=reconnect_cap,
            jitter=0.0,
            settled_after=settings.reconcile_interval,
        )

    @property
    def simulated(self) -> bool:
        return self._runtime.simulated

    async def run(self, heartbeat: Heartbeat) -> None:
        failures = 0
        try:
            while True:
                began = self._clock.monotonic()
                await self._follow(heartbeat)
                failures = self._backoff.failures(failures, self._clock.monotonic() - began)
                await self._clock.sleep(self._backoff.delay(failures, 0.5))
        finally:
            with anyio.CancelScope(shield=True):
                await self._runtime.aclose()

    async def _follow(self, heartbeat: Heartbeat) -> None:
        """Open the event stream and stay on it until it ends, breaks or turns out to lose events."""
        queue = _EventQueue()
        now = self._clock.time()
        since = now if self._memory.seen is None else min(now, self._memory.seen)  # the clock may be set back
        try:
            async with self._runtime.events(since - _OVERLAP) as stream, anyio.create_task_group() as group:
                group.start_soon(queue.follow, stream)
                await self._watch(queue, heartbeat)
                group.cancel_scope.cancel()
        except Unavailable as error:
            # Without events the list alone may still work: then it is known what is, only later.
            await self._reconcile(queue, heartbeat, fresh=True, also=error)

    async def _watch(self, queue: _EventQueue, heartbeat: Heartbeat) -> None:
        whole = await self._reconcile(queue, heartbeat, fresh=True)
        due = self._clock.monotonic() + self._settings.reconcile_interval
        while whole:
            wait = min(_LONGEST_WAIT, due - self._clock.monotonic())
            await wait_for(self._clock, queue.arrived, max(0.0, wait))
            heartbeat.beat()
            answered = await self._absorb(queue.take(), heartbeat)
            if queue.ended is not None:
                self._interrupted(queue.ended)
                return
            if not answered or queue.lost or self._clock.monotonic() >= due:
                whole = await self._reconcile(queue, heartbeat, fresh=queue.lost)
                due = self._clock.monotonic() + self._settings.reconcile_interval
                queue.lost = False
                if answered and self._found:
                    self._interrupted("it did not bring what a reading found")
                    return

    async def _reconcile(
        self, queue: _EventQueue, heartbeat: Heartbeat, *, fresh: bool, also: Unavailable | None = None
    ) -> bool:
        """Read all containers, as one pass; return whether the engine answered."""
        answered = False
        with heartbeat.working():
            requested, began = self._clock.time(), self._clock.monotonic()
            try:
                snapshot = await self._runtime.containers(fresh=fresh)
            except Unavailable as error:
                self._latest.clear()
                if self._installed is None:
                    raise
                if not isinstance(error, NotInstalled):
                    self._installed.confirm()  # whatever is wrong with it, there is a runtime
                raise self._installed.explain(error) from None
            answered = True
            if self._installed is not None and not self.simulated:
                self._installed.confirm()
            # Events from before the reading first: they have what led to what the reading shows.
            for event in queue.take(before=requested):
                self._step(event)
            self._version, self._unreadable = snapshot.version, snapshot.unreadable
            stuck = frozenset(key for key, _ in snapshot.unreadable)
            found = self._step(Snapshot(snapshot.containers, stuck))
            self._found = any(effect.kind != "container.restart_loop_ended" for effect in found)
            self._memory.seen = requested
            self._put(listed_at=began)
            self._sample(snapshot)
            if also is not None:
                raise also
            if self._unreadable:
                names = ", ".join(name for _, name in self._unreadable)
                raise Unavailable(
                    "read container",
                    names,
                    reason="the engine answers for the others but not for this",
                    remedy="see `docker inspect` and `journalctl -u docker`; the engine may hold its lock",
                )
        return answered

    async def _absorb(self, events: list[RuntimeEvent], heartbeat: Heartbeat) -> bool:
        """Step through ``events`` and read the containers that they are about; return whether that worked."""
        for event in events:
            self._step(event)
        stuck = {key for key, _ in self._unreadable}
        for identity in sorted(self._memory.state.stale - stuck):
            try:
                reading = await self._runtime.container(identity)
            except Unavailable:
                return False
            self._step(Inspected(identity, reading))
            heartbeat.beat()
        if events:
            self._put()
        return True

    def _step(self, observation: Observation) -> Effects:
        state, effects = step(self._memory.state, observation, self._clock.time())
        self._memory.state = state
        for effect in effects:
            if not self._owned_pause(effect):
                self._publisher.effect(effect)
        return effects

    def _owned_pause(self, event: Event) -> bool:
        identity = str(event.evidence.get("id"))
        if event.kind == "container.paused" and self._owned(identity):
            self._memory.paused.add(identity)
            return True
        if event.kind == "container.unpaused" and identity in self._memory.paused:
            self._memory.paused.discard(identity)
            return True
        if event.kind in ("container.died", "container.removed"):
            self._memory.paused.discard(identity)
        return False

    def _put(self, listed_at: float = -inf) -> None:
        """Show what is known now; all of it was read from monotonic second ``listed_at`` on."""
        state = self._memory.state
        known = sorted(state.known.values(), key=lambda one: one.name)
        # One that was paused by us when it was first read had no event of its pause.
        self._memory.paused |= {one.id[:12] for one in known if one.paused and self._owned(one.id)}
        readings = tuple(one.reading for one in known if one.reading is not None)
        self._latest.put(RuntimeSnapshot(readings, self._version, self.simulated, self._unreadable))
        found = conditions(state, simulated=self.simulated, failure=self._failure)
        self._conditions.update(WATCHED, found, announce=False)  # its events have been published
        unread = [one.id for one in known if one.reading is None] + [key for key, _ in self._unreadable]
        self._stopped.observe(readings, unread, simulated=self.simulated, listed_at=listed_at)

    def _sample(self, snapshot: RuntimeSnapshot) -> None:
        counts = {
            "running_containers": sum(one.running for one in snapshot.containers),
            "unhealthy_containers": sum(one.health == "unhealthy" for one in snapshot.containers),
        }
        for series, count in counts.items():
            self._publisher.sample(series, "engine", float(count))

    def _interrupted(self, reason: str) -> None:
        text = f"the event stream was interrupted: {reason}; it is opened again and all containers are read"
        self._publisher.event("container.stream_interrupted", text, about="engine")
