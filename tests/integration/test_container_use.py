"""Use by containers, read of real ones: CPU, memory, out of memory, frozen, gone."""

from __future__ import annotations

import time
from collections.abc import Callable

import anyio
import pytest

from aiidpd.components.containers.docker.client import DockerRuntime
from aiidpd.components.containers.runtime import RuntimeSnapshot
from aiidpd.components.containers.settings import UsageSettings
from aiidpd.components.containers.usage.memory import UseMemory
from aiidpd.components.containers.usage.reader import Target, UseReader
from aiidpd.components.containers.usage.worker import UseWorker
from aiidpd.contracts.containers import ContainerUse
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock import SystemClock
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.latest import Latest
from tests.fakes.docker_engine import RealDocker
from tests.heartbeat import heartbeat
from tests.waiting import eventually

pytestmark = pytest.mark.real("docker")
BALLAST_BYTES = 24 << 20
BALLAST = f"x=$(dd if=/dev/zero bs=1024 count={BALLAST_BYTES >> 10} | /bin/busybox tr '\\0' x); sleep 600; :"


class Watched:
    """A container that is read anew each time."""

    def __init__(self, docker: RealDocker, identity: str) -> None:
        self.docker, self.id, self.pid = docker, identity, 0
        self.reader = UseReader()

    async def read(self) -> ContainerUse | None:
        if not self.pid:
            self.pid = int(await self.docker.docker("inspect", "--format", "{{.State.Pid}}", self.id))
        found = self.reader.read([Target(self.id, self.pid)], time.monotonic())
        return found[self.id].use if found else None

    async def until(self, holds: Callable[[ContainerUse], bool]) -> ContainerUse:
        found = await eventually(self.read, lambda use: use is not None and holds(use))
        assert found is not None
        return found


async def test_a_busy_loop_shows_as_cpu_and_an_idle_container_as_none(docker: RealDocker) -> None:
    busy = Watched(docker, await docker.run("busy", command=("sh", "-c", "while :; do :; done")))
    idle = Watched(docker, await docker.run("idle"))
    first = await idle.until(lambda use: len(use.pids) == 2)  # docker-init and what it started
    use = await busy.until(lambda use: (use.cpu_seconds or 0.0) > 0.5)
    assert len(use.pids) == 2
    assert use.blocked == frozenset()
    later = await idle.until(lambda use: use.read > first.read)
    assert first.cpu_seconds is not None
    assert later.cpu_seconds is not None
    assert later.cpu_seconds - first.cpu_seconds < 0.05


async def test_memory_and_its_limit(docker: RealDocker) -> None:
    options = ("--memory", "256m", "--memory-swap", "256m")
    one = Watched(docker, await docker.run("ballast", *options, command=("sh", "-c", BALLAST)))
    use = await one.until(lambda use: (use.memory_bytes or 0) > BALLAST_BYTES)
    assert use.memory_limit_bytes == 256 << 20
    assert use.oom_kills == 0


async def test_a_kill_for_memory_is_counted(docker: RealDocker) -> None:
    hungry = f"while :; do (y=; {BALLAST.replace('sleep 600', ':')}); sleep 1; done"
    options = ("--memory", "16m", "--memory-swap", "16m")
    one = Watched(docker, await docker.run("hungry", *options, command=("sh", "-c", hungry)))
    use = await one.until(lambda use: (use.oom_kills or 0) > 0)
    assert use.pids


async def test_a_paused_container_is_frozen_and_one_that_ended_is_gone(docker: RealDocker) -> None:
    one = Watched(docker, await docker.run("freezes"))
    await one.until(lambda use: not use.frozen)
    await docker.docker("pause", one.id)
    use = await one.until(lambda use: use.frozen)
    assert use.blocked == frozenset()
    await docker.docker("unpause", one.id)
    await one.until(lambda use: not use.frozen)
    await docker.docker("rm", "-f", one.id)
    await eventually(one.read, lambda use: use is None)
    assert one.reader.left(frozenset()) == ()


async def test_block_io_of_a_container_is_known(docker: RealDocker) -> None:
    writes = "dd if=/dev/zero of=/file bs=1048576 count=8 conv=fsync; sleep 600"
    one = Watched(docker, await docker.run("writes", command=("sh", "-c", writes)))
    use = await one.until(lambda use: use.written_bytes is not None)
    assert use.read_bytes is not None


async def test_the_task_shows_every_running_container_of_the_engine(docker: RealDocker) -> None:
    running = {await docker.run("one"), await docker.run("two")}
    ended = await docker.run("ended", command=("test", "1"))
    await docker.docker("wait", ended)
    clock = SystemClock()
    latest: Latest[RuntimeSnapshot] = Latest(clock, 600.0)
    memory = UseMemory(clock)
    conditions = Conditions(clock, EventBus())
    runtime = DockerRuntime(docker.socket)
    latest.put(await runtime.containers())
    await runtime.aclose()
    worker = UseWorker(memory, latest, UsageSettings(), conditions=conditions, clock=clock)

    async def shown() -> set[str]:
        reading = memory.latest.get()
        return set(reading.value.by_id) if reading is not None else set()

    async with anyio.create_task_group() as group:
        group.start_soon(worker.run, heartbeat(clock))
        found = await eventually(shown, lambda ids: running <= ids)
        assert all(memory.oom_kills(identity, clock.time() - 60.0) == 0 for identity in running)
        group.cancel_scope.cancel()
    assert ended not in found
