from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio

from aiidpd.components.containers.runtime import ContainerReading
from aiidpd.components.containers.stop import EmergencyStopper
from aiidpd.components.containers.stopped import STOPPED
from aiidpd.contracts.messages import EmergencyStop
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.conditions import Condition, Conditions
from aiidpd.kernel.errors import Unavailable
from aiidpd.kernel.events import Event, Severity
from aiidpd.kernel.inbox import Messages
from aiidpd.kernel.publisher import Publisher
from tests.fakes.clock import FakeClock, settle
from tests.fakes.engine import ScriptedEngine
from tests.heartbeat import heartbeat
from tests.unit.components.containers.stopped import register
from tests.waiting import PATIENCE

DOWN = Unavailable("stop", "the engine", reason="nothing listens", remedy="start it")
CAFE = ContainerReading("cafe" + "0" * 60, "vllm", "image", "running")
LLAMA = ContainerReading("b" * 64, "llama", "image", "running")


class House:
    def __init__(self, clock: FakeClock, folder: Path, *readings: ContainerReading) -> None:
        self.clock = clock
        self.folder = folder
        self.engine = ScriptedEngine(*readings)
        self.engine.simulated = False
        self.bus = EventBus()
        self.conditions = Conditions(clock, self.bus)
        self.stopped = register(folder, clock, self.conditions)
        self.events: list[Event] = []
        self.bus.attach(events=self.events.append)
        self.messages = Messages(clock)
        self.orders = self.messages.inbox(EmergencyStop)

    def emergency(self, containers: str) -> None:
        names = tuple(containers.split(","))
        self.messages.send(EmergencyStop(reason="it is hot", gpu="GPU-0", containers=names))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        stopper = EmergencyStopper(
            self.engine,
            self.orders,
            stopped=self.stopped,
            publish=Publisher(self.bus, self.clock, "containers"),
            clock=self.clock,
        )
        async with anyio.create_task_group() as group:
            group.start_soon(stopper.run, heartbeat(self.clock))
            await settle(100)
            yield
            group.cancel_scope.cancel()

    def told(self, kind: str) -> list[Event]:
        return [event for event in self.events if event.kind == f"container.emergency_{kind}"]

    def down(self) -> list[Condition]:
        return [each for each in self.conditions.active() if each.type == STOPPED]

    def read(self) -> None:
        """Show the register all containers, as the watcher does."""
        found = self.engine.shown.values()
        self.stopped.observe(found, simulated=False, listed_at=self.clock.monotonic())

    async def until(self, holds: Callable[[], bool]) -> None:
        with anyio.fail_after(PATIENCE):
            while not holds():
                await self.clock.advance(0.5)


async def test_the_named_containers_are_stopped_and_it_is_told_how_to_start_them(
    clock: FakeClock, tmp_path: Path
) -> None:
    house = House(clock, tmp_path, CAFE, LLAMA, ContainerReading("d" * 64, "bystander", "image", "running"))
    async with house.running():
        house.emergency("vllm,llama")
        await house.until(lambda: len(house.told("stopped")) == 2)
    assert sorted(identity for identity, _ in house.engine.stops) == sorted([CAFE.id, LLAMA.id])
    first = next(event for event in house.told("stopped") if event.subject == "vllm")
    assert first.severity is Severity.ERROR
    assert first.evidence["remedy"] == "docker start vllm"
    assert first.evidence["gpu"] == "GPU-0"
    assert "it is hot" in first.reason
    assert "docker start vllm" in first.reason
    assert house.engine.shown["d" * 64].running
    assert house.orders.first() is None
    assert house.engine.closed == 1


async def test_a_name_that_no_container_has_stops_nothing_even_where_it_is_the_beginning_of_an_id(
    clock: FakeClock, tmp_path: Path
) -> None:
    house = House(clock, tmp_path, CAFE)
    async with house.running():
        house.emergency("cafe")
        await house.until(lambda: bool(house.told("failed")))
    assert house.engine.stops == []
    assert "no container of this name" in house.told("failed")[0].reason


async def test_one_that_does_not_run_is_told_as_such(clock: FakeClock, tmp_path: Path) -> None:
    house = House(clock, tmp_path, ContainerReading("a" * 64, "vllm", "image", "exited", exit_code=0))
    async with house.running():
        house.emergency("vllm")
        await house.until(lambda: bool(house.told("stopped")))
    assert house.told("stopped")[0].evidence["ran"] is False


