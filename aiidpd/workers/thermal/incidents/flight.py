"""The flight recorder: follows each GPU, and keeps what was around every incident."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import anyio
import anyio.to_thread

from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock import Clock, wait_for
from aiidpd.kernel.errors import describe
from aiidpd.kernel.events import Event, Severity
from aiidpd.workers.thermal.gpu import GpuReading, GpuSnapshot
from aiidpd.workers.thermal.incidents.incident import (
    FORMAT,
    IncidentPolicy,
    identity_of,
    name_of,
    told,
    until,
)
from aiidpd.workers.thermal.incidents.recorder import Recorder, Ring
from aiidpd.workers.thermal.incidents.store import IncidentStore, Table

SOURCE: Final = "thermal"
_CROWD = frozenset({"gpu.minute", "incident.recording", "incident.recorded", "incident.failed"})
_LIMITS = (
    "gpu_max_celsius",
    "slowdown_celsius",
    "shutdown_celsius",
    "memory_max_celsius",
    "power_limit_default_watts",
    "power_limit_max_watts",
)
_MOST_WAITING = 4

Look: TypeAlias = Callable[[], Mapping[str, Any]]
"""Returns what is so now, as JSON can hold it; what is not known says so in a ``reason``."""


@dataclass(slots=True)
class _Recording:
    """An incident that goes on, or waits to be written. Times are monotonic seconds, ``offset`` to Unix."""

    event: Event
    first: float
    last: float
    offset: float
    rings: dict[str, Ring]
    before: list[dict[str, Any]]
    containers: Mapping[str, Any]
    requests: Mapping[str, Any]
    triggers: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    not_told: int = 0
    identity: str = ""


class FlightRecorder:
    """Sees every snapshot and every event; outlives the worker. :meth:`run` writes, and may be run anew.

    ``observe`` and ``heard`` never block and touch no disk. ``containers`` and ``requests`` are asked once,
    when an incident begins. What an incident tells is on disk within moments of its beginning, and again,
    whole, when it ends: a daemon that is killed in between leaves the ten minutes before.
    """

    def __init__(
        self,
        store: IncidentStore,
        bus: EventBus,
        clock: Clock,
        *,
        containers: Look,
        requests: Look,
        policy: IncidentPolicy | None = None,
    ) -> None:
        self.store = store
        self.policy = policy or IncidentPolicy()
        self._bus = bus
        self._clock = clock
        self._containers = containers
        self._requests = requests
        self._recorder = Recorder(keep=self.policy.before, fastest=self.policy.fastest)
        self._seen: dict[str, GpuReading] = {}
        self._driver = ""
        self._events: deque[tuple[float, Event]] = deque(maxlen=self.policy.most_events)
        self._open: _Recording | None = None
        self._ended: deque[_Recording] = deque(maxlen=_MOST_WAITING)
        self._changed = anyio.Event()
        self._recovered = False
        bus.attach(events=self.heard)

    @property
    def nbytes(self) -> int:
        """How many bytes the rings take, those of an incident that goes on included."""
        frozen = self._open.rings.values() if self._open else ()
        return self._recorder.nbytes + sum(ring.nbytes for ring in frozen)

    def observe(self, snapshot: GpuSnapshot, at: float, now: float) -> None:
        """Record ``snapshot``; see :class:`~aiidpd.workers.thermal.observer.Observer`."""
        del at  # the time of a row is monotonic: a clock that is set leaves no fold in the curve
        self._recorder.add(now, snapshot.gpus)
        self._driver = snapshot.driver_version
        held = set(self._recorder.uuids)
        self._seen = {uuid: seen for uuid, seen in self._seen.items() if uuid in held} | {
            gpu.uuid: gpu for gpu in snapshot.gpus
        }
        recording = self._open
        if recording is not None and now <= until(recording.first, recording.last, self.policy):
            for gpu in snapshot.gpus:
                ring = recording.rings.get(gpu.uuid)
                if ring is None:
                    if len(recording.rings) >= len(held):
                        continue
                    ring = recording.rings[gpu.uuid] = Ring(self.policy.room)
                ring.add(now, gpu)

    def heard(self, event: Event) -> None:
        """Take an event of the bus; one of the policy's triggers begins an incident."""
        if event.kind in _CROWD:
            return
        now = self._clock.monotonic()
        recording = self._open
        if recording is not None and now > until(recording.first, recording.last, self.policy):
            self._end(recording)
            recording = None
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

    async def run(self) -> None:
        """Write what is to be written, until cancelled."""
        if not self._recovered:
            await self._in_thread(self.store.recover, "clear up")
            self._recovered = True
        while True:
            self._changed = anyio.Event()
            while self._ended:
                await self._finish(self._ended[0])
                self._ended.popleft()
            recording = self._open
            if recording is None:
                await self._changed.wait()
                continue
            if not recording.identity:
                await self._announce(recording)
                continue
            left = until(recording.first, recording.last, self.policy) - self._clock.monotonic()
            if left < 0:
                self._end(recording)
            else:
                # A millisecond more: at the very end a reading still belongs to it.
                await wait_for(self._clock, self._changed, left + 0.001)

    def _begin(self, event: Event, now: float) -> _Recording:
        self._open = _Recording(
            event=event,
            first=now,
            last=now,
            offset=self._clock.time() - now,
            rings=self._recorder.freeze(now, self.policy.room),
            before=[told(past) for at, past in self._events if at >= now - self.policy.before],
            containers=self._containers(),
            requests=self._requests(),
        )
        self._changed.set()
        return self._open

    def _end(self, recording: _Recording) -> None:
        self._ended.append(recording)
        if self._open is recording:
            self._open = None
        self._changed.set()

    async def _announce(self, recording: _Recording) -> None:
        recording.identity = identity_of(
            recording.event
        )  # were writing to fail, it is not tried at once again
        free = await self._in_thread(lambda: self.store.free(recording.identity), "name")
        recording.identity = free or recording.identity
        if await self._write(recording, "recording"):
            what = f"the last {self.policy.before / 60:g} minutes and what follows are kept"
            reason = f"{what}: {recording.event.reason}"
            self._publish("incident.recording", recording, reason)

    async def _finish(self, recording: _Recording) -> None:
        if not recording.identity:
            await self._announce(recording)
        if await self._write(recording, "complete"):
            show = f"aiidpctl incidents show {recording.identity}"
            self._publish("incident.recorded", recording, f"recorded; to see it: {show}")

    async def _write(self, recording: _Recording, state: str) -> bool:
        document, tables = self._told(recording, state)
        identity = recording.identity

        def write() -> bool:
            self.store.write(identity, document, tables)
            return True

        return bool(await self._in_thread(write, f"write incident {identity}"))

    async def _in_thread(self, work: Callable[[], Any], what: str) -> Any:
        """Return what ``work`` returns, None where the disk refused."""
        try:
            return await anyio.to_thread.run_sync(work, abandon_on_cancel=True)
        except OSError as error:
            reason = f"cannot {what} in {self.store.folder}: {describe(error)}; free space or repair the disk"
            self._bus.publish(
                Event(self._clock.time(), SOURCE, "incident.failed", reason, severity=Severity.ERROR)
            )
            return None

    def _publish(self, kind: str, recording: _Recording, reason: str) -> None:
        self._bus.publish(
            Event(
                time=self._clock.time(),
                source=SOURCE,
                kind=kind,
                reason=reason,
                subject=recording.identity,
                evidence={
                    "trigger": name_of(recording.event),
                    "about": recording.event.subject,
                    "triggers": len(recording.triggers),
                    "seconds": round(recording.last - recording.first, 3),
                    "gpus": len(recording.rings),
                },
                simulated=recording.event.simulated,
            )
        )

    def _told(self, recording: _Recording, state: str) -> tuple[dict[str, Any], list[Table]]:
        order = sorted(recording.rings, key=lambda uuid: (self._index(uuid), uuid))
        tables = [
            Table(f"gpu-{place}.csv", recording.rings[uuid].rows(), recording.offset)
            for place, uuid in enumerate(order)
        ]
        event = recording.event
        document = {
            "format": FORMAT,
            "id": recording.identity,
            "kind": name_of(event),
            "state": state,
            "subject": event.subject,
            "severity": event.severity.name.lower(),
            "reason": event.reason,
            "simulated": event.simulated,
            "started_at": recording.offset + recording.first,
            "last_trigger_at": recording.offset + recording.last,
            "triggers": list(recording.triggers),
            "events": [*recording.before, *recording.events],
            "events_not_told": recording.not_told,
            "containers": dict(recording.containers),
            "requests": dict(recording.requests),
            "driver_version": self._driver,
            "gpus": [
                self._gpu(uuid, table.file, recording) for uuid, table in zip(order, tables, strict=True)
            ],
        }
        return document, tables

    def _index(self, uuid: str) -> int:
        seen = self._seen.get(uuid)
        return 1 << 16 if seen is None else seen.index

    def _gpu(self, uuid: str, file: str, recording: _Recording) -> dict[str, Any]:
        seen, ring = self._seen.get(uuid), recording.rings[uuid]
        about: dict[str, Any] = {"uuid": uuid, "file": file, "rows": len(ring)}
        newest = ring.newest
        about["last_read_at"] = recording.offset + newest if math.isfinite(newest) else None
        about["index"] = seen.index if seen else None
        about["name"] = seen.name if seen else ""
        about["limits"] = {limit: getattr(seen, limit) if seen else None for limit in _LIMITS}
        processes = seen.processes if seen else None
        about["processes"] = processes and [
            {
                "pid": each.pid,
                "name": each.name,
                "used_memory_bytes": each.used_memory_bytes,
                "container_id": each.container_id,
            }
            for each in processes
        ]
        return about
