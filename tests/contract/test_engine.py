"""Promises of every Engine, simulated or real."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from aiidpd.components.containers.docker.client import DockerRuntime
from aiidpd.components.containers.runtime import ACTIONS, ContainerRuntime, RuntimeEvent
from aiidpd.components.containers.simulated import SimulatedRuntime
from tests.fakes.clock import FakeClock
from tests.fakes.docker_engine import RealDocker
from tests.fakes.gate import running_gate
from tests.waiting import PATIENCE

STATES = {"created", "running", "paused", "restarting", "removing", "exited", "dead"}


@dataclass
class World:
    """An engine with at least two containers, one of which dies with code 1 when told to."""

    engine: ContainerRuntime
    victim: str
    kill: Callable[[], Awaitable[None]]
    now: Callable[[], float]


@pytest.fixture
async def simulated(clock: FakeClock) -> World:
    engine = SimulatedRuntime(clock)

    async def kill() -> None:
        await clock.advance(94)  # the script: the second one dies at 93 s

    return World(engine, f"{1:064x}", kill, clock.time)


@asynccontextmanager
async def real_world(docker: RealDocker, socket: Path) -> AsyncIterator[World]:
    engine = DockerRuntime(socket)
    await docker.run("bystander")
    wait = "while test ! -f /die; do sleep 0.05; done; exit 1"
    victim = await docker.run("victim", command=("sh", "-c", wait))

    async def kill() -> None:
        await docker.docker("exec", victim, "touch", "/die")

    yield World(engine, victim, kill, time.time)
    await engine.aclose()
    await docker.docker("rm", "-f", docker.name("bystander"), docker.name("victim"))


@pytest.fixture
async def real(docker: RealDocker) -> AsyncIterator[World]:
    async with real_world(docker, docker.socket) as found:
        yield found


@pytest.fixture
async def gated(docker: RealDocker, tmp_path: Path) -> AsyncIterator[World]:
    """The same engine behind the gate, which may act on containers of this test."""
    rules = f'[[containers]]\nname = "{docker.name("*")}"\n'
    with running_gate(docker.socket, tmp_path, rules) as gate:
        async with real_world(docker, gate.socket) as found:
            yield found


DOCKER = pytest.mark.real("docker")


@pytest.fixture(params=["simulated", pytest.param("real", marks=DOCKER), pytest.param("gated", marks=DOCKER)])
def world(request: pytest.FixtureRequest) -> World:
    found: World = request.getfixturevalue(request.param)
    return found


async def until_death(stream: AsyncIterator[RuntimeEvent], victim: str) -> RuntimeEvent:
    with anyio.fail_after(PATIENCE):
        async for event in stream:
            if event.id == victim and event.action == "die":
                return event
    raise AssertionError("the stream ended")


async def test_containers_are_distinct_and_well_formed(world: World) -> None:
    snapshot = await world.engine.containers()
    assert snapshot.simulated == world.engine.simulated
    assert snapshot.version
    assert len(snapshot.containers) >= 2
    assert len({one.id for one in snapshot.containers}) == len(snapshot.containers)
    for one in snapshot.containers:
        assert one.name
        assert not one.name.startswith("/")
        assert one.state in STATES
        assert one.health in (None, "healthy", "unhealthy", "starting")
        assert (one.exit_code is None) == (one.state in ("created", "running", "paused"))
        if one.running:
            assert one.started_at is not None
            assert one.started_at <= world.now()


async def test_one_container_reads_as_it_does_among_all(world: World) -> None:
    among = {one.id: one for one in (await world.engine.containers()).containers}
    assert await world.engine.container(world.victim) == among[world.victim]


async def test_a_container_that_does_not_exist_is_none(world: World) -> None:
    assert await world.engine.container("f" * 64) is None


async def test_a_death_comes_as_event_and_shows_in_the_next_reading(world: World) -> None:
    await world.engine.containers()
    async with world.engine.events(world.now()) as stream, anyio.create_task_group() as group:
        group.start_soon(world.kill)
        event = await until_death(stream, world.victim)
        assert event.action in ACTIONS
        assert event.exit_code == 1
        assert abs(event.time - world.now()) < PATIENCE
    reading = await world.engine.container(world.victim)
    assert reading is not None
    assert not reading.running
    assert reading.exit_code == 1
    assert reading.finished_at is not None
    assert reading.finished_at <= event.time
    listed = (await world.engine.containers()).containers  # not fresh: what changed is seen all the same
    assert reading in listed


async def test_a_stopped_container_has_ended_and_its_end_comes_as_an_event(world: World) -> None:
    await world.engine.containers()
    async with world.engine.events(world.now()) as stream, anyio.create_task_group() as group:
        stopped: list[bool] = []

        async def stop() -> None:
            stopped.append(await world.engine.stop(world.victim, 1.0))

        group.start_soon(stop)
        await until_death(stream, world.victim)
    assert stopped == [True]
    reading = await world.engine.container(world.victim)
    assert reading is not None
    assert reading.state == "exited"
    assert await world.engine.stop(world.victim, 1.0) is False
    assert await world.engine.container(world.victim) == reading


async def test_what_does_not_exist_is_not_stopped(world: World) -> None:
    assert await world.engine.stop("f" * 64, 1.0) is False


async def until_action(stream: AsyncIterator[RuntimeEvent], victim: str, action: str) -> None:
    with anyio.fail_after(PATIENCE):
        async for event in stream:
            if event.id == victim and event.action == action:
                return
    raise AssertionError("the stream ended")


async def test_a_paused_container_stands_still_and_goes_on_in_the_same_run(world: World) -> None:
    await world.engine.containers()
    before = await world.engine.container(world.victim)
    async with world.engine.events(world.now()) as stream, anyio.create_task_group() as group:
        done: list[bool] = []

        async def pause() -> None:
            done.append(await world.engine.pause(world.victim))

        group.start_soon(pause)
        await until_action(stream, world.victim, "pause")
    assert done == [True]
    reading = await world.engine.container(world.victim)
    assert reading is not None
    assert (reading.state, reading.health, reading.running) == ("paused", None, True)
    assert reading in (await world.engine.containers()).containers
    assert await world.engine.pause(world.victim) is False  # somebody paused it already: it is not ours

    assert await world.engine.unpause(world.victim) is True
    assert await world.engine.unpause(world.victim) is False
    after = await world.engine.container(world.victim)
    assert before is not None
    assert after is not None
    assert (after.state, after.started_at) == ("running", before.started_at)


async def test_a_paused_container_can_be_stopped(world: World) -> None:
    assert await world.engine.pause(world.victim) is True
    assert await world.engine.stop(world.victim, 1.0) is True
    reading = await world.engine.container(world.victim)
    assert reading is not None
    assert reading.state == "exited"
    assert await world.engine.pause(world.victim) is False
    assert await world.engine.unpause(world.victim) is False


async def test_what_does_not_exist_is_neither_paused_nor_let_go_on(world: World) -> None:
    assert await world.engine.pause("f" * 64) is False
    assert await world.engine.unpause("f" * 64) is False


async def test_events_of_the_past_are_replayed_from_since(world: World) -> None:
    before = world.now()
    await world.kill()
    async with world.engine.events(before) as stream:
        event = await until_death(stream, world.victim)
    async with world.engine.events(event.time) as stream:
        again = await until_death(stream, world.victim)
    assert again == event  # an event is said again as the same


async def test_what_is_remembered_is_recalled_as_the_stream_brought_it(world: World) -> None:
    before = world.now()
    async with world.engine.events(before) as stream:
        await world.kill()
        event = await until_death(stream, world.victim)
    recalled = await world.engine.recall(before - 0.3, max(world.now(), event.time + 1e-3))
    assert [each for each in recalled if each.id == world.victim and each.action == "die"] == [event]
    assert event not in await world.engine.recall(before - 0.3, before - 0.2)


async def test_a_container_is_found_by_its_whole_name_alone(world: World) -> None:
    reading = await world.engine.container(world.victim)
    assert reading is not None
    assert await world.engine.find(reading.name) == world.victim
    assert await world.engine.find(reading.name[:-1]) is None
    assert await world.engine.find(world.victim[:12]) is None


async def test_closing_twice_is_no_error_and_the_engine_reads_on(world: World) -> None:
    await world.engine.containers()
    await world.engine.aclose()
    await world.engine.aclose()
    assert (await world.engine.containers(fresh=True)).containers
