from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio

from aiidpd.components.containers.memory import ContainersMemory
from aiidpd.components.containers.remembered import NAME as KNOWN
from aiidpd.components.containers.remembered import KnownRecords, RememberedContainers
from aiidpd.components.containers.runtime import ContainerReading, RuntimeEvent, RuntimeSnapshot
from aiidpd.components.containers.settings import ContainersSettings
from aiidpd.components.containers.simulated import PERIOD, SimulatedRuntime
from aiidpd.components.containers.worker import ContainersWorker
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.errors import NotInstalled, Unavailable
from aiidpd.kernel.events import Event, Sample, Severity
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.task import Heartbeat, WorkerState, WorkerStatus
from aiidpd.platform.installed import Installed
from aiidpd.platform.statefile import StateFile
from tests.fakes.clock import FakeClock, settle
from tests.fakes.engine import ScriptedEngine
from tests.unit.components.containers.stopped import register
from tests.waiting import PATIENCE

DOWN = Unavailable("list the containers of", "the engine", reason="nothing listens", remedy="start it")


@dataclass
class Watched:
    """A worker at work and what comes out of it."""

    heartbeat: Heartbeat
    status: WorkerStatus
    latest: Latest[RuntimeSnapshot]
    conditions: Conditions
    said: list[Event] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)

    def kinds(self) -> list[str]:
        return [event.kind.removeprefix("container.") for event in self.said]

    def states(self) -> dict[str, str]:
        reading = self.latest.get()
        assert reading is not None
        return {one.name: one.state for one in reading.value.containers}


@asynccontextmanager
async def working(
    engine: ScriptedEngine | SimulatedRuntime,
    clock: FakeClock,
    memory: ContainersMemory | None = None,
    *,
    installed: Installed | None = None,
    owned: Callable[[str], bool] = lambda _: False,
    remembered: RememberedContainers | None = None,
) -> AsyncIterator[Watched]:
    status = WorkerStatus("containers")
    heartbeat = Heartbeat(clock, status, anyio.Event())
    bus = EventBus()
    watched = Watched(heartbeat, status, Latest(clock, 90.0), Conditions(clock, bus))
    bus.attach(events=watched.said.append, samples=watched.samples.append)
    with TemporaryDirectory() as folder:
        worker = ContainersWorker(
            engine,
            ContainersSettings(),
            latest=watched.latest,
            publish=Publisher(bus, clock, "containers"),
            conditions=watched.conditions,
            stopped=register(Path(folder), clock, watched.conditions),
            clock=clock,
            memory=memory,
            installed=installed,
            owned=owned,
            remembered=remembered,
        )
        async with anyio.create_task_group() as group:
            group.start_soon(worker.run, heartbeat)
            await settle()
            yield watched
            group.cancel_scope.cancel()


def vllm(clock: FakeClock) -> ContainerReading:
    return ContainerReading(
        "c1", "vllm", "vllm:1", "running", started_at=clock.time() - 100, health="healthy"
    )


def event(clock: FakeClock, action: str, **more: object) -> RuntimeEvent:
    return RuntimeEvent(clock.time(), action, "c1", "vllm", "vllm:1", **more)  # type: ignore[arg-type]


async def test_a_first_pass_shows_what_is_there(clock: FakeClock) -> None:
    engine = ScriptedEngine(vllm(clock))
    async with working(engine, clock) as watched:
        assert watched.status.state is WorkerState.RUNNING
        assert watched.states() == {"vllm": "running"}
        assert watched.kinds() == ["watching"]
        assert watched.said[0].simulated
        assert [(one.series, one.value) for one in watched.samples] == [
            ("running_containers", 1.0),
            ("unhealthy_containers", 0.0),
        ]
    assert engine.closed == 1


