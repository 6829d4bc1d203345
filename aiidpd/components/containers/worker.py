"""Watches a container runtime: its event stream, and a full reconcile every ``reconcile_interval``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from math import inf

import anyio

from aiidpd.components.containers.canary import DEADLINE, Canary
from aiidpd.components.containers.cause import Witnesses
from aiidpd.components.containers.conditions import SILENT, silent
from aiidpd.components.containers.memory import ContainersMemory
from aiidpd.components.containers.model import SAVE_EVERY, ContainersModel
from aiidpd.components.containers.remembered import RememberedContainers
from aiidpd.components.containers.runtime import ContainerRuntime, RuntimeSnapshot
from aiidpd.components.containers.settings import ContainersSettings
from aiidpd.components.containers.state import Inspected, Snapshot
from aiidpd.components.containers.stopped import StoppedContainers
from aiidpd.components.containers.stream import EventQueue
from aiidpd.kernel.backoff import Backoff
from aiidpd.kernel.clock import Clock, wait_for
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.errors import NotInstalled, Unavailable
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.task import Heartbeat
from aiidpd.platform.installed import Installed

# A broken event stream is opened again after so many seconds, doubling up to the cap.
_RECONNECT_INITIAL = 0.2
_RECONNECT_CAP = 15.0
_LONGEST_WAIT = 5.0  # seconds between two beats
_OVERLAP = 1.0  # seconds of events requested again at a seam: the engine may log them out of order
# Seconds that the events of what a reading shows may still be on their way; the later ones where it has news.
_IN_FLIGHT = (0.05, 0.15, 0.5)
_AGAIN = 0.1  # seconds until the engine's memory is read again for events that wait for those before them
_PATIENCE = 10.0  # seconds that its memory may be unreadable until events and readings are used without it
_READS = 8  # containers that are read at once
_NO_LOSS = frozenset({"container.watching", "container.restart_loop_ended"})


class ContainersWorker:
    """A loop whose passes are the readings of all containers; between them it follows events.

    ``memory`` outlives this object; ``latest`` is cleared while the runtime can't be read. ``owned``,
    ``remembered`` and ``failure`` are those of the :class:`ContainersModel`.

    An event is stepped through once the runtime's memory has shown that none from before it is missing; that
    is the one call that holds up events. All containers, and each that an event is about, are read beside
    them. A reading that was requested before an event or another reading of its container was stepped through
    is not used, nor is one whose container has an event waiting: another follows.
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
        remembered: RememberedContainers | None = None,
        witnesses: Witnesses | None = None,
        failure: Callable[[str], str] = lambda _: "",
        reconnect_cap: float = _RECONNECT_CAP,
    ) -> None:
        self._runtime = runtime
        self._settings = settings
        self._latest = latest
        self._publisher = publish.marked(simulated=runtime.simulated)
        self._conditions = conditions
        self._clock = clock
        self._installed = installed
        self._model = ContainersModel(
            memory if memory is not None else ContainersMemory(),
            latest=latest,
            publisher=self._publisher,
            conditions=conditions,
            stopped=stopped,
            clock=clock,
            owned=owned,
            remembered=remembered,
            witnesses=witnesses or Witnesses(),
            failure=failure,
        )
        self._canary = Canary(runtime, clock, self._silence)
        self._silenced: Callable[[], None] = lambda: None
        self._merged = inf  # Unix second up to which the engine's memory was read
        self._whole = -inf  # Unix second up to which no event is missing
        self._forgetful: float | None = None  # monotonic second since which its memory can't be read
        self._sequence = 0  # of what was stepped through
        self._touched: Counter[str] = Counter()  # by id: the number of its last event or reading
        self._reads = anyio.CapacityLimiter(_READS)
        self._reading: set[str] = set()
        self._failed: set[str] = set()
        self._results: list[tuple[int, Inspected]] = []
        self._found = False
        self._broken = False  # a reading of one container failed
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
        self._model.resume()
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._canary.run)
                while True:
                    began = self._clock.monotonic()
                    await self._follow(heartbeat)
                    failures = self._backoff.failures(failures, self._clock.monotonic() - began)
                    await self._rest(self._backoff.delay(failures, 0.5))
        finally:
            self._model.save(now=True)
            with anyio.CancelScope(shield=True):
                await self._runtime.aclose()

    async def _rest(self, seconds: float) -> None:
        """Wait before the next try, until the runtime answers again where it did not."""
        if await wait_for(self._clock, self._canary.answered, seconds):
            self._canary.answered = anyio.Event()

    def _silence(self, fault: Unavailable | None) -> None:
        if fault is None:
            self._conditions.clear(SILENT, "engine")
        else:
            self._conditions.set(silent(fault, simulated=self.simulated))
            self._silenced()

    async def _follow(self, heartbeat: Heartbeat) -> None:
        """Open the event stream and stay on it until it ends or breaks, is silent or loses events."""
        with anyio.CancelScope() as scope:
            self._silenced = scope.cancel
            try:
                await self._open(heartbeat)
            finally:
                self._silenced = lambda: None
                self._canary.detach()
        if scope.cancelled_caught and self._canary.silent is not None:
            self._latest.clear()
            self._interrupted("the runtime does not answer")
            with heartbeat.working():
                raise self._canary.silent

    async def _open(self, heartbeat: Heartbeat) -> None:
        queue = EventQueue()
        now = self._clock.time()
        since = (
            now if self._model.memory.seen is None else min(now, self._model.memory.seen)
        )  # the clock may be set back
        try:
            async with self._runtime.events(since - _OVERLAP) as stream, anyio.create_task_group() as group:
                self._merged = since
                self._canary.attach(queue, since)
                group.start_soon(queue.follow, stream)
                await self._watch(queue, heartbeat, group)
                group.cancel_scope.cancel()
        except Unavailable as error:
            # Without events the list alone may still work: then it is known what is, only later.
            await self._reconcile(queue, heartbeat, fresh=True, also=error)
        finally:
            self._reading.clear()
            self._results.clear()

    async def _watch(self, queue: EventQueue, heartbeat: Heartbeat, group: anyio.abc.TaskGroup) -> None:
        """Absorb events; have all containers read when it is time to, beside that."""
        readings = 0  # of all containers, on this stream
        under_way, whole, failed = False, True, False
        due = self._clock.monotonic()

        async def reconcile(fresh: bool) -> None:
            nonlocal under_way, whole, readings
            whole = await self._reconcile(queue, heartbeat, fresh=fresh)
            readings += 1
            under_way = False
            queue.wake()

        while True:
            merged = await self._merge(queue)
            answered = not merged or self._absorb(queue, group)
            if not whole:
                return
            if queue.ended is not None and not under_way and readings:
                self._interrupted(queue.ended)
                return
            if queue.withheld and not under_way:
                self._interrupted(f"it did not bring {queue.withheld} events that the engine remembers")
                return
            if self._found and readings > 1 and answered:
                self._interrupted("it did not bring what a reading found")
                return
            self._found = False
            failed = failed or not answered
            if not under_way and (failed or queue.lost or self._clock.monotonic() >= due):
                fresh = queue.lost or not readings
                queue.lost, failed, under_way = False, False, True
                due = self._clock.monotonic() + self._settings.reconcile_interval
                group.start_soon(reconcile, fresh)
            self._model.save()
            queue.settle()
            wait = SAVE_EVERY if self._model.changed else _LONGEST_WAIT
            if queue.events and self._model.listed:
                wait = _AGAIN
            if not under_way:
                wait = min(wait, due - self._clock.monotonic())
            await wait_for(self._clock, queue.arrived, max(0.0, wait))
            heartbeat.beat()

    async def _reconcile(
        self, queue: EventQueue, heartbeat: Heartbeat, *, fresh: bool, also: Unavailable | None = None
    ) -> bool:
        """Read all containers, as one pass; return whether the engine answered."""
        answered = False
        with heartbeat.working():
            requested, began, sequence = self._clock.time(), self._clock.monotonic(), self._sequence
            try:
                snapshot = await self._runtime.containers(fresh=fresh)
            except Unavailable as error:
                self._latest.clear()
                if self._installed is None:
                    raise
                if not isinstance(error, NotInstalled):
                    self._installed.confirm()  # whatever is wrong with it, there is a runtime
                raise self._installed.explain(error) from None
            if self._installed is not None and not self.simulated:
                self._installed.confirm()
            self._failed.clear()
            self._model.version, self._model.unreadable = snapshot.version, snapshot.unreadable
            try:
                decided = await self._decide(queue, snapshot, requested, sequence)
            except Unavailable as error:
                raise also or error from None
            answered = True
            self._touch(each.id for each in decided.readings)
            found = self._model.step(decided)
            self._found = any(effect.kind not in _NO_LOSS for effect in found)
            self._model.memory.seen = requested
            self._model.put(listed_at=began)
            self._model.sample(snapshot)
            if also is not None:
                raise also
            if self._model.unreadable:
                names = ", ".join(name for _, name in self._model.unreadable)
                raise Unavailable(
                    "read container",
                    names,
                    reason="the engine answers for the others but not for this",
                    remedy="see `docker inspect` and `journalctl -u docker`; the engine may hold its lock",
                )
        return answered

    async def _decide(
        self, queue: EventQueue, snapshot: RuntimeSnapshot, requested: float, sequence: int
    ) -> Snapshot:
        """Return what ``snapshot`` decides once its events were stepped through: all, if it is the first."""
        if not self._model.listed:
            queue.take(requested)
            return self._undisputed(queue, snapshot, requested, sequence)
        for seconds in _IN_FLIGHT:
            await self._clock.sleep(seconds)
            await self._recall(queue, self._seen())
            self._take(queue)
            decided = self._undisputed(queue, snapshot, requested, sequence)
            if not self._model.surprising(decided):
                break
        return decided

    def _undisputed(
        self, queue: EventQueue, snapshot: RuntimeSnapshot, requested: float, sequence: int
    ) -> Snapshot:
        """Return the part of ``snapshot`` of which nothing came since it was requested."""
        for key in self._touched.keys() - self._model.memory.state.known.keys():
            del self._touched[key]
        touched = {key for key, last in self._touched.items() if last > sequence}
        touched.update(event.id for event in queue.events)
        readings = tuple(each for each in snapshot.containers if each.id not in touched)
        return Snapshot(readings, frozenset(touched.union(key for key, _ in snapshot.unreadable)), requested)

    def _seen(self) -> float:
        return self._merged if self._model.memory.seen is None else self._model.memory.seen

    async def _recall(self, queue: EventQueue, since: float) -> None:
        """Bring the events up to now that were lost, or are still on their way, from the engine's memory.

        Raise Unavailable where it can't be read; once it could not for too long, it is done without.
        """
        until, now = self._clock.time(), self._clock.monotonic()
        # By a clock that was set back, what came may be from after now.
        whole = max((until, *(event.time for event in queue.events)))
        since = min(since, self._merged, until) - _OVERLAP
        try:
            queue.bring(await self._runtime.recall(since, until, within=DEADLINE))
        except Unavailable:
            self._forgetful = now if self._forgetful is None else self._forgetful
            if now - self._forgetful < _PATIENCE:
                raise
            self._whole = inf
        else:
            self._merged, self._whole, self._forgetful = until, whole, None

    async def _merge(self, queue: EventQueue) -> bool:
        """Bring what the engine remembers from between the events that came: a dropped one, in its place.

        Return False where that is not known yet.
        """
        if queue.events and self._model.listed:
            try:
                await self._recall(queue, self._merged)
            except Unavailable:
                return False
        return True

    def _absorb(self, queue: EventQueue, group: anyio.abc.TaskGroup) -> bool:
        """Step through what came; have read what it is about. Return whether every reading was answered."""
        if not self._model.listed:
            return True  # the first reading of all decides
        news = self._take(queue)
        results, self._results = self._results, []
        waiting = {event.id for event in queue.events}
        for sequence, inspected in results:
            if self._touched[inspected.id] <= sequence and inspected.id not in waiting:
                self._touch((inspected.id,))
                self._model.step(inspected)
        stuck = {key for key, _ in self._model.unreadable} | self._failed
        for identity in sorted(self._model.stale - stuck - self._reading):
            self._reading.add(identity)
            group.start_soon(self._inspect, identity, queue)
        if news or results:
            self._model.put()
        broken, self._broken = self._broken, False
        return not broken

    def _take(self, queue: EventQueue) -> bool:
        """Step through the events that came and are whole; return whether there were any."""
        events = queue.take(self._whole)
        for event in events:
            self._touch((event.id,))
            self._model.step(event)
        return bool(events)

    def _touch(self, identities: Iterable[str]) -> None:
        self._sequence += 1
        for identity in identities:
            self._touched[identity] = self._sequence

    async def _inspect(self, identity: str, queue: EventQueue) -> None:
        """Read one container."""
        async with self._reads:
            sequence, requested = self._sequence, self._clock.time()
            try:
                inspected = Inspected(identity, await self._runtime.container(identity), requested)
                if self._model.surprising(inspected):
                    await self._recall(queue, self._seen())  # what it brings is stepped through first
            except Unavailable:
                self._broken = True
                self._failed.add(identity)
            else:
                self._results.append((sequence, inspected))
        self._reading.discard(identity)
        queue.wake()

    def _interrupted(self, reason: str) -> None:
        self._model.memory.interruptions += 1
        text = f"the event stream was interrupted: {reason}; it is opened again and all containers are read"
        self._publisher.event("container.stream_interrupted", text, about="engine")
