"""The watcher of containers at work on a real engine, and what comes out of it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from aiidpd.components.containers.cause import Witnesses
from aiidpd.components.containers.docker.client import DockerRuntime
from aiidpd.components.containers.runtime import RuntimeSnapshot
from aiidpd.components.containers.settings import ContainersSettings
from aiidpd.components.containers.usage.oom import MachineOomKills
from aiidpd.components.containers.worker import ContainersWorker
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock import SystemClock
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.events import Event
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.task import Heartbeat, WorkerStatus
from tests.tables import made
from tests.unit.components.containers.stopped import register
from tests.waiting import PATIENCE


@dataclass
class Watched:
    """A worker at work on the engine."""

    status: WorkerStatus
    latest: Latest[RuntimeSnapshot]
    conditions: Conditions
    said: list[tuple[float, Event]] = field(default_factory=list)

    def of(self, name: str) -> list[str]:
        return [event.kind.removeprefix("container.") for _, event in self.said if event.subject == name]

    async def until(self, name: str, *kinds: str, within: float = PATIENCE) -> Event:
        """Wait until exactly ``kinds`` were said of ``name``; return the last."""
        await self.wait(lambda: len(self.of(name)) >= len(kinds), within)
        assert self.of(name) == list(kinds)
        return next(event for _, event in reversed(self.said) if event.subject == name)

    async def wait(self, holds: Callable[[], bool], within: float = PATIENCE) -> None:
        with anyio.move_on_after(within):
            while not holds():  # noqa: ASYNC110 -- polled, so that one wait serves every condition
                await anyio.sleep(0.01)

    def counts(self, name: str) -> Counter[str]:
        """Return how often each kind was published of ``name``."""
        return Counter(self.of(name))

    def lag(self, event: Event) -> float:
        """Return the seconds from the engine's time of an event until it was published."""
        return next(at for at, one in self.said if one is event) - event.time

    def wrong(self, name: str) -> list[str]:
        """Return the types of the conditions about ``name``."""
        return [each.type for each in self.conditions.active() if each.subject == name]

    def state(self, name: str) -> str | None:
        reading = self.latest.get()
        found = () if reading is None else reading.value.containers
        return next((one.state for one in found if one.name == name), None)


@asynccontextmanager
async def watching(
    socket: Path, *, interval: float = 600.0, call_timeout: float = 30.0
) -> AsyncIterator[Watched]:
    clock, bus = SystemClock(), EventBus()
    watched = Watched(WorkerStatus("containers"), Latest(clock, 3600.0), Conditions(clock, bus))
    bus.attach(events=lambda event: watched.said.append((time.time(), event)))
    kills = MachineOomKills()
    worker = ContainersWorker(
        DockerRuntime(socket, call_timeout=call_timeout),
        made(ContainersSettings, reconcile_interval=interval),
        reconnect_cap=0.5,
        latest=watched.latest,
        publish=Publisher(bus, clock, "containers"),
        conditions=watched.conditions,
        stopped=register(socket.parent, clock, watched.conditions),
        clock=clock,
        witnesses=Witnesses(machine_oom_kills=lambda at: kills.around(at, clock.time())),
    )
    kills.read(clock.time())
    first_pass = anyio.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run, Heartbeat(clock, watched.status, first_pass))
        with anyio.fail_after(PATIENCE):
            await first_pass.wait()
        yield watched
        group.cancel_scope.cancel()