async def test_an_engine_that_does_not_answer_is_asked_again_until_it_does(
    clock: FakeClock, tmp_path: Path
) -> None:
    house = House(clock, tmp_path, CAFE)
    house.engine.refuses = DOWN
    async with house.running():
        house.emergency("vllm")
        await clock.advance(30.0)
        assert len(house.told("failed")) == 1  # told once
        assert "tried again" in house.told("failed")[0].reason
        house.engine.refuses = None
        await house.until(lambda: bool(house.told("stopped")))


async def test_one_that_never_answers_is_given_up_in_the_end(clock: FakeClock, tmp_path: Path) -> None:
    house = House(clock, tmp_path, CAFE)
    house.engine.refuses = DOWN
    async with house.running():
        house.emergency("vllm")
        await clock.advance(700.0)
        assert [("no longer" in event.reason) for event in house.told("failed")] == [False, True]
        assert house.orders.first() is None


async def test_a_container_whose_details_can_t_be_read_is_stopped_all_the_same(
    clock: FakeClock, tmp_path: Path
) -> None:
    house = House(clock, tmp_path, CAFE)
    house.engine.stuck.add(CAFE.id)
    async with house.running():
        house.emergency("vllm")
        await house.until(lambda: bool(house.told("stopped")))


async def test_the_grace_is_counted_from_the_message_and_no_reading_takes_from_it(
    clock: FakeClock, tmp_path: Path
) -> None:
    house = House(clock, tmp_path, CAFE, LLAMA)
    find = house.engine.find

    async def slow(name: str) -> str | None:
        await clock.sleep(1.5)
        return await find(name)

    house.engine.find = slow  # type: ignore[method-assign]
    async with house.running():
        house.emergency("vllm")
        await house.until(lambda: bool(house.told("stopped")))
    assert house.engine.stops == [(CAFE.id, 0.5)]
    assert house.engine.lists == []


async def test_an_order_outlives_the_worker_that_was_to_carry_it_out(
    clock: FakeClock, tmp_path: Path
) -> None:
    house = House(clock, tmp_path, CAFE)
    house.emergency("vllm")  # nobody is there yet
    house.engine.refuses = DOWN
    async with house.running():
        await clock.advance(5.0)
    house.engine.refuses = None
    async with house.running():
        await house.until(lambda: bool(house.told("stopped")))
    assert len(house.engine.stops) == 1


async def test_what_it_stopped_is_a_condition_until_it_runs_again(clock: FakeClock, tmp_path: Path) -> None:
    house = House(clock, tmp_path, replace(CAFE, started_at=5.0))
    async with house.running():
        house.emergency("vllm")
        await house.until(lambda: bool(house.told("stopped")))
        await house.until(lambda: bool(house.down()))
        await clock.advance(1.0)
        house.read()
        (condition,) = house.down()
        assert (condition.subject, condition.severity, condition.source) == (
            "vllm",
            Severity.ERROR,
            "containers",
        )
        assert condition.reason.startswith("aiidpd stopped it because it is hot")
        assert "docker start vllm" in condition.remedy
        house.engine.shown[CAFE.id] = replace(CAFE, started_at=clock.time())
        house.read()
        assert house.down() == []


async def test_one_that_did_not_run_is_not_down_because_of_us(clock: FakeClock, tmp_path: Path) -> None:
    house = House(clock, tmp_path, ContainerReading("a" * 64, "vllm", "image", "exited", exit_code=0))
    async with house.running():
        house.emergency("vllm")
        await house.until(lambda: bool(house.told("stopped")))
    assert house.down() == []


async def test_a_stop_whose_answer_is_lost_is_one_all_the_same(clock: FakeClock, tmp_path: Path) -> None:
    house = House(clock, tmp_path, replace(CAFE, started_at=5.0))
    stop = house.engine.stop

    async def carried_out_without_an_answer(identity: str, grace: float) -> bool:
        await stop(identity, grace)
        raise DOWN

    house.engine.stop = carried_out_without_an_answer  # type: ignore[method-assign]
    async with house.running():
        house.emergency("vllm")
        await house.until(lambda: bool(house.told("failed")))
        house.read()  # while it is tried again
        house.engine.stop = stop  # type: ignore[method-assign]
        await house.until(lambda: bool(house.told("stopped")))
        await house.until(lambda: bool(house.down()))
        assert house.told("stopped")[0].evidence["ran"] is False


async def test_a_stop_that_fails_leaves_no_condition(clock: FakeClock, tmp_path: Path) -> None:
    house = House(clock, tmp_path, replace(CAFE, started_at=5.0))

    async def refused(*_: object) -> bool:
        raise DOWN

    house.engine.stop = refused  # type: ignore[method-assign]
    async with house.running():
        house.emergency("vllm")
        await clock.advance(700.0)
        assert len(house.told("failed")) == 2
    await clock.advance(1.0)
    house.read()
    assert house.down() == []
