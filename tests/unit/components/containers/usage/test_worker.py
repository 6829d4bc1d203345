"""The task that reads use: what it shows, what it warns of, and that nothing is left of what is gone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import anyio
import pytest

from aiidpd.components.containers.runtime import ContainerReading, RuntimeSnapshot
from aiidpd.components.containers.settings import UsageSettings
from aiidpd.components.containers.usage.growth import Trend
from aiidpd.components.containers.usage.memory import UseMemory
from aiidpd.components.containers.usage.reader import UseReading
from aiidpd.components.containers.usage.unkillable import PendingKill
from aiidpd.components.containers.usage.worker import UseWorker
from aiidpd.contracts.containers import ContainerUse
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.conditions import Condition, Conditions
from aiidpd.kernel.latest import Latest
from tests.fakes.clock import FakeClock
from tests.heartbeat import heartbeat
from tests.unit.components.containers.usage.scripted import ScriptedReader
from tests.waiting import PATIENCE

GIB = 1 << 30
STUCK = PendingKill(7, 100, "D", "uvm_spin_loop")


@dataclass
class Room:
    """A worker with everything around it."""

    clock: FakeClock
    settings: UsageSettings = field(default_factory=UsageSettings)
    reader: ScriptedReader = field(default_factory=ScriptedReader)
    engines: set[str] = field(default_factory=set)
    ending: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.memory = UseMemory(self.clock)
        self.latest: Latest[RuntimeSnapshot] = Latest(self.clock, 1e9)
        self.conditions = Conditions(self.clock, EventBus())

    def runs(self, *containers: ContainerReading, simulated: bool = False) -> None:
        self.latest.put(RuntimeSnapshot(containers, "1", simulated))

    async def passes(self, seconds: float) -> None:
        """Let the worker work for ``seconds``; its readings come from real threads."""
        end = self.clock.monotonic() + seconds
        with anyio.fail_after(PATIENCE):
            while self.clock.monotonic() < end:
                await self.clock.advance(2.0)
                await anyio.sleep(0.002)

    def active(self) -> list[Condition]:
        return list(self.conditions.active())


@asynccontextmanager
async def working(room: Room) -> AsyncIterator[Room]:
    worker = UseWorker(
        room.memory,
        room.latest,
        room.settings,
        conditions=room.conditions,
        clock=room.clock,
        engines=lambda: room.engines,
        ending=lambda: room.ending,
        reader=room.reader,
    )
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run, heartbeat(room.clock))
        await anyio.sleep(0.01)
        yield room
        group.cancel_scope.cancel()


@pytest.fixture
def room(clock: FakeClock) -> Room:
    return Room(clock)


def container(identity: str = "c1", state: str = "running", **more: object) -> ContainerReading:
    reading = ContainerReading(identity, f"name-{identity}", "image", state, started_at=1.0, pid=10)
    return replace(reading, **more)  # type: ignore[arg-type]


def used(memory: int = GIB, *, kills: int = 0, pending: tuple[PendingKill, ...] = ()) -> UseReading:
    return UseReading(ContainerUse("c1", 0.0, memory_bytes=memory, oom_kills=kills), pending)


async def test_what_is_read_is_shown_and_forgotten_with_its_container(room: Room) -> None:
    room.runs(container())
    room.reader.shown["c1"] = used(kills=2)
    async with working(room):
        await room.passes(4)
        reading = room.memory.latest.get()
        assert reading is not None
        assert reading.value.by_id["c1"].memory_bytes == GIB
        read = room.clock.time() - room.clock.monotonic() + reading.value.by_id["c1"].read
        assert room.memory.oom_kills("c1", read) == 2
        assert room.memory.oom_kills("c1", read + 0.5) is None, "it was read before this run"
        assert room.memory.oom_kills("another", 0.0) is None
        room.runs(container(state="exited", pid=None))
        await room.passes(4)
        reading = room.memory.latest.get()
        assert reading is not None
        assert reading.value.by_id == {}
        assert room.memory.oom_kills("c1", 0.0) is None
    assert room.memory.latest.get() is None


async def test_engines_and_gpus_are_read_often(room: Room) -> None:
    room.engines.add("engine")
    others = [container(f"c{number}") for number in range(30)]
    room.runs(*others, container("engine"), container("gpu", gpu=True))
    room.reader.shown = {each: used() for each in ("engine", "gpu", *(one.id for one in others))}
    async with working(room):
        await room.passes(2)
        for _ in range(5):
            await room.passes(2)
            read = {each.id for each in room.reader.targets}
            assert {"engine", "gpu"} <= read
            assert len(read) <= 2 + 3


async def test_a_process_that_does_not_die_is_a_condition_until_it_does(room: Room) -> None:
    room.runs(container())
    room.ending.add("c1")
    room.reader.shown["c1"] = used(pending=(STUCK,))
    async with working(room):
        await room.passes(50)
        assert room.active() == []
        await room.passes(20)
        (condition,) = room.active()
        assert (condition.type, condition.subject) == ("container_unkillable", "name-c1")
        assert "uvm_spin_loop" in condition.reason
        assert "reboot" in condition.remedy
        assert room.memory.cannot_be_killed("c1") is not None
        room.runs(container(state="dead", pid=None))  # Docker gave up; the process is there
        room.reader.lingering = ("c1",)
        await room.passes(10)
        assert len(room.active()) == 1
        assert all(each.ending for each in room.reader.targets)
        room.runs()
        await room.passes(10)
        assert room.active()[0].subject == "c1"  # nobody knows its name any more
        room.reader.lingering = ()
        room.reader.shown.clear()
        await room.passes(4)
        assert room.active() == []


async def test_memory_that_only_grows_is_a_condition_with_a_date_and_a_new_run_ends_it(room: Room) -> None:
    room.runs(container())
    room.reader.shown["c1"] = used(GIB)
    floors = tuple((900.0 * quarter, quarter * (GIB // 2)) for quarter in range(24))
    async with working(room):
        room.reader.available = 10 * GIB
        await room.passes(2)
        began = room.clock.monotonic()
        room.memory.trends["c1"] = Trend(1.0, began - 24 * 900.0, floors, (began - 901.0, 12 * GIB))
        await room.passes(30)
        (condition,) = room.active()
        assert condition.type == "container_memory_growth"
        assert "by 2048 MiB an hour" in condition.reason
        assert "UTC" in condition.reason
        room.runs(container(started_at=room.clock.time()))
        room.reader.shown["c1"] = used(GIB)
        await room.passes(30)
        assert room.active() == []


async def test_made_up_containers_are_not_read(room: Room) -> None:
    room.runs(container(), simulated=True)
    room.reader.shown["c1"] = used()
    async with working(room):
        await room.passes(4)
        assert room.reader.targets == []
        assert room.memory.latest.get() is None