async def test_an_event_is_told_at_once_and_only_its_container_is_read(clock: FakeClock) -> None:
    other = replace(vllm(clock), id="c2", name="llama")
    engine = ScriptedEngine(vllm(clock), other)
    async with working(engine, clock) as watched:
        await clock.advance(3)
        engine.shown["c1"] = replace(
            engine.shown["c1"], state="exited", exit_code=1, finished_at=clock.time()
        )
        engine.say(event(clock, "die", exit_code=1))
        await settle()
        assert watched.kinds() == ["watching", "died"]
        assert watched.states() == {"vllm": "exited", "llama": "running"}
        assert (engine.looks, len(engine.lists)) == (["c1"], 1)


async def test_a_quiet_engine_is_read_once_an_interval_and_not_anew(clock: FakeClock) -> None:
    engine = ScriptedEngine(vllm(clock))
    async with working(engine, clock) as watched:
        await clock.advance(299)
        assert engine.lists == [True] + [False] * 9
        assert (watched.status.passes, engine.looks) == (10, [])
        assert len(engine.subscriptions) == 1


async def test_what_a_silent_stream_did_not_bring_is_found_and_the_stream_opened_again(
    clock: FakeClock,
) -> None:
    engine = ScriptedEngine(vllm(clock))
    async with working(engine, clock) as watched:
        engine.deaf = True
        await clock.advance(10)
        engine.shown["c1"] = replace(engine.shown["c1"], health="unhealthy")
        await clock.advance(21)
        assert watched.kinds() == ["watching", "unhealthy", "stream_interrupted"]
        assert len(engine.subscriptions) == 2
        assert engine.lists[-1] is True


async def test_a_cut_stream_is_opened_again_from_where_it_ended(clock: FakeClock) -> None:
    engine = ScriptedEngine(vllm(clock))
    async with working(engine, clock) as watched:
        await clock.advance(45)
        read_at = engine.subscriptions[0] + 1 + 30
        engine.cut()
        await settle()
        engine.shown["c1"] = replace(engine.shown["c1"], state="exited", exit_code=9, health=None)
        await clock.advance(1)
        assert watched.kinds() == ["watching", "stream_interrupted", "died"]
        assert engine.subscriptions[1] == read_at - 1
        assert watched.status.state is WorkerState.RUNNING


async def test_replayed_events_come_before_the_reading_that_follows_them(clock: FakeClock) -> None:
    engine = ScriptedEngine(vllm(clock))
    async with working(engine, clock) as watched:
        await clock.advance(10)
        engine.cut()
        die, start = event(clock, "die", exit_code=7), replace(event(clock, "start"), time=clock.time() + 0.1)
        engine.shown["c1"] = replace(
            vllm(clock), started_at=clock.time() + 0.09, finished_at=clock.time() - 0.01, restart_count=1
        )
        engine.on_list = [die, start]
        await clock.advance(1)
        died = next(one for one in watched.said if one.kind == "container.died")
        assert died.evidence["exit_code"] == 7  # a reading alone can't tell it any more
        assert watched.kinds().count("started") == 1


async def test_an_engine_that_is_down_degrades_the_worker_until_it_is_back(clock: FakeClock) -> None:
    engine = ScriptedEngine(vllm(clock))
    async with working(engine, clock) as watched:
        await clock.advance(5)
        engine.refuses = DOWN
        engine.cut()
        await clock.advance(5)
        assert watched.status.state is WorkerState.DEGRADED
        assert "nothing listens; start it" in watched.status.reason
        assert watched.latest.get() is None
        tries = len(engine.lists)
        await clock.advance(120)
        assert len(engine.lists) - tries <= 12  # it does not hammer
        engine.refuses = None
        engine.shown["c1"] = replace(engine.shown["c1"], started_at=clock.time(), restart_count=1)
        await clock.advance(16)
        assert watched.status.state is WorkerState.RUNNING
        assert watched.states() == {"vllm": "running"}
        assert watched.kinds()[-3:] == ["died", "started", "healthy"]


async def test_without_events_the_list_is_still_shown_and_the_lack_is_said(clock: FakeClock) -> None:
    engine = ScriptedEngine(vllm(clock))
    engine.refuses_events = Unavailable("follow events of", "the engine", reason="it denies the request")
    async with working(engine, clock) as watched:
        assert watched.status.state is WorkerState.DEGRADED
        assert "follow events" in watched.status.reason
        assert watched.states() == {"vllm": "running"}


