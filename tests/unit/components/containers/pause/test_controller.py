"""The hands that pause: nothing is paused that is not written down, and everything goes on at the end."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from aiidpd.components.containers.pause.controller import PauseController, Pauses
from aiidpd.components.containers.pause.events import PausePublisher
from aiidpd.components.containers.pause.journal import NAME, EngineAddress, PauseJournal
from aiidpd.components.containers.pause.metrics import PausesCollector
from aiidpd.components.containers.pause.restore import unpause_all
from aiidpd.components.containers.pause.state import Pause
from aiidpd.components.containers.runtime import ContainerReading, RuntimeSnapshot
from aiidpd.components.containers.settings import ContainersSettings, PauseSettings
from aiidpd.components.containers.simulated import SimulatedRuntime
from aiidpd.components.containers.worker import ContainersWorker
from aiidpd.contracts.messages import BackOffEnded, BackOffMessage, BackOffRequested
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.conditions import Condition, Conditions
from aiidpd.kernel.errors import Unavailable
from aiidpd.kernel.events import Event, Severity
from aiidpd.kernel.inbox import Messages
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.task import Heartbeat, WorkerStatus
from aiidpd.platform.statefile import StateUnreadable
from tests.fakes.clock import FakeClock, settle
from tests.fakes.engine import ScriptedEngine
from tests.heartbeat import heartbeat
from tests.tables import made
from tests.unit.components.containers.stopped import register
from tests.waiting import PATIENCE

DOWN = Unavailable("pause a container of", "the engine", reason="nothing listens", remedy="start it")
VLLM = ContainerReading("a" * 64, "vllm", "image", "running", started_at=5.0)
LLAMA = ContainerReading("b" * 64, "llama", "image", "running", started_at=6.0)
HOT = BackOffRequested(
    reason="it is hot", gpu="GPU-a", label="GPU 0", hold_seconds=60.0, containers=("vllm", "llama")
)
SETTINGS = made(PauseSettings, longest=20.0, rest=10.0)
LEFT = Pause(VLLM.id, "vllm", 5.0, "GPU 0", "it is hot")


class House:
    """A pauser at work on a scripted engine, and everything that leaves it."""

    def __init__(self, clock: FakeClock, folder: Path, *readings: ContainerReading) -> None:
        self.clock = clock
        self.engine = ScriptedEngine(*readings)
        self.engine.simulated = False
        self.path = folder / NAME
        self.bus = EventBus()
        self.events: list[Event] = []
        self.bus.attach(events=self.events.append)
        self.conditions = Conditions(clock, self.bus)
        self.messages = Messages(clock)
        self.closing = PATIENCE
        self.pauses = Pauses(clock, self.messages.inbox(BackOffMessage))
        self.leased: list[list[str]] = []
        self.engine.on_switch = lambda *_: self.leased.append(self.lease())

    def lease(self) -> list[str]:
        if not self.path.exists():
            return []
        return [each["name"] for each in json.loads(self.path.read_text())["pauses"]]

    def leave(self, *pauses: Pause) -> None:
        PauseJournal(self.path).writing(pauses)()

    def ask(self, containers: str = "vllm", *, seconds: float = 600.0, **more: Any) -> None:
        request = BackOffRequested(
            reason="it is hot",
            gpu="GPU-a",
            label="GPU 0",
            hold_seconds=seconds,
            containers=tuple(containers.split(",")),
        )
        self.messages.send(replace(request, **more))

    def end_ask(self) -> None:
        self.messages.send(BackOffEnded(reason="it is cool", gpu="GPU-a"))

    def made(self) -> PauseController:
        publisher = PausePublisher(
            self.pauses.tally,
            Publisher(self.bus, self.clock, "containers"),
            self.conditions,
            self.clock,
            simulated=False,
        )
        return PauseController(
            self.engine,
            PauseJournal(self.path),
            pauses=self.pauses,
            publisher=publisher,
            clock=self.clock,
            settings=SETTINGS,
            settle=5.0,
            closing=self.closing,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with anyio.create_task_group() as group:
            group.start_soon(self.made().run, heartbeat(self.clock))
            await settle(100)
            yield
            group.cancel_scope.cancel()

    async def until(self, holds: Callable[[], object]) -> None:
        """Let the clock go on until it ``holds``."""
        threads = anyio.to_thread.current_default_thread_limiter()
        with anyio.fail_after(PATIENCE):
            while not holds():
                await anyio.sleep(0.001)
                if not threads.borrowed_tokens:  # one that writes the lease takes none of this clock's time
                    await self.clock.advance(0.25)

    def state(self, reading: ContainerReading = VLLM) -> str:
        return self.engine.shown[reading.id].state

    def show(self, reading: ContainerReading = VLLM, **more: Any) -> None:
        self.engine.shown[reading.id] = replace(self.engine.shown[reading.id], **more)

    def told(self, kind: str) -> list[Event]:
        return [event for event in self.events if event.kind == f"container.{kind}"]

    def found(self) -> list[Condition]:
        return [each for each in self.conditions.active() if each.type.startswith("container_")]


@pytest.fixture
def house(clock: FakeClock, tmp_path: Path) -> House:
    return House(clock, tmp_path, VLLM, LLAMA)


async def test_what_is_named_is_paused_and_goes_on_when_the_ask_ends(house: House) -> None:
    async with house.running():
        house.ask("vllm")
        await house.until(lambda: house.told("paused"))
        assert (house.state(), house.state(LLAMA)) == ("paused", "running")
        assert house.leased == [["vllm"]], "it is on the disk before the engine is asked"
        (condition,) = house.found()
        assert (condition.type, condition.subject, condition.severity) == (
            "container_paused",
            "vllm",
            Severity.WARNING,
        )
        assert condition.reason.startswith("paused by aiidpd because GPU 0 is hot; until ")
        assert "docker unpause vllm" in condition.remedy
        (view,) = house.pauses.active()
        assert view.until - view.since == SETTINGS.longest
        assert house.pauses.owned(VLLM.id[:12])

        house.end_ask()
        await house.until(lambda: house.told("unpaused"))
        await house.until(lambda: not house.path.exists())
    assert house.state() == "running"
    (paused,) = house.told("paused")
    assert "GPU 0 is hot" in paused.reason
    assert (paused.subject, paused.severity) == ("vllm", Severity.WARNING)
    assert paused.evidence["by"] == "aiidpd"
    assert "nobody asks" in house.told("unpaused")[0].reason
    assert house.found() == []
    assert list(house.pauses.active()) == []
    assert house.engine.closed == 1


async def test_an_ask_that_nobody_renews_ends_by_itself(house: House) -> None:
    async with house.running():
        house.ask(seconds=8.0)
        await house.until(lambda: house.state() == "paused")
        await house.until(lambda: house.state() == "running")
        assert 8.0 <= house.clock.monotonic() < 12.0


async def test_a_pause_ends_at_its_longest_and_another_comes_after_a_rest(house: House) -> None:
    async with house.running():
        house.ask()
        await house.until(lambda: house.state() == "paused")
        began = house.clock.monotonic()
        await house.until(lambda: house.state() == "running")
        assert house.clock.monotonic() - began < SETTINGS.longest + 2
        ended = house.clock.monotonic()
        await house.until(lambda: house.state() == "paused")
        assert house.clock.monotonic() - ended >= SETTINGS.rest - 1
    assert "the longest" in house.told("unpaused")[0].reason


async def test_a_worker_that_ends_lets_everything_go_on(house: House) -> None:
    async with house.running():
        house.ask("vllm,llama")
        await house.until(lambda: len(house.told("paused")) == 2)
    assert (house.state(), house.state(LLAMA)) == ("running", "running")
    assert not house.path.exists()
    assert "aiidpd ends" in house.told("unpaused")[0].reason

    async with house.running():  # the ask stands: the next worker obeys it, after the rest
        await house.until(lambda: house.state() == "paused")
    assert house.state() == "running"


async def test_what_a_killed_daemon_left_goes_on_at_the_next_start(house: House) -> None:
    house.leave(LEFT)
    house.show(state="paused")
    house.show(LLAMA, state="paused")  # the user's
    async with house.running():
        await house.until(lambda: house.state() == "running")
        await house.until(lambda: not house.path.exists())
        assert house.state(LLAMA) == "paused"
    (told,) = house.told("unpaused")
    assert told.reason == "it runs again: an earlier run of aiidpd left it paused"
    assert "paused_seconds" not in told.evidence  # nobody knows for how long


async def test_another_run_than_the_lease_names_is_left_as_it_is(house: House) -> None:
    house.leave(LEFT)
    house.show(state="paused", started_at=99.0)
    async with house.running():
        await house.until(lambda: not house.path.exists())
    assert house.state() == "paused"
    assert house.engine.switches == []


async def test_one_that_was_removed_is_dropped(house: House) -> None:
    async with house.running():
        house.ask()
        await house.until(lambda: house.told("paused"))
        del house.engine.shown[VLLM.id]
        await house.until(lambda: house.told("unpaused"))
        await house.until(lambda: not house.path.exists())
    assert "removed" in house.told("unpaused")[0].reason
    assert house.found() == []


async def test_one_that_the_engine_does_not_pause_is_told_once(house: House) -> None:
    house.engine.refuses_switch["pause"] = DOWN
    async with house.running():
        house.ask()
        await house.until(lambda: house.told("pause_failed"))
        await house.clock.advance(4.0)
        assert len(house.told("pause_failed")) == 1
        assert "nothing listens" in house.told("pause_failed")[0].reason
        house.engine.refuses_switch.clear()
        await house.until(lambda: house.state() == "paused")
    assert house.pauses.tally.failures["vllm"] == 1


async def test_an_engine_that_is_gone_is_asked_until_it_is_back(house: House) -> None:
    async with house.running():
        house.ask()
        await house.until(lambda: house.told("paused"))
        house.engine.refuses = DOWN
        house.end_ask()
        await house.until(lambda: house.told("unpause_failed"))
        await house.clock.advance(30.0)
        assert len(house.told("unpause_failed")) == 1
        assert {each.type for each in house.found()} == {"container_paused", "container_unpause"}
        assert house.lease() == ["vllm"]
        house.engine.refuses = None
        await house.until(lambda: house.state() == "running")
        await house.until(lambda: not house.found())


async def test_what_does_not_go_on_at_the_end_stays_in_the_lease(house: House) -> None:
    house.closing = 0.3
    async with house.running():
        house.ask()
        await house.until(lambda: house.told("paused"))
        house.engine.refuses = DOWN
    assert house.lease() == ["vllm"]
    house.engine.refuses = None
    house.end_ask()
    async with house.running():
        await house.until(lambda: house.state() == "running")
        await house.until(lambda: not house.path.exists())


async def test_an_answer_that_was_lost_leaves_nothing_paused(house: House) -> None:
    house.engine.late["pause"] = DOWN
    async with house.running():
        house.ask()
        await house.until(lambda: house.state() == "paused")
        assert house.lease() == ["vllm"]
    assert house.state() == "running"
    assert not house.path.exists()


async def test_without_the_lease_on_the_disk_nothing_is_paused(clock: FakeClock, tmp_path: Path) -> None:
    house = House(clock, tmp_path / "missing", VLLM)
    async with house.running():
        house.ask()
        await house.until(house.found)
        await house.clock.advance(5.0)
        assert house.engine.switches == []
        (condition,) = house.found()
        assert (condition.type, condition.severity) == ("container_pause_lease", Severity.ERROR)
        assert "no container is paused" in condition.reason
        (tmp_path / "missing").mkdir()
        await house.until(lambda: house.state() == "paused")
        assert house.found()[0].type == "container_paused"


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"version": 2}', b'{"version": 1, "pauses": [{}]}'])
async def test_a_damaged_lease_pauses_nothing_and_is_kept(house: House, content: bytes) -> None:
    house.path.write_bytes(content)
    async with house.running():
        house.ask()
        await house.until(house.found)
        await house.clock.advance(5.0)
        assert house.engine.switches == []
        assert "docker ps --filter status=paused" in house.found()[0].remedy
    assert house.path.read_bytes() == content


def test_a_lease_is_read_as_it_was_written(tmp_path: Path) -> None:
    lease = PauseJournal(tmp_path / NAME)
    assert lease.read() == ()
    pauses = (LEFT, replace(LEFT, id="c", started_at=1.0000001, lost=True, simulated=True))
    lease.writing(pauses)()
    assert lease.read() == pauses
    lease.writing(())()
    assert not lease.path.exists()


def test_a_lease_says_how_the_engine_is_reached(tmp_path: Path) -> None:
    engine = EngineAddress(Path("/run/other.sock"), 2.5)
    PauseJournal(tmp_path / NAME, engine).writing([LEFT])()
    lease = PauseJournal(tmp_path / NAME)
    assert (lease.read(), lease.read_engine()) == ((LEFT,), engine)


@pytest.mark.parametrize(
    "engine",
    [
        None,
        {},
        1,
        {"socket": "/s"},
        {"socket": "s", "call_timeout": 1},
        {"socket": "/s\0", "call_timeout": 1},
    ],
)
def test_a_lease_that_does_not_say_it_is_read_as_ever(tmp_path: Path, engine: object) -> None:
    path = tmp_path / NAME
    said = {} if engine is None else {"engine": engine}
    path.write_text(json.dumps({"version": 1, "pauses": [asdict(LEFT)], **said}))
    assert (PauseJournal(path).read(), PauseJournal(path).read_engine()) == ((LEFT,), None)


@pytest.mark.parametrize("wrong", [{"started_at": "nan"}, {"id": ""}, {"name": 1}, {"lost": 1}])
def test_a_lease_that_makes_no_sense_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    path = tmp_path / NAME
    path.write_text(json.dumps({"version": 1, "pauses": [asdict(LEFT) | wrong]}))
    with pytest.raises(StateUnreadable):
        PauseJournal(path).read()


async def test_heat_that_is_made_up_pauses_no_real_container(house: House) -> None:
    async with house.running():
        house.ask(simulated=True)
        await house.clock.advance(30.0)
    assert house.engine.switches == []


async def test_what_is_made_up_ended_with_its_process(house: House) -> None:
    house.leave(replace(LEFT, simulated=True))
    house.show(state="paused")
    async with house.running():
        await house.until(lambda: not house.path.exists())
    assert house.engine.switches == []


async def test_a_made_up_engine_does_not_forget_real_containers(house: House) -> None:
    house.leave(LEFT)
    house.engine.simulated = True
    async with house.running():
        await house.until(house.found)
        assert "simulated" in house.found()[0].reason
    assert house.lease() == ["vllm"]


async def test_the_command_lets_go_on_what_a_lease_names(house: House) -> None:
    said: list[str] = []
    house.leave(LEFT)
    house.show(state="paused")
    assert await unpause_all(house.engine, PauseJournal(house.path), within=PATIENCE, report=said.append)
    assert house.state() == "running"
    assert not house.path.exists()
    assert len(said) == 1
    assert said[0].startswith("container vllm: it runs again")


async def test_the_command_says_what_it_can_t_let_go_on_and_keeps_the_lease(house: House) -> None:
    said: list[str] = []
    house.leave(LEFT)
    house.show(state="paused")
    house.engine.refuses = DOWN
    assert not await unpause_all(house.engine, PauseJournal(house.path), within=0.2, report=said.append)
    assert "nothing listens" in said[0]
    assert house.lease() == ["vllm"]


async def test_the_command_waits_for_a_call_that_a_killed_daemon_has_left_on_its_way(house: House) -> None:
    house.leave(LEFT)

    async def late() -> None:
        await anyio.sleep(0.3)
        house.show(state="paused")

    async with anyio.create_task_group() as group:
        group.start_soon(late)
        assert await unpause_all(
            house.engine, PauseJournal(house.path), within=PATIENCE, report=lambda _: None
        )
    assert house.state() == "running"


async def test_a_pause_of_ours_is_told_once_and_the_user_s_as_ever(house: House, tmp_path: Path) -> None:
    latest: Latest[RuntimeSnapshot] = Latest(house.clock, 90.0)
    worker = ContainersWorker(
        house.engine,
        made(ContainersSettings, reconcile_interval=1.0),
        latest=latest,
        publish=Publisher(house.bus, house.clock, "containers"),
        conditions=house.conditions,
        stopped=register(tmp_path, house.clock, house.conditions),
        clock=house.clock,
        owned=house.pauses.owned,
    )
    async with house.running(), anyio.create_task_group() as group:
        group.start_soon(worker.run, Heartbeat(house.clock, WorkerStatus("containers"), anyio.Event()))
        await house.until(lambda: latest.get() is not None)
        house.show(LLAMA, state="paused")
        house.ask()
        await house.until(lambda: len(house.told("paused")) == 2)
        await house.clock.advance(3.0)
        house.end_ask()
        await house.until(lambda: house.told("unpaused"))
        await house.clock.advance(3.0)
        group.cancel_scope.cancel()
    assert sorted((each.subject, each.evidence.get("by")) for each in house.told("paused")) == [
        ("llama", None),
        ("vllm", "aiidpd"),
    ]
    assert [each.subject for each in house.told("unpaused")] == ["vllm"]
    assert not house.told("unhealthy")


async def test_metrics_say_what_is_paused_and_what_was(house: House) -> None:
    collector = PausesCollector(house.pauses)

    def value(name: str) -> list[tuple[dict[str, str], float]]:
        return [
            (s.labels, s.value) for family in collector.collect() for s in family.samples if s.name == name
        ]

    async with house.running():
        house.ask()
        await house.until(lambda: house.told("paused"))
        assert value("aiidpd_container_backing_off") == [({"container": "vllm"}, 1)]
        assert value("aiidpd_container_leased_pauses") == [({}, 1)]
        await house.clock.advance(5.0)
        house.end_ask()
        await house.until(lambda: house.told("unpaused"))
    assert value("aiidpd_container_backing_off") == []
    assert value("aiidpd_container_back_off_pauses_total") == [({"container": "vllm"}, 1)]
    ((_, seconds),) = value("aiidpd_container_back_off_seconds_total")
    assert 5.0 <= seconds < 10.0


async def test_a_made_up_container_stands_still_while_it_is_paused(clock: FakeClock) -> None:
    engine = SimulatedRuntime(clock)
    victim = f"{1:064x}"  # it dies after 93 s
    await clock.advance(50)
    assert await engine.pause(victim)
    await clock.advance(100)
    assert await engine.unpause(victim)
    await clock.advance(42)
    reading = await engine.container(victim)
    assert reading is not None
    assert reading.state == "running"
    await clock.advance(2)
    reading = await engine.container(victim)
    assert reading is not None
    assert reading.state == "restarting"
    assert reading.finished_at == clock.time() - clock.monotonic() + 193


async def test_a_request_counts_for_its_time_and_until_it_ends(clock: FakeClock) -> None:
    messages = Messages(clock)
    pauses = Pauses(clock, messages.inbox(BackOffMessage))
    messages.send(HOT)
    messages.send(replace(HOT, gpu="GPU-b", hold_seconds=1e9))
    pauses.receive()
    await clock.advance(59.0)
    (first, second) = pauses.requests(simulated=False)
    assert (first.label, first.containers, first.reason) == ("GPU 0", ("vllm", "llama"), "it is hot")
    await clock.advance(1.0)
    assert pauses.requests(simulated=False) == (second,)
    messages.send(BackOffEnded(reason="it is cool", gpu="GPU-b"))
    assert pauses.arrived.is_set()
    pauses.receive()
    assert not pauses.arrived.is_set()
    assert not pauses.requests(simulated=False)


def test_a_request_that_names_no_container_and_one_about_simulated_heat_pause_nothing(
    clock: FakeClock,
) -> None:
    messages = Messages(clock)
    pauses = Pauses(clock, messages.inbox(BackOffMessage))
    messages.send(replace(HOT, containers=()))
    pauses.receive()
    assert not pauses.requests(simulated=True)
    messages.send(replace(HOT, simulated=True))
    pauses.receive()
    assert not pauses.requests(simulated=False)
    assert pauses.requests(simulated=True)
