"""Heals on a scripted runtime: whatever happens at any step, budget and container are safe."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from aiidpd.components.containers.actions import LogTail
from aiidpd.components.containers.heal.protocols import NotRecreated, Recovered
from aiidpd.components.containers.heal.state import HealPhase, Outcome
from aiidpd.components.containers.runtime import ContainerReading
from aiidpd.contracts.containers import Mount
from aiidpd.contracts.engines import EngineState
from aiidpd.contracts.messages import Cure, HealRequested
from aiidpd.kernel.errors import Unavailable
from aiidpd.platform.statefile import StateUnreadable
from tests.fakes.clock import FakeClock
from tests.fakes.engine import ScriptedEngine
from tests.fakes.healing import Healing
from tests.heartbeat import heartbeat
from tests.waiting import PATIENCE

ID = "a" * 64
DOWN = Unavailable("restart a container of", "the engine", reason="it did not answer")
NO_EXIT = Unavailable("kill", "it", reason="tried to kill container, but did not receive an exit event")


class ScriptedActions(ScriptedEngine):
    """Acts on what it shows, unless a test has it fail. ``on_call`` is called before each call."""

    simulated = False

    def __init__(self, clock: FakeClock, *readings: ContainerReading) -> None:
        super().__init__(*readings)
        self.clock = clock
        self.calls: list[str] = []
        self.on_call: Callable[[str], Any] | None = None
        self.fails: dict[str, Unavailable] = {}
        self.loses: dict[str, Unavailable] = {}  # carried out, without an answer
        self.unkillable = False
        self.well = True
        self.running_execs: tuple[Mapping[str, Any], ...] = ()

    async def _called(self, call: str) -> None:
        self.calls.append(call)
        await anyio.lowlevel.checkpoint()
        if self.on_call is not None:
            self.on_call(call)
            await anyio.lowlevel.checkpoint()
        if call in self.fails:
            raise self.fails[call]

    async def container(self, identity: str) -> ContainerReading | None:
        await self._called("container")
        return await super().container(identity)

    async def restart(self, identity: str, grace: float) -> bool:
        del grace
        await self._called("restart")
        if identity not in self.shown:
            return False
        if not self.unkillable:
            self.run(identity)
        if "restart" in self.loses:
            raise self.loses["restart"]
        return True

    def run(self, identity: str) -> None:
        self.shown[identity] = replace(
            self.shown[identity],
            state="running",
            health="healthy" if self.well else "unhealthy",
            started_at=self.clock.time(),
            restart_count=0,
            exit_code=None,
        )

    async def start(self, identity: str) -> bool:
        await self._called("start")
        self.run(identity)
        return True

    async def kill(self, identity: str, signal: str = "KILL") -> bool:
        del signal
        await self._called("kill")
        if not self.unkillable:
            self.shown[identity] = replace(self.shown[identity], state="exited", exit_code=137, health=None)
        return True

    async def describe(self, identity: str) -> Mapping[str, Any] | None:
        await self._called("describe")
        return {"Id": identity} if identity in self.shown else None

    async def execs(self, identity: str) -> tuple[Mapping[str, Any], ...]:
        del identity
        await self._called("execs")
        return self.running_execs

    async def logs(self, identity: str, *, lines: int, since: float = 0.0) -> LogTail | None:
        raise NotImplementedError

    async def rename(self, identity: str, name: str) -> bool:
        raise NotImplementedError

    async def remove(self, identity: str) -> bool:
        raise NotImplementedError

    async def create(self, name: str, body: Mapping[str, Any], *, image: str = "") -> str:
        raise NotImplementedError

    async def connect(self, network: str, identity: str, endpoint: Mapping[str, Any]) -> bool:
        raise NotImplementedError


class House(Healing):
    """A watcher and a healer on a scripted runtime, by a clock that a test moves."""

    def __init__(self, folder: Path, clock: FakeClock, **heal: Any) -> None:
        self.fake = clock
        reading = ContainerReading(
            ID,
            "vllm",
            "image",
            "running",
            "healthy",
            started_at=clock.time() - 1e5,
            labels={"aiidpd.heal": "restart"},
        )
        self.engine = ScriptedActions(clock, reading)
        super().__init__(folder, clock=clock, **({"grace": 30.0} | heal))
        self.runtime = lambda: self.engine
        self.actions = lambda: self.engine

    def sicken(self) -> None:
        self.engine.shown[ID] = replace(self.engine.shown[ID], health="unhealthy")

    async def until(self, holds: Callable[[], Any], seconds: float = PATIENCE, step: float = 0.1) -> Any:
        """Let the clock go on until it ``holds``."""
        threads = anyio.to_thread.current_default_thread_limiter()
        with anyio.move_on_after(seconds):
            while not (found := holds()):
                await anyio.sleep(0.001)
                self.book.file.wait(PATIENCE)
                if not threads.borrowed_tokens:
                    await self.fake.advance(step)
            return found
        told = "\n".join(f"{each.kind} {each.subject}: {each.reason}" for each in self.events)
        raise AssertionError(f"it did not come about\n{told}\n{self.book.decisions}\n{self.engine.calls}")

    async def goes_on(self, seconds: float, step: float = 1.0) -> None:
        end = self.fake.monotonic() + seconds
        await self.until(lambda: self.fake.monotonic() >= end, step=step)

    def outcomes(self) -> list[str]:
        return [str(each.evidence["outcome"]) for each in self.said("heal_ended")]

    def on_disk(self) -> Any:
        return json.loads(self.path.read_text()) if self.path.exists() else None


@pytest.fixture
def house(clock: FakeClock, tmp_path: Path) -> House:
    return House(tmp_path, clock)


async def test_evidence_comes_first_and_the_journal_before_the_act(house: House) -> None:
    seen: list[Any] = []

    def on_call(call: str) -> None:
        if call == "restart":
            (record,) = house.on_disk()["containers"]
            seen.append((record["heal"]["phase"], len(record["heals"]), record["heal"]["incident"]))

    house.engine.on_call = on_call
    async with house.running():
        await house.until(lambda: house.book.observed)
        house.sicken()
        await house.event("heal_ended")
    assert seen == [("acting", 1, "incident-1")]
    assert house.outcomes() == ["healed"]
    assert house.book.tally.heals == {("vllm", "container_unhealthy", "healed"): 1}


@pytest.mark.parametrize("place", range(8))
async def test_a_container_that_is_removed_at_any_call_harms_nothing(house: House, place: int) -> None:
    calls: list[str] = []

    def on_call(call: str) -> None:
        if house.book.state.tracks and any(each.heal for each in house.book.state.tracks.values()):
            calls.append(call)
            if len(calls) == place + 1:
                house.engine.shown.pop(ID, None)

    house.engine.on_call = on_call
    async with house.running():
        await house.until(lambda: house.book.observed)
        house.sicken()
        await house.until(lambda: house.said("heal_ended"))
        await house.goes_on(20)
    assert set(house.outcomes()) <= {"gone", "healed"}
    assert ID in house.engine.shown or house.track("vllm") is None
    assert "start" not in house.engine.calls


@pytest.mark.parametrize("place", range(10))
async def test_a_daemon_that_is_killed_at_any_step_neither_doubles_a_heal_nor_loses_its_budget(
    house: House, place: int
) -> None:
    """The task is cancelled at a call, and the next daemon knows only what is on the disk."""
    calls: list[str] = []
    scope = anyio.CancelScope()

    def on_call(call: str) -> None:
        if any(each.heal for each in house.book.state.tracks.values()):
            calls.append(call)
            if len(calls) == place + 1:
                scope.cancel()

    house.engine.on_call = on_call
    with scope:
        async with anyio.create_task_group() as group:
            group.start_soon(house.watcher().run, heartbeat(house.clock))
            group.start_soon(house.controller().run, heartbeat(house.clock))
            await house.until(lambda: house.book.observed)
            house.sicken()
            await house.until(lambda: house.said("heal_ended"))
            group.cancel_scope.cancel()
    house.book.file.wait(PATIENCE)
    house.engine.on_call = None
    house.anew()
    async with house.running():
        await house.until(lambda: house.track("vllm") and house.said("heal_ended"))
        await house.goes_on(20)
        track = house.track("vllm")
        assert track is not None
        assert len(track.heals) == 1
    assert house.engine.calls.count("restart") <= 2
    assert house.engine.shown[ID].state == "running"
    assert house.engine.shown[ID].health == "healthy"
    assert house.outcomes()[-1] == "healed"


async def test_one_that_we_stopped_and_did_not_start_is_started_by_the_next_daemon(house: House) -> None:
    def on_call(call: str) -> None:
        if call == "restart":
            house.engine.shown[ID] = replace(
                house.engine.shown[ID], state="exited", health=None, exit_code=143
            )
            scope.cancel()

    scope = anyio.CancelScope()
    house.engine.on_call = on_call
    with scope:
        async with house.running():
            await house.until(lambda: house.book.observed)
            house.sicken()
            await house.goes_on(1000)
    house.engine.on_call = None
    house.anew()
    async with house.running():
        await house.event("heal_ended")
    assert house.engine.calls.count("start") == 1
    assert house.outcomes() == ["healed"]


async def test_an_answer_that_is_lost_is_no_second_restart(house: House) -> None:
    house.engine.loses["restart"] = DOWN
    async with house.running():
        await house.until(lambda: house.book.observed)
        house.sicken()
        await house.event("heal_ended")
    assert house.engine.calls.count("restart") == 1
    assert house.outcomes() == ["healed"]


async def test_what_survives_sigkill_is_parked_and_never_tried_again(house: House) -> None:
    house.engine.unkillable = True
    house.engine.fails["restart"] = NO_EXIT
    async with house.running():
        await house.until(lambda: house.book.observed)
        house.sicken()
        await house.event("heal_parked")
        (condition,) = [each for each in house.conditions.active() if each.type == "container_heal_parked"]
        assert "must be rebooted" in condition.reason
        count = len(house.engine.calls)
        await house.goes_on(900)
        assert {*house.engine.calls[count:]} <= {"container"}
    assert house.engine.calls.count("kill") == 1
    assert house.outcomes() == ["failed"]


async def test_a_restart_that_is_refused_has_failed_and_backs_off(house: House) -> None:
    house.engine.fails |= {"restart": DOWN, "kill": DOWN}
    async with house.running():
        await house.until(lambda: house.book.observed)
        house.sicken()
        await house.event("heal_ended")
        house.engine.fails.clear()
        await house.event("heal_ended", count=2)
    assert house.outcomes() == ["failed", "healed"]


async def test_one_that_cannot_be_started_any_more_is_tried_again_within_the_budget(house: House) -> None:
    def on_call(call: str) -> None:
        if call == "restart":
            house.engine.shown[ID] = replace(
                house.engine.shown[ID], state="exited", health=None, exit_code=143
            )

    house.engine.on_call = on_call
    house.engine.fails |= {"restart": DOWN, "start": DOWN}
    async with house.running():
        await house.until(lambda: house.book.observed)
        house.sicken()
        await house.event("heal_ended")
        assert "can't be started" in house.said("heal_ended")[0].reason
        house.engine.on_call = None
        house.engine.fails.clear()
        ended = await house.event("heal_ended", count=2)
        assert ended.evidence["fault"] == "container_not_started"
    assert house.outcomes() == ["failed", "healed"]


async def test_nothing_is_healed_while_the_journal_cannot_be_written(house: House) -> None:
    async with house.running():
        await house.until(lambda: house.book.observed)
        house.path.unlink(missing_ok=True)
        house.path.mkdir()
        house.sicken()
        await house.event("heal_ended")
        assert house.outcomes() == ["deferred"]
        assert "restart" not in house.engine.calls
        await house.until(
            lambda: [each for each in house.conditions.active() if each.type == "container_heal_state"]
        )
        house.path.rmdir()
        await house.event("heal_began")
        track = house.track("vllm")
        assert track is not None
        assert len(track.heals) == 1
        await house.event("heal_ended", count=2)
        assert [each for each in house.conditions.active() if each.type == "container_heal_state"] == []


async def test_an_unreadable_file_is_set_aside(house: House) -> None:
    house.path.write_text("{")
    async with house.running():
        await house.until(lambda: house.book.observed)
        await house.until(lambda: [each for each in house.events if each.kind == "finding.raised"])
    assert house.path.with_name("heals.json.unreadable").exists()


async def test_running_requests_may_end_first_but_not_for_ever(clock: FakeClock, tmp_path: Path) -> None:
    house = House(tmp_path, clock, drain=20.0)
    house.engines = (EngineState("vllm", "m", False, container=ID, requests_running=2),)
    async with house.running():
        await house.until(lambda: house.book.observed)
        began = clock.monotonic()
        house.sicken()
        await house.event("heal_began")
        assert 20 <= clock.monotonic() - began < 23
        await house.event("heal_ended")
        began = clock.monotonic()
        house.sicken()
        await house.until(lambda: len(house.collector.subjects) == 2)
        await house.goes_on(3)
        house.engines = (replace(house.engines[0], requests_running=0),)
        collected = clock.monotonic()
        await house.event("heal_began", count=2)
        assert clock.monotonic() - collected < 2


async def test_one_that_recovers_while_it_drains_is_not_touched(clock: FakeClock, tmp_path: Path) -> None:
    house = House(tmp_path, clock, drain=20.0)
    house.engines = (EngineState("vllm", "m", False, container=ID, requests_running=2),)
    async with house.running():
        await house.until(lambda: house.book.observed)
        house.sicken()
        await house.until(lambda: house.collector.subjects)
        house.engine.shown[ID] = replace(house.engine.shown[ID], health="healthy")
        await house.event("heal_ended")
    assert house.outcomes() == ["recovered"]
    assert "restart" not in house.engine.calls
    assert house.book.tally.heals == {}


async def test_one_failed_probe_is_confirmed_by_the_next(house: House) -> None:
    async with house.running():
        await house.until(lambda: house.book.observed)
        house.engine.shown[ID] = replace(house.engine.shown[ID], health="unhealthy", failing_streak=1)
        await house.event("heal_ended")
        assert house.outcomes() == ["deferred"]
        await house.goes_on(20)
        assert house.outcomes() == ["deferred"], "said once"
        house.engine.shown[ID] = replace(house.engine.shown[ID], failing_streak=2)
        await house.event("heal_began")


async def test_a_command_of_a_person_holds_a_heal_off_and_a_health_check_does_not(house: House) -> None:
    house.engine.shown[ID] = replace(house.engine.shown[ID], execs=1)
    house.engine.running_execs = ({"ProcessConfig": {"entrypoint": "sh", "tty": True}},)
    async with house.running():
        await house.until(lambda: house.book.observed)
        house.sicken()
        ended = await house.event("heal_ended")
        assert ended.reason.endswith("somebody runs a command in it (sh)")
        house.engine.running_execs = ()
        await house.event("heal_began")


async def test_what_cannot_be_created_anew_faithfully_is_parked_with_the_way_out(house: House) -> None:
    house.engine.shown[ID] = replace(house.engine.shown[ID], labels={"aiidpd.heal": "recreate"})
    async with house.running():
        await house.until(lambda: house.book.observed)
        house.messages.send(requested(Cure.RECREATE))
        await house.event("heal_parked")
        (condition,) = [each for each in house.conditions.active() if each.type == "container_heal_parked"]
        assert "it has a secret" in condition.reason
        assert condition.remedy == "use compose"
    assert house.on_disk()["containers"][0]["heals"] == [], "nothing was touched"


async def test_one_that_is_created_anew_goes_on_under_its_new_id(house: House) -> None:
    new = "b" * 64
    house.engine.shown[ID] = replace(house.engine.shown[ID], labels={"aiidpd.heal": "recreate"})

    async def made(identity: str) -> str:
        old = house.engine.shown.pop(identity)
        house.engine.shown[new] = replace(old, id=new, started_at=house.clock.time())
        return new

    house.recreator.refusal, house.recreator.made = None, made
    async with house.running():
        await house.until(lambda: house.book.observed)
        house.messages.send(requested(Cure.RECREATE))
        await house.event("heal_ended")
        assert house.outcomes() == ["healed"]
        assert house.book.state.tracks.keys() == {new}


async def test_one_whose_creation_anew_was_cut_short_is_finished_before_anything_else_is_done(
    house: House,
) -> None:
    new = "b" * 64
    house.engine.shown[ID] = replace(house.engine.shown[ID], labels={"aiidpd.heal": "recreate"})

    async def cut_short(_: str) -> str:
        raise DOWN

    house.recreator.refusal, house.recreator.made = None, cut_short
    waits = Recovered("vllm", ID, recreated=False, problem="the runtime is away", pending=True)
    house.recreator.left = [waits, waits, Recovered("vllm", new, recreated=True)]
    recover = house.recreator.recover

    async def recovers() -> tuple[Recovered, ...]:
        found = await recover()
        if found and found[0].recreated:
            old = house.engine.shown.pop(ID)
            house.engine.shown[new] = replace(old, id=new, started_at=house.clock.time())
        return found

    house.recreator.recover = recovers  # type: ignore[method-assign]
    async with house.running():
        await house.until(lambda: house.book.observed)
        house.messages.send(requested(Cure.RECREATE))
        await house.event("heal_ended")
    assert house.outcomes() == ["healed"]
    (recovered,) = [each for each in house.events if each.kind == "container.recreation_recovered"]
    assert recovered.reason.endswith("the new container has its place")
    assert "restart" not in house.engine.calls
    assert "start" not in house.engine.calls


async def test_a_journal_of_re_creations_that_cannot_be_read_is_a_condition_and_heals_go_on(
    house: House,
) -> None:
    house.recreator.left = [StateUnreadable("use", "recreations.json", reason="it is no JSON document")]
    async with house.running():
        await house.until(lambda: house.book.observed)
        house.sicken()
        await house.event("heal_ended")
        assert any(each.subject == "recreations.json" for each in house.conditions.active())
    assert house.outcomes() == ["healed"]


async def test_nothing_is_healed_while_a_backup_reads_what_it_has_mounted_but_for_an_hour_at_most(
    house: House,
) -> None:
    house.engine.shown[ID] = replace(house.engine.shown[ID], mounts=(Mount("/srv/models"),))
    house.backup = "/srv"
    async with house.running():
        await house.until(lambda: house.book.observed)
        house.sicken()
        await house.goes_on(300.0)
        assert [each.reason for each in house.book.decisions] == ["a backup reads what it has mounted"]
        house.backup = ""
        await house.event("heal_began")
        house.engine.shown[ID] = replace(
            house.engine.shown[ID], mounts=(Mount("/srv/models"), Mount("/other"))
        )
        house.backup = "/elsewhere"
        await house.event("heal_ended")
        house.backup = "/srv/models/qwen"
        house.sicken()
        await house.goes_on(3000.0, step=15.0)
        assert len(house.said("heal_began")) == 1
        await house.goes_on(1000.0, step=15.0)
        assert len(house.said("heal_began")) == 2


async def test_the_two_of_a_container_amid_its_creation_anew_are_not_healed(house: House) -> None:
    copy = replace(house.engine.shown[ID], id="c" * 64, name="vllm-aiidpd-new-1a2b3c", health="unhealthy")
    house.engine.shown[copy.id] = copy
    async with house.running():
        await house.until(lambda: house.book.observed)
        await house.goes_on(600.0)
    assert house.said("heal_began") == []
    assert [each.name for each in house.book.decisions] == ["vllm"]


async def test_a_restart_that_did_not_help_is_no_reason_to_lose_what_cannot_be_made_again(
    house: House,
) -> None:
    house.engine.shown[ID] = replace(house.engine.shown[ID], labels={"aiidpd.heal": "recreate"})
    house.engine.well = False
    house.recreator.refusal = NotRecreated("it has a secret")
    async with house.running():
        await house.until(lambda: house.book.observed)
        house.sicken()
        await house.event("heal_began", count=2)
    assert [each.evidence["cure"] for each in house.said("heal_began")] == ["restart", "restart"]


def requested(cure: Cure = Cure.RESTART, **more: Any) -> HealRequested:
    given = {"container": ID, "name": "vllm", "fault": "engine_hung", "hold_seconds": 60.0} | more
    return HealRequested(reason="no token for 10 minutes", cure=cure, **given)


async def test_a_request_about_what_is_made_up_heals_nothing_real(house: House) -> None:
    async with house.running():
        await house.until(lambda: house.book.observed)
        house.messages.send(requested(simulated=True))
        await house.goes_on(10)
        assert house.said("heal_began") == []
        house.messages.send(requested(hold_seconds=0.0))
        await house.goes_on(10)
        assert house.said("heal_began") == [], "a request that is over"
        house.messages.send(requested())
        await house.event("heal_began")


async def test_an_act_is_finished_when_the_runtime_answers_again(house: House) -> None:
    house.engine.loses["restart"] = DOWN

    def on_call(call: str) -> None:
        if call == "restart":
            house.engine.refuses = DOWN

    house.engine.on_call = on_call
    async with house.running():
        await house.until(lambda: house.book.observed)
        house.sicken()
        await house.event("heal_began")
        await house.goes_on(100)
        track = house.track("vllm")
        assert track is not None
        assert track.heal is not None
        assert track.heal.phase is HealPhase.ACTING
        house.engine.refuses = None
        await house.event("heal_ended")
    assert house.outcomes() == [Outcome.HEALED]