async def test_a_container_that_can_not_be_read_does_not_hide_the_others(clock: FakeClock) -> None:
    other = replace(vllm(clock), id="c2", name="llama")
    engine = ScriptedEngine(vllm(clock), other)
    async with working(engine, clock) as watched:
        engine.stuck.add("c1")
        await clock.advance(31)
        assert watched.status.state is WorkerState.DEGRADED
        assert "cannot read container vllm" in watched.status.reason
        assert watched.states()["llama"] == "running"
        engine.looks.clear()
        engine.say(event(clock, "update"))
        engine.shown["c2"] = replace(other, state="exited", exit_code=0, finished_at=clock.time())
        engine.say(replace(event(clock, "die", exit_code=0), id="c2", name="llama"))
        await settle()
        assert watched.kinds()[-1] == "died"
        assert engine.looks == ["c2"]  # no time is lost with the one that is stuck
        engine.stuck.clear()
        await clock.advance(31)
        assert watched.status.state is WorkerState.RUNNING


async def test_a_new_worker_with_the_same_memory_goes_on_where_the_old_one_was(clock: FakeClock) -> None:
    engine, memory = ScriptedEngine(vllm(clock)), ContainersMemory()
    async with working(engine, clock, memory):
        await clock.advance(5)
    engine.shown["c1"] = replace(engine.shown["c1"], state="exited", exit_code=1, health=None)
    await clock.advance(5)
    async with working(engine, clock, memory) as watched:
        await clock.advance(1)
        assert watched.kinds() == ["died"]
        assert engine.subscriptions[1] == engine.subscriptions[0]


async def test_the_worker_beats_while_nothing_happens(clock: FakeClock) -> None:
    engine = ScriptedEngine(vllm(clock))
    async with working(engine, clock) as watched:
        for _ in range(60):
            await clock.advance(1)
            assert clock.monotonic() - watched.heartbeat.last <= 5


async def test_the_simulated_engine_says_so_and_its_story_is_told(clock: FakeClock) -> None:
    async with working(SimulatedRuntime(clock), clock) as watched:
        await clock.advance(PERIOD - 1)
        assert watched.kinds() == ["watching", "unhealthy", "healthy", "died", "started", "healthy"]
        assert all(one.simulated for one in watched.said)
        assert all("SIMULATED" in one.subject for one in watched.said[1:])
        assert all("SIMULATED" in name for name in watched.states())
        assert all(one.simulated for one in watched.samples)
        await clock.advance(PERIOD)
        assert watched.kinds().count("died") == 2
        assert "stream_interrupted" not in watched.kinds()


async def test_what_is_wrong_with_a_container_is_a_condition_until_it_is_over(clock: FakeClock) -> None:
    engine = ScriptedEngine(vllm(clock))

    def found(watched: Watched) -> list[tuple[str, str, Severity, bool]]:
        return [
            (each.type, each.subject, each.severity, each.simulated) for each in watched.conditions.active()
        ]

    async with working(engine, clock) as watched:
        engine.shown["c1"] = replace(engine.shown["c1"], health="unhealthy")
        engine.say(event(clock, "health_status", detail="unhealthy"))
        await settle()
        assert found(watched) == [("container_unhealthy", "vllm", Severity.ERROR, True)]
        engine.shown["c1"] = replace(engine.shown["c1"], name="vllm-old")
        await clock.advance(31)
        assert found(watched) == [("container_unhealthy", "vllm-old", Severity.ERROR, True)]
        engine.refuses = DOWN
        await clock.advance(31)
        unknown = ("container_runtime_silent", "engine", Severity.ERROR, True)
        assert sorted(found(watched)) == [unknown, ("container_unhealthy", "vllm-old", Severity.ERROR, True)]
        engine.refuses = None
        del engine.shown["c1"]
        await clock.advance(31)
        assert found(watched) == []


