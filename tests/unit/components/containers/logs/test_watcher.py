"""The watcher of logs: storms, lost GPUs, and why a container died."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio

from aiidpd.components.containers.logs.named import Deaths, NamedFailures
from aiidpd.components.containers.logs.namer import FAILURE_NAMED, FailureNamer
from aiidpd.components.containers.logs.watcher import LogMemory, LogWatcher
from aiidpd.components.containers.runtime import ContainerReading, RuntimeSnapshot
from aiidpd.components.containers.settings import LogSettings
from aiidpd.contracts.engines import EngineState, EnginesView, Verdict
from aiidpd.contracts.messages import Cure, HealRequested
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.conditions import Condition, Conditions
from aiidpd.kernel.errors import Unavailable
from aiidpd.kernel.events import Event, Severity
from aiidpd.kernel.inbox import Messages
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.publisher import Publisher
from tests.fakes.clock import FakeClock, settle
from tests.fakes.container_logs import ScriptedLogs
from tests.heartbeat import heartbeat
from tests.tables import made

SETTINGS = made(LogSettings, interval=30.0, lines=100, storm_lines_per_second=10)
LOST = "Failed to initialize NVML: Unknown Error"
VLLM = "a" * 64


def death(identity: str, name: str, at: float, code: int, *, oom: bool = False) -> Event:
    """Return the event by which the watcher of containers reports the end of a run."""
    severity = Severity.WARNING if code else Severity.INFO
    evidence = {"id": identity[:12], "exit_code": code, "oom_claimed": oom}
    return Event(at, "containers", "container.died", "it ended", name, severity, evidence=evidence)


class House:
    """A container with an engine, what it writes, and whoever reads that."""

    def __init__(self, clock: FakeClock, settings: LogSettings = SETTINGS) -> None:
        self.clock = clock
        self.bus = EventBus()
        self.events: list[Event] = []
        self.bus.attach(events=self.events.append)
        self.publish = Publisher(self.bus, clock, "containers.logs")
        self.conditions = Conditions(clock, self.bus)
        self.messages = Messages(clock)
        self.heals = self.messages.inbox(HealRequested)
        self.latest: Latest[RuntimeSnapshot] = Latest(clock, 1e9)
        self.engines: Latest[EnginesView] = Latest(clock, 1e9)
        self.logs = ScriptedLogs()
        self.logs.written[VLLM] = []
        self.deaths = Deaths(self.latest.get)
        self.bus.attach(events=self.deaths.on_event)
        self.failures = NamedFailures()
        self.vllm = ContainerReading(
            VLLM, "vllm", "vllm/vllm-openai", "running", gpu=True, started_at=clock.time() - 500,
            environment={"HF_TOKEN": "s3cr3tvalue"},
        )  # fmt: skip
        self.memory = LogMemory()
        self.watcher = LogWatcher(
            self.logs,
            settings,
            containers=self.latest.get,
            engines=self.engines.get,
            deaths=self.deaths,
            namer=FailureNamer(self.failures, self.latest.get, self.publish, clock),
            memory=self.memory,
            conditions=self.conditions,
            messages=self.messages,
            clock=clock,
        )
        self.show(self.vllm)

    def show(self, *readings: ContainerReading) -> None:
        self.latest.put(RuntimeSnapshot(readings, "1"))

    def verdict(self, verdict: Verdict) -> None:
        state = EngineState("vllm", "m", simulated=False, container=VLLM, verdict=verdict)
        self.engines.put(EnginesView((state,)))

    def active(self) -> list[Condition]:
        return list(self.conditions.active())

    def named(self) -> list[Event]:
        return [event for event in self.events if event.kind == FAILURE_NAMED]

    def die(self, code: int, *, oom: bool = False) -> None:
        self.bus.publish(death(VLLM, "vllm", self.clock.time(), code, oom=oom))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with anyio.create_task_group() as group:
            group.start_soon(self.watcher.run, heartbeat(self.clock))
            await settle()
            yield
            group.cancel_scope.cancel()


async def test_a_storm_is_a_condition_with_the_line_that_repeats_and_its_size(clock: FakeClock) -> None:
    house = House(clock)
    async with house.running():
        for _ in range(3):
            house.logs.write(VLLM, clock.time() + 29, *["token s3cr3tvalue again"] * 400)
            assert house.active() == []
            await clock.advance(30)
        (storm,) = house.active()
        assert (storm.type, storm.subject) == ("container_log_storm", "vllm")
        assert "lines a second" in storm.reason
        assert "GiB a day" in storm.reason
        assert "token [redacted] again" in storm.reason
        await clock.advance(120)
        assert house.active() == []


async def test_a_burst_in_a_quiet_log_is_no_storm(clock: FakeClock) -> None:
    house = House(clock)
    async with house.running():
        for _ in range(6):
            house.logs.write(VLLM, clock.time() + 5, *["loading shards"] * 150)
            await clock.advance(30)
            assert house.active() == []


async def test_a_lost_gpu_is_a_condition_and_a_request_until_a_later_run_is_well(clock: FakeClock) -> None:
    house = House(clock)
    async with house.running():
        house.logs.write(VLLM, clock.time() + 1, "starting", LOST)
        await clock.advance(30)
        (lost,) = house.active()
        assert (lost.type, lost.subject) == ("container_gpu_lost", "vllm")
        request = house.heals.first()
        assert request is not None
        assert (request.container, request.fault, request.cure) == (VLLM, "container_gpu_lost", Cure.RECREATE)
        house.heals.take()
        await clock.advance(30)
        assert len(house.heals.take()) == 1  # as long as it is so
        house.show(replace(house.vllm, started_at=clock.time()))
        await clock.advance(60)
        assert house.active() == []
        house.heals.take()
        await clock.advance(60)
        assert house.heals.first() is None


async def test_a_container_that_was_created_anew_is_another_one(clock: FakeClock) -> None:
    house = House(clock)
    async with house.running():
        house.logs.write(VLLM, clock.time() + 1, LOST)
        await clock.advance(30)
        assert house.active()
        house.show(replace(house.vllm, id="b" * 64))
        await clock.advance(30)
        assert house.active() == []


async def test_a_line_in_an_old_log_is_no_fact(clock: FakeClock) -> None:
    house = House(clock)
    house.logs.write(VLLM, clock.time() - 3600, LOST)  # of a run before
    house.logs.write(VLLM, clock.time() - 300, LOST)  # before the daemon began to read
    async with house.running():
        await clock.advance(120)
        assert house.active() == []
        assert house.heals.first() is None


async def test_an_engine_that_works_has_not_lost_its_gpu(clock: FakeClock) -> None:
    house = House(clock)
    house.verdict(Verdict.WORKING)
    async with house.running():
        house.logs.write(VLLM, clock.time() + 1, LOST)
        await clock.advance(30)
        assert house.active() == []
        house.verdict(Verdict.IDLE)
        house.logs.write(VLLM, clock.time() + 1, LOST)
        await clock.advance(30)
        assert [each.type for each in house.active()] == ["container_gpu_lost"]
        assert house.heals.first() is None  # it would serve: a person decides
        house.verdict(Verdict.HUNG)
        await clock.advance(30)
        assert house.heals.first() is not None


async def test_only_containers_with_a_gpu_or_an_engine_are_read(clock: FakeClock) -> None:
    house = House(clock)
    house.show(
        ContainerReading("1", "web", "nginx", "running", started_at=1.0),
        ContainerReading("2", "cpu", "ghcr.io/ggml-org/llama.cpp:server", "running", started_at=1.0),
        ContainerReading("3", "rests", "vllm/vllm-openai", "exited", gpu=True),
    )
    async with house.running():
        await clock.advance(30)
    assert {identity for identity, _, _ in house.logs.asked} == {"2"}
    assert house.logs.closed == 1


async def test_a_log_that_cannot_be_read_is_no_failure(clock: FakeClock) -> None:
    house = House(clock)
    house.logs.unreadable.add(VLLM)
    async with house.running():
        house.die(1)
        await clock.advance(90)
        assert "does not support reading" in house.memory.unreadable[VLLM]
        house.logs.unreadable.clear()
        await clock.advance(30)
        assert house.memory.unreadable == {}
    assert house.active() == []
    assert house.named() == []


async def test_a_runtime_that_refuses_degrades_the_task_and_ends_nothing(clock: FakeClock) -> None:
    house = House(clock)
    beat = heartbeat(clock)
    async with anyio.create_task_group() as group:
        group.start_soon(house.watcher.run, beat)
        house.logs.write(VLLM, clock.time() + 1, LOST)
        await clock.advance(30)
        assert house.active()
        house.logs.refuses = Unavailable("read", "it", reason="it hangs")
        await clock.advance(30)
        assert beat._status.state == "degraded"
        assert "it hangs" in beat._status.reason
        assert house.active()
        house.logs.refuses = None
        await clock.advance(30)
        assert beat._status.state == "running"
        group.cancel_scope.cancel()


async def test_why_a_container_died_is_named_at_once_without_secrets(clock: FakeClock) -> None:
    house = House(clock)
    async with house.running():
        house.logs.write(
            VLLM, clock.time() - 1, "api_key=s3cr3tvalue torch.OutOfMemoryError: CUDA out of memory"
        )
        house.die(1)
        house.logs.write(VLLM, clock.time() + 5, "No space left on device")  # of the next run
        await settle()
        (event,) = house.named()
        assert event.subject == "vllm"
        assert event.evidence["failure"] == "gpu_memory"
        assert "s3cr3tvalue" not in str(event)
        last = house.failures.get(VLLM)
        assert last is not None
        assert last.named.failure.name == "gpu_memory"
        assert "the GPU has too little free memory" in last.sentence


async def test_the_same_failure_in_a_loop_is_told_once_in_ten_minutes(clock: FakeClock) -> None:
    house = House(clock)
    async with house.running():
        for _ in range(8):
            house.logs.write(VLLM, clock.time(), "CUDA out of memory")
            house.die(1)
            await clock.advance(60)
        assert len(house.named()) == 1
        house.logs.write(VLLM, clock.time(), "address already in use")
        house.die(1)
        await settle()
        assert [event.evidence["failure"] for event in house.named()] == ["gpu_memory", "port_taken"]
        await clock.advance(600)
        house.die(1)
        await settle()
        assert len(house.named()) == 3


async def test_a_death_before_the_full_id_is_known_is_told_once(clock: FakeClock) -> None:
    house = House(clock)
    async with house.running():
        house.show()
        house.logs.write(VLLM[:12], clock.time(), "CUDA out of memory")
        house.die(1)
        await settle()
        house.show(house.vllm)
        house.logs.write(VLLM, clock.time(), "CUDA out of memory")
        house.die(1)
        await settle()
        assert len(house.named()) == 1
        assert house.failures.get(VLLM) is not None


async def test_a_line_of_a_run_before_names_nothing(clock: FakeClock) -> None:
    house = House(clock)
    house.logs.write(VLLM, clock.time() - 501, "CUDA out of memory")
    async with house.running():
        house.die(1)
        await settle()
        assert house.named() == []


async def test_a_kill_for_memory_is_named_without_a_line(clock: FakeClock) -> None:
    house = House(clock)
    async with house.running():
        house.logs.refuses = Unavailable("read", "it", reason="it hangs")
        house.die(137, oom=True)
        await settle()
        assert [event.evidence["failure"] for event in house.named()] == ["host_memory"]


async def test_an_end_on_request_is_not_looked_into(clock: FakeClock) -> None:
    house = House(clock)
    async with house.running():
        house.logs.asked.clear()
        house.die(0)
        await settle()
        assert house.logs.asked == []


async def test_a_container_that_dies_for_want_of_a_gpu_has_lost_it(clock: FakeClock) -> None:
    house = House(clock)
    async with house.running():
        house.logs.write(VLLM, clock.time(), "RuntimeError: No CUDA GPUs are available")
        house.die(1)
        house.show(replace(house.vllm, state="restarting"))
        await clock.advance(30)
        assert [each.type for each in house.active()] == ["container_gpu_lost"]
        assert house.heals.first() is not None
        house.show(replace(house.vllm, state="exited"))  # somebody stops it: that is respected
        await clock.advance(30)
        assert house.active() == []


async def test_what_the_runtime_says_of_a_failed_start_is_named_once(clock: FakeClock) -> None:
    house = House(clock)
    error = "driver failed: Bind for 0.0.0.0:80 failed: port is already allocated"
    house.show(replace(house.vllm, state="created", error=error))
    async with house.running():
        await clock.advance(90)
        assert [event.evidence["failure"] for event in house.named()] == ["port_taken"]


async def test_switched_off_it_still_names_failures(clock: FakeClock) -> None:
    house = House(clock, made(LogSettings, interval=0.0))
    house.conditions.set(Condition("container_log_storm", "vllm", Severity.WARNING, "from before"))
    async with house.running():
        assert house.active() == []
        house.logs.write(VLLM, clock.time(), *["x"] * 5000, LOST)
        house.die(1)
        await clock.advance(90)
        assert [event.evidence["failure"] for event in house.named()] == ["gpu_lost"]
        assert house.active() == []
        assert {lines for _, lines, _ in house.logs.asked} == {200}


def test_only_so_many_deaths_wait_and_failures_are_remembered(clock: FakeClock) -> None:
    house = House(clock)
    for number in range(300):
        house.bus.publish(death(f"{number:012x}", "one", clock.time(), 1))
    assert len(house.deaths.take()) == 64
