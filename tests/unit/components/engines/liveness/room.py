"""The task that forms verdicts, with everything around it, and one engine whose figures a test sets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import anyio

from aiidpd.components.engines.liveness.history import EngineHistories
from aiidpd.components.engines.liveness.memory import NAME, LivenessMemory
from aiidpd.components.engines.liveness.verdicts import Verdicts
from aiidpd.components.engines.liveness.worker import LivenessWorker, Sources
from aiidpd.components.engines.settings import LivenessSettings
from aiidpd.contracts.containers import (
    CONTAINER_USE,
    CONTAINERS,
    ContainerSummary,
    ContainersView,
    ContainerUse,
    ContainerUses,
)
from aiidpd.contracts.engines import EngineState, EnginesView, Residency, Verdict
from aiidpd.contracts.gpus import GPUS, GpuMemoryUse, GpusView, GpuUse
from aiidpd.contracts.messages import BackOffMessage, HealRequested
from aiidpd.contracts.probes import PROBES, ProbesView
from aiidpd.engines.target import Chunk, ProbeRequest, Timeline
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.errors import Unavailable
from aiidpd.kernel.events import Event
from aiidpd.kernel.inbox import Messages
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.reading import Reading
from aiidpd.kernel.views import Views
from aiidpd.platform.statefile import StateFile
from tests.fakes.clock import FakeClock, settle
from tests.heartbeat import heartbeat

ID = "c" * 64


@dataclass
class ScriptedTarget:
    """Answers a completion after ``takes`` seconds, or fails at once."""

    clock: FakeClock
    takes: float = 0.1
    fails: bool = False
    requests: list[ProbeRequest] = field(default_factory=list)
    closed: int = 0
    name = model = "llama"
    url = "http://127.0.0.1:1"
    simulated = False

    async def probe(self, request: ProbeRequest) -> Timeline:
        self.requests.append(request)
        if self.fails:
            raise Unavailable("measure", "llama", reason="it answers 500")
        await self.clock.sleep(min(self.takes, request.timeout))
        if self.takes > request.timeout:
            raise Unavailable("measure", "llama", reason="no token")
        return Timeline(0.0, self.takes, (Chunk(self.takes, 1),))

    async def aclose(self) -> None:
        self.closed += 1


@dataclass
class Room:
    """A worker with everything around it, and one engine whose figures a test sets."""

    clock: FakeClock
    folder: Path
    settings: LivenessSettings = field(default_factory=LivenessSettings)
    engine: dict[str, Any] = field(default_factory=dict)
    container: dict[str, Any] = field(default_factory=dict)
    cores: float = 0.0
    rate: int = 0
    probes: ProbesView = field(default_factory=ProbesView)
    engines: bool = True
    gpu: float | None = None
    bus: EventBus = field(default_factory=EventBus)
    conditions: Conditions | None = None

    def __post_init__(self) -> None:
        self.target = ScriptedTarget(self.clock)
        self.said: list[Event] = []
        self.bus.attach(events=self.said.append)
        self.listed = self.conditions or Conditions(self.clock, self.bus)
        self.messages = Messages(self.clock)
        self.heals = self.messages.inbox(HealRequested)
        self.back_offs = self.messages.inbox(BackOffMessage)
        self.verdicts = Verdicts()
        self.file = StateFile(self.folder / NAME, EngineHistories)
        self.memory = LivenessMemory(self.file)
        self.views = Views()
        self.views.offer(CONTAINERS, lambda: self._reading(self._containers()))
        self.views.offer(CONTAINER_USE, lambda: self._reading(self._uses()))
        self.views.offer(PROBES, lambda: self._reading(self.probes))
        self.views.offer(GPUS, lambda: None if self.gpu is None else self._reading(self._gpus(self.gpu)))
        self.steps, self.before = 0.0, 0.0
        self.cpu = 0.0

    def _reading(self, value: Any) -> Reading[Any]:
        return Reading(value, self.clock.time(), self.clock.monotonic())

    def _containers(self) -> ContainersView:
        given = {
            "state": "running",
            "running": True,
            "started_at": 1_799_000_000.0,
            "gpu": False,
            **self.container,
        }
        return ContainersView((ContainerSummary(ID, "llm", "image", health=None, **given),))

    def _uses(self) -> ContainerUses:
        now = self.clock.monotonic()
        use = ContainerUse(ID, now, frozenset({10}), cpu_seconds=self.cpu, read_bytes=0, written_bytes=0)
        return ContainerUses(MappingProxyType({ID: use}))

    def _gpus(self, level: float) -> GpusView:
        return GpusView((GpuUse(0, "GPU-0", "card", level, processes=(GpuMemoryUse(10, ID, 1e9),)),))

    def view(self) -> EnginesView | None:
        if not self.engines:
            return None
        now = self.clock.monotonic()
        elapsed, self.before = now - self.before, now
        self.steps += self.rate * elapsed
        self.cpu += self.cores * elapsed
        given = {
            "container": ID,
            "residency": Residency.LOADED,
            "requests_running": 0,
            "requests_waiting": 0,
            "steps": int(self.steps),
            "read": now,
            "read_at": self.clock.time(),
            **self.engine,
        }
        return EnginesView((EngineState("llama", "tiny", simulated=False, **given),))

    def worker(self) -> LivenessWorker:
        return LivenessWorker(
            Sources(self.view, self.views),
            self.settings,
            memory=self.memory,
            verdicts=self.verdicts,
            target=lambda _: self.target,
            publish=Publisher(self.bus, self.clock, "engines"),
            conditions=self.listed,
            messages=self.messages,
            clock=self.clock,
            back_offs=self.back_offs,
        )

    def verdict(self) -> Verdict:
        found = self.verdicts.get("llama")
        assert found is not None
        return found.verdict

    def kinds(self) -> list[str]:
        return [event.kind for event in self.said]

    def active(self) -> set[str]:
        return {condition.type for condition in self.listed.active()}

    def works(self) -> None:
        self.engine |= {"requests_running": 1}
        self.cores, self.rate = 1.0, 10

    def hangs(self) -> None:
        self.cores, self.rate = 0.0, 0


@asynccontextmanager
async def working(room: Room) -> AsyncIterator[Room]:
    async with anyio.create_task_group() as group:
        group.start_soon(room.worker().run, heartbeat(room.clock))
        await settle()
        yield room
        group.cancel_scope.cancel()