async def test_a_runtime_that_refuses_is_there_and_is_missed_when_it_vanishes(
    clock: FakeClock, tmp_path: Path
) -> None:
    engine = ScriptedEngine()
    engine.refuses = NotInstalled(
        "list the containers of", "the engine", reason="no socket", remedy="start it"
    )
    installed = Installed(tmp_path / "seen.json", clock, "containers.engine", lambda: "auto")
    async with working(engine, clock, installed=installed) as watched:
        assert watched.status.state is WorkerState.INACTIVE
        engine.refuses = DOWN
        await clock.advance(31)
        assert watched.status.state is WorkerState.DEGRADED
        engine.refuses = NotInstalled("list the containers of", "the engine", reason="no socket", remedy="")
        await clock.advance(31)
        assert watched.status.state is WorkerState.DEGRADED
        assert "it was there before" in watched.status.reason
    installed.wait(PATIENCE)


async def test_a_container_that_we_had_paused_before_it_was_first_read_is_resumed_without_a_second_event(
    clock: FakeClock,
) -> None:
    ours = {"c1"}
    engine = ScriptedEngine(replace(vllm(clock), state="paused", health=None))
    async with working(engine, clock, owned=ours.__contains__) as watched:
        ours.clear()
        engine.shown["c1"] = vllm(clock)
        engine.say(event(clock, "unpause"))
        await settle()
        assert watched.states() == {"vllm": "running"}
        assert "unpaused" not in watched.kinds()


async def test_an_event_that_the_stream_withholds_is_known_within_five_seconds(clock: FakeClock) -> None:
    engine = ScriptedEngine(vllm(clock))
    async with working(engine, clock) as watched:
        await clock.advance(10)
        engine.deaf = True  # stalled, not cut
        engine.shown["c1"] = replace(vllm(clock), started_at=clock.time() + 0.1, restart_count=1)
        engine.say(event(clock, "die", exit_code=7))
        engine.say(replace(event(clock, "start"), time=clock.time() + 0.11))
        await clock.advance(5)
        assert watched.kinds() == ["watching", "died", "started", "stream_interrupted", "healthy"]
        assert watched.said[1].evidence["exit_code"] == 7  # a reading can't tell it any more
        assert len(engine.subscriptions) == 2
        await clock.advance(60)
        assert len(engine.subscriptions) == 2


async def test_one_event_that_the_engine_dropped_is_brought_back(clock: FakeClock) -> None:
    engine = ScriptedEngine(vllm(clock))
    async with working(engine, clock) as watched:
        for _ in range(3):
            await clock.advance(10)
            engine.deaf = True
            engine.say(event(clock, "pause"))
            engine.deaf = False
            await clock.advance(0.01)
            engine.say(event(clock, "unpause"))
        await clock.advance(5)
        story = [kind for kind in watched.kinds() if kind in ("paused", "unpaused")]
        assert sorted(story) == ["paused"] * 3 + ["unpaused"] * 3


async def test_a_runtime_that_is_silent_shows_within_five_seconds_and_so_does_its_return(
    clock: FakeClock,
) -> None:
    engine = ScriptedEngine(vllm(clock))
    async with working(engine, clock) as watched:
        await clock.advance(10)
        engine.refuses = Unavailable("read", "the engine", reason="it did not answer within 1.5 s")
        await clock.advance(5)
        assert watched.status.state is WorkerState.DEGRADED
        assert "did not answer" in watched.status.reason
        assert watched.latest.get() is None
        assert [each.type for each in watched.conditions.active()] == ["container_runtime_silent"]
        await clock.advance(600)
        engine.refuses = None
        engine.shown["c1"] = replace(vllm(clock), state="exited", exit_code=1, health=None)
        await clock.advance(2)
        assert watched.status.state is WorkerState.RUNNING
        assert watched.conditions.active() == ()
        assert watched.states() == {"vllm": "exited"}


