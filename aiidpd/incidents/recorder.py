"""The flight recorder: follows each GPU, and keeps what was around every incident."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import anyio

from aiidpd.components.thermal.gpu import GpuReading, GpuSnapshot
from aiidpd.incidents.incident import IncidentPolicy, told, until
from aiidpd.incidents.recording import Recording
from aiidpd.incidents.requests import RequestCount, RequestTrack
from aiidpd.incidents.ring_buffer import RingBuffer, RingBuffers
from aiidpd.incidents.store import IncidentStore, Series
from aiidpd.incidents.writing import IncidentWriter
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.events import Event
from aiidpd.kernel.task import Heartbeat

_CROWD = frozenset({"gpu.minute", "incident.recording", "incident.recorded", "incident.failed"})
_MOST_WAITING = 4
_LOOK_EVERY = 5.0  # seconds: engines are looked at no more often, and a GPU may not be read at all

Look: TypeAlias = Callable[[], Mapping[str, Any]]
"""Returns what is so now, as JSON can hold it; what is not known says so in a ``reason``."""


class IncidentRecorder:
    """Sees every snapshot and every event; outlives the worker. :meth:`run` writes, and may be run anew.

    ``observe`` and ``heard`` never block and touch no disk. ``containers`` is asked once, when an incident
    begins, ``requests`` then and when it ends; ``counts`` gives the last look at each engine, and is asked
    all the time. What an incident tells is on disk within moments of its beginning, and again, whole, when it
    ends: a daemon that is killed in between leaves the ten minutes before.
    """

    def __init__(
        self,
        store: IncidentStore,
        bus: EventBus,
        clock: Clock,
        *,
        containers: Look,
        requests: Look,
        counts: Callable[[], Iterable[RequestCount]] = tuple,
        policy: IncidentPolicy | None = None,
    ) -> None:
        self.policy = policy or IncidentPolicy()
        self._clock = clock
        self._containers = containers
        self._requests = requests
        self._counts = counts
        self._writer = IncidentWriter(store, bus, clock, self._told)
        self._recorder = RingBuffers(keep=self.policy.before, fastest=self.policy.fastest)
        self._track = RequestTrack(self.policy.before)
        self._seen: dict[str, GpuReading] = {}
        self._driver = ""
        self._events: deque[tuple[float, Event]] = deque(maxlen=self.policy.most_events)
        self._open: Recording | None = None
        self._ended: deque[Recording] = deque(maxlen=_MOST_WAITING)
        self._changed = anyio.Event()
        bus.attach(events=self.heard)

    @property
    def nbytes(self) -> int:
        """How many bytes the rings take, those of an incident that goes on included."""
        frozen = self._open.rings.values() if self._open else ()
        return self._recorder.nbytes + sum(ring.nbytes for ring in frozen)

    def observe(self, snapshot: GpuSnapshot, at: float, now: float) -> None:
        """Record ``snapshot``; see :class:`~aiidpd.components.thermal.observer.SnapshotListener`."""
        del at  # the time of a row is monotonic: a clock that is set leaves no fold in the curve
        self._recorder.add(now, snapshot.gpus)
        self._look(now)
        self._driver = snapshot.driver_version
        held = set(self._recorder.uuids)
        self._seen = {uuid: seen for uuid, seen in self._seen.items() if uuid in held} | {
            gpu.uuid: gpu for gpu in snapshot.gpus
        }
        recording = self._going_on(now)
        if recording is not None:
            for gpu in snapshot.gpus:
                ring = recording.rings.get(gpu.uuid)
                if ring is None:
                    if len(recording.rings) >= len(held):
                        continue
                    ring = recording.rings[gpu.uuid] = RingBuffer(self.policy.room)
                ring.add(now, gpu)

    def heard(self, event: Event) -> None:
        """Take an event of the bus; one of the policy's triggers begins an incident."""
        if event.kind in _CROWD:
            return
        now = self._clock.monotonic()
        recording = self._going_on(now)
        if recording is None and self._open is not None:
            self._end(self._open)
        begins = self.policy.begins(event)
        if recording is None and begins:
            recording = self._begin(event, now)
        self._events.append((now, event))
        if recording is None:
            return
        if begins:
            recording.last = max(recording.last, now)
            if len(recording.triggers) < self.policy.most_triggers:
                recording.triggers.append(told(event))
            self._changed.set()
        if len(recording.events) < self.policy.most_events:
            recording.events.append(told(event))
        else:
            recording.not_told += 1

    @property
    def simulated(self) -> bool:
        """Never: real files are written, whatever the readings are."""
        return False

    async def run(self, heartbeat: Heartbeat) -> None:
        """Write what is to be written, until cancelled."""
        with heartbeat.working():
            await self._writer.recover()
        while True:
            self._changed = anyio.Event()
            while self._ended:
                ended = self._ended[0]
                if not ended.identity:
                    await self._writer.announce(ended, self.policy.before)
                await self._writer.finish(ended)
                self._ended.popleft()
            recording = self._open
            if recording is None:
                await heartbeat.idle(self._changed)
                continue
            if not recording.identity:
                await self._writer.announce(recording, self.policy.before)
                continue
            now = self._clock.monotonic()
            left = until(recording.first, recording.last, self.policy) - now
            if left < 0:
                self._end(recording)
            else:
                self._look(now)
                # A millisecond more: at the very end a reading still belongs to it.
                await heartbeat.idle(self._changed, min(left + 0.001, _LOOK_EVERY))

    def _going_on(self, now: float) -> Recording | None:
        """Return the incident that ``now`` belongs to, None where there is none."""
        recording = self._open
        if recording is None or now > until(recording.first, recording.last, self.policy):
            return None
        return recording

    def _look(self, now: float) -> None:
        fresh = self._track.add(self._counts())
        recording = self._going_on(now)
        if recording is not None:
            recording.look(fresh)

    def _begin(self, event: Event, now: float) -> Recording:
        self._look(now)
        self._open = Recording(
            event=event,
            first=now,
            last=now,
            offset=self._clock.time() - now,
            rings=self._recorder.freeze(now, self.policy.room),
            before=[told(past) for at, past in self._events if at >= now - self.policy.before],
            containers=self._containers(),
            requests=self._requests(),
            looks=self._track.since(now - self.policy.before),
        )
        self._changed.set()
        return self._open

    def _end(self, recording: Recording) -> None:
        recording.requests_at_end = self._requests()
        self._ended.append(recording)
        if self._open is recording:
            self._open = None
        self._changed.set()

    def _told(self, recording: Recording, state: str) -> tuple[dict[str, Any], Sequence[Series]]:
        return recording.told(state, self._seen, self._driver)