async def test_a_reading_that_is_stuck_holds_up_no_event_and_no_other_reading(clock: FakeClock) -> None:
    other = replace(vllm(clock), id="c2", name="llama")
    engine = ScriptedEngine(vllm(clock), other)
    read = engine.container

    async def stuck(identity: str) -> ContainerReading | None:
        if identity == "c1":
            await clock.sleep(10)
            raise Unavailable("read", identity, reason="stuck")
        return await read(identity)

    engine.container = stuck  # type: ignore[method-assign]
    async with working(engine, clock) as watched:
        await clock.advance(3)
        engine.say(event(clock, "update"))
        await settle()
        engine.shown["c2"] = replace(
            other, state="exited", exit_code=0, finished_at=clock.time(), health=None
        )
        engine.say(replace(event(clock, "die", exit_code=0), id="c2", name="llama"))
        await settle()
        assert watched.kinds() == ["watching", "died"]
        assert watched.states()["llama"] == "exited"


async def test_a_reading_that_is_older_than_an_event_is_made_anew(clock: FakeClock) -> None:
    engine = ScriptedEngine(vllm(clock))
    read = engine.container

    async def slow(identity: str) -> ContainerReading | None:
        found = await read(identity)
        await clock.sleep(1)
        return found

    engine.container = slow  # type: ignore[method-assign]
    async with working(engine, clock) as watched:
        await clock.advance(3)
        engine.say(event(clock, "update"))
        await clock.advance(0.5)
        engine.shown["c1"] = replace(engine.shown["c1"], state="exited", exit_code=1, health=None)
        engine.say(event(clock, "die", exit_code=1))
        await clock.advance(3)
        assert watched.kinds() == ["watching", "died"]  # the old reading says that it runs
        assert watched.states() == {"vllm": "exited"}


async def test_events_while_all_containers_are_read_are_told_meanwhile(clock: FakeClock) -> None:
    engine = ScriptedEngine(vllm(clock))
    async with working(engine, clock) as watched:
        await clock.advance(29)
        listing = engine.containers

        async def slow(*, fresh: bool = False) -> RuntimeSnapshot:
            found = await listing(fresh=fresh)
            await clock.sleep(8)
            return found

        engine.containers = slow  # type: ignore[method-assign]
        await clock.advance(2)
        engine.shown["c1"] = replace(engine.shown["c1"], state="exited", exit_code=1, health=None)
        engine.say(event(clock, "die", exit_code=1))
        await settle()
        assert watched.kinds() == ["watching", "died"]
        await clock.advance(20)
        assert watched.kinds() == ["watching", "died"]
        assert watched.states() == {"vllm": "exited"}


def remembering(folder: Path, socket: str = "/run/docker.sock") -> RememberedContainers:
    return RememberedContainers(StateFile(folder / KNOWN, KnownRecords, limit=4 << 20), socket)


async def test_what_changed_while_no_daemon_ran_is_told_once_at_its_start(
    clock: FakeClock, tmp_path: Path
) -> None:
    names = ("died", "restarted", "removed", "sick", "calm", "paused")
    engine = ScriptedEngine(*(replace(vllm(clock), id=f"id-{name}", name=name) for name in names))
    engine.simulated = False
    first = remembering(tmp_path)
    async with working(engine, clock, remembered=first) as watched:
        await clock.advance(40)
        engine.say(replace(event(clock, "update"), id="id-calm", name="calm"))
        await clock.advance(5)
        assert watched.kinds() == ["watching"]  # a first start ever
    first.wait(PATIENCE)
    await clock.advance(3600)
    shown, now = engine.shown, clock.time()
    shown["id-died"] = replace(
        shown["id-died"], state="exited", exit_code=3, health=None, finished_at=now - 60
    )
    shown["id-restarted"] = replace(
        shown["id-restarted"], started_at=now - 50, finished_at=now - 51, restart_count=1
    )
    del shown["id-removed"]
    shown["id-sick"] = replace(shown["id-sick"], health="unhealthy")
    shown["id-paused"] = replace(shown["id-paused"], state="paused", health=None)
    shown["id-new"] = replace(vllm(clock), id="id-new", name="new", started_at=now - 30)
    second = remembering(tmp_path)
    async with working(engine, clock, remembered=second) as watched:
        await clock.advance(1)
        told = sorted((each.subject, each.kind.removeprefix("container.")) for each in watched.said[1:])
        assert watched.kinds()[0] == "watching"
        assert told == [
            ("died", "died"),
            ("new", "appeared"),
            ("new", "healthy"),
            ("new", "started"),
            ("paused", "paused"),
            ("removed", "died"),
            ("removed", "removed"),
            ("restarted", "died"),
            ("restarted", "healthy"),
            ("restarted", "started"),
            ("sick", "unhealthy"),
        ]
        assert all(each.evidence.get("while_down") is True for each in watched.said[1:])
        died = next(each for each in watched.said if each.kind == "container.died" and each.subject == "died")
        assert (died.evidence["exit_code"], died.time) == (3, now - 60)
        await clock.advance(5)
    second.wait(PATIENCE)
    third = remembering(tmp_path)
    async with working(engine, clock, remembered=third) as watched:
        await clock.advance(1)
        assert watched.kinds() == ["watching"]
        engine.say(replace(event(clock, "die", exit_code=4), id="id-calm", name="calm"))
        await settle()
        assert "while_down" not in watched.said[-1].evidence
    third.wait(PATIENCE)


async def test_events_that_the_engine_remembers_tell_of_the_time_without_a_daemon(
    clock: FakeClock, tmp_path: Path
) -> None:
    engine = ScriptedEngine(vllm(clock))
    engine.simulated = False
    first = remembering(tmp_path)
    async with working(engine, clock, remembered=first):
        await clock.advance(5)
    first.wait(PATIENCE)
    await clock.advance(60)
    die, start = event(clock, "die", exit_code=7), replace(event(clock, "start"), time=clock.time() + 0.2)
    engine.shown["c1"] = replace(vllm(clock), started_at=clock.time() + 0.1, health=None)
    engine.on_list = [die, start]
    await clock.advance(60)
    second = remembering(tmp_path)
    async with working(engine, clock, remembered=second) as watched:
        await clock.advance(1)
        assert engine.subscriptions[-1] < die.time
        assert sorted(watched.kinds()) == ["died", "started", "watching"]
        died = next(each for each in watched.said if each.kind == "container.died")
        assert (died.evidence["exit_code"], died.evidence["while_down"]) == (7, True)
    second.wait(PATIENCE)


async def test_what_was_told_just_before_a_daemon_was_killed_is_not_told_again(
    clock: FakeClock, tmp_path: Path
) -> None:
    engine = ScriptedEngine(vllm(clock))
    engine.simulated = False
    first = remembering(tmp_path)
    async with working(engine, clock, remembered=first) as watched:
        await clock.advance(5)
        engine.shown["c1"] = replace(
            engine.shown["c1"], state="exited", exit_code=7, health=None, finished_at=clock.time()
        )
        engine.say(event(clock, "die", exit_code=7))
        await settle()
        assert watched.kinds()[-1] == "died"
        first.wait(PATIENCE)
        on_disk = (tmp_path / KNOWN).read_bytes()
    first.wait(PATIENCE)
    (tmp_path / KNOWN).write_bytes(on_disk)  # one that is killed writes no more
    second = remembering(tmp_path)
    async with working(engine, clock, remembered=second) as watched:
        await clock.advance(1)
        assert watched.kinds() == ["watching"]
    second.wait(PATIENCE)


async def test_what_was_known_of_another_runtime_is_not_compared(clock: FakeClock, tmp_path: Path) -> None:
    engine = ScriptedEngine(vllm(clock))
    engine.simulated = False
    first = remembering(tmp_path)
    async with working(engine, clock, remembered=first):
        await clock.advance(5)
    first.wait(PATIENCE)
    del engine.shown["c1"]
    other = remembering(tmp_path, "/run/podman/podman.sock")
    async with working(engine, clock, remembered=other) as watched:
        await clock.advance(1)
        assert watched.kinds() == ["watching"]
    other.wait(PATIENCE)
    (tmp_path / KNOWN).write_text("{")
    damaged = remembering(tmp_path)
    async with working(engine, clock, remembered=damaged) as watched:
        await clock.advance(1)
        assert watched.kinds() == ["watching"]
    assert (tmp_path / f"{KNOWN}.unreadable").exists()
    damaged.wait(PATIENCE)
