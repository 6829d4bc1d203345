"""The containers worker on a real Docker Engine, and on one that a proxy makes fail."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from aiidpd.components.containers.docker.client import DockerRuntime
from aiidpd.kernel.task import WorkerState
from tests.fakes.docker_engine import RealDocker
from tests.fakes.docker_proxy import DockerProxy, docker_proxy
from tests.fakes.watched import watching
from tests.waiting import PATIENCE, Stopwatch

pytestmark = pytest.mark.real("docker")

# Seconds that an event may take to us on a busy machine: it came by itself, since the next look is far away.
SOON = 60.0
SICK_ON_DEMAND = ("--health-cmd", "test ! -f /sick", "--health-interval", "0.3s", "--health-retries", "1")


@pytest.fixture
async def proxy(docker: RealDocker, tmp_path: Path) -> AsyncIterator[DockerProxy]:
    async with docker_proxy(docker.socket, tmp_path / "d.sock") as running:
        yield running


async def test_a_life_from_creation_to_removal_is_told_as_it_happens(docker: RealDocker) -> None:
    name = docker.name("life")
    async with watching(docker.socket) as watched:
        await docker.run("life", *SICK_ON_DEMAND, "--restart", "on-failure:1")
        story = ["appeared", "started", "healthy"]
        await watched.until(name, *story)
        await docker.docker("exec", name, "touch", "/sick")
        story.append("unhealthy")
        assert watched.lag(await watched.until(name, *story)) < SOON
        await watched.wait(lambda: watched.wrong(name) == ["container_unhealthy"])
        await docker.docker("exec", name, "rm", "/sick")
        story.append("healthy")
        await watched.until(name, *story)
        await watched.wait(lambda: watched.wrong(name) == [])
        await docker.docker("pause", name)
        await watched.until(name, *story, "paused")
        await watched.wait(lambda: watched.state(name) == "paused")  # the event comes first, then the reading
        assert watched.state(name) == "paused"
        await docker.docker("unpause", name)
        # Docker suspends the check with the container and calls it unhealthy meanwhile: no news.
        story += ["paused", "unpaused"]
        await watched.until(name, *story)
        await docker.docker("kill", name)
        story.append("died")
        died = await watched.until(name, *story)
        assert watched.lag(died) < SOON
        assert (died.evidence["exit_code"], died.evidence["asked_signal"]) == (137, "9")
        assert died.evidence["oom_claimed"] is False
        await watched.wait(lambda: watched.state(name) == "exited")
        assert watched.state(name) == "exited"
        await docker.docker("rm", name)
        await watched.until(name, *story, "removed")
        await watched.wait(lambda: watched.state(name) is None)
        assert watched.state(name) is None
        assert watched.status.state is WorkerState.RUNNING


async def test_a_restart_loop_is_a_condition_for_this_daemon_and_for_the_next(docker: RealDocker) -> None:
    name = docker.name("again")
    async with watching(docker.socket, interval=0.5) as watched:
        await docker.run("again", "--restart", "always", command=("sh", "-c", "sleep 0.2; exit 3"))
        await watched.wait(lambda: watched.wrong(name) == ["container_restart_loop"])
    restarts = 0
    while restarts < 5:  # Docker then waits for seconds before each restart
        restarts = int(await docker.docker("inspect", "-f", "{{.RestartCount}}", name))
    async with watching(docker.socket, interval=0.5) as watched:
        await watched.wait(lambda: watched.wrong(name) == ["container_restart_loop"])
        await docker.docker("rm", "-f", name)
        await watched.wait(lambda: watched.wrong(name) == [])


async def test_docker_s_own_restarts_are_told_with_the_code_of_each_end(docker: RealDocker) -> None:
    name = docker.name("loop")
    async with watching(docker.socket) as watched:
        command = ("sh", "-c", "sleep 0.2; exit 3")
        await docker.run("loop", "--restart", "on-failure:2", command=command)
        cycle = ["started", "died"]
        await watched.until(name, "appeared", *cycle, *cycle, *cycle, "restart_loop")
        ends = [one for _, one in watched.said if one.kind == "container.died" and one.subject == name]
        codes = [one.evidence["exit_code"] for one in ends]
        assert codes == [3, 3, 3]


async def test_a_kill_for_memory_is_told_once_if_the_engine_tells_it(docker: RealDocker) -> None:
    """An engine on cgroup v1 tells of it before or after the end, or misses what the kernel says."""
    name = docker.name("oom")
    async with watching(docker.socket) as watched:
        hungry = ("dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1")
        await docker.run("oom", "--memory", "8m", "--memory-swap", "8m", command=hungry)
        await watched.wait(lambda: "died" in watched.of(name))
        # Until a moment to come: the engine's own list then holds what it told late, and so must ours.
        until = str(int(time.time()) + 2)
        filters = ("--since", "10m", "--until", until, "--filter", f"container={name}")
        actions = (await docker.docker("events", *filters, "--format", "{{.Action}}")).split()
        known = ["oom_killed"] if "oom" in actions or "oom_killed" in watched.of(name) else []
        await watched.wait(lambda: len(watched.of(name)) >= 3 + len(known))
        assert watched.of(name)[:2] == ["appeared", "started"]
        assert sorted(watched.of(name)[2:]) == ["died", *known]
        died = next(one for _, one in watched.said if one.kind == "container.died" and one.subject == name)
        assert died.evidence["exit_code"] == 137
        # Where the engine says nothing before the end, the count of the kernel alone proves nothing.
        assert died.evidence["by"] == ("kernel" if died.evidence["oom_claimed"] else "unknown")


async def test_what_happened_while_the_stream_was_cut_is_found(
    docker: RealDocker, proxy: DockerProxy
) -> None:
    name = docker.name("cut")
    await docker.run("cut", *SICK_ON_DEMAND)
    async with watching(proxy.socket) as watched:
        before = len(watched.of(name))
        await proxy.close()
        await docker.docker("kill", name)
        await docker.docker("start", name)
        await docker.docker("exec", name, "touch", "/sick")
        await watched.wait(lambda: watched.status.state is WorkerState.DEGRADED)
        assert watched.status.state is WorkerState.DEGRADED
        assert "nothing listens on the socket" in watched.status.reason
        assert watched.latest.get() is None
        await proxy.open()
        await watched.wait(lambda: "unhealthy" in watched.of(name))
        story = [kind for kind in watched.of(name)[before:] if kind not in ("healthy", "unhealthy")]
        assert story == ["died", "started"]
        died = next(one for _, one in watched.said if one.kind == "container.died" and one.subject == name)
        assert died.evidence["exit_code"] == 137  # replayed: a reading can't tell it any more
        await watched.wait(lambda: watched.status.state is WorkerState.RUNNING)
        assert watched.status.state is WorkerState.RUNNING


async def test_a_stream_that_breaks_is_open_again_within_a_second(
    docker: RealDocker, proxy: DockerProxy
) -> None:
    name = docker.name("broken")
    await docker.run("broken")
    async with watching(proxy.socket) as watched:
        for _ in range(3):
            proxy.cut()
            await anyio.sleep(0.05)
        await anyio.sleep(1.0)
        await docker.docker("kill", name)
        assert watched.lag(await watched.until(name, "died")) < SOON
        assert watched.of("engine").count("stream_interrupted") >= 1


async def test_a_hung_engine_degrades_the_worker_within_its_deadline(
    docker: RealDocker, proxy: DockerProxy
) -> None:
    name = docker.name("hung")
    await docker.run("hung")
    async with watching(proxy.socket, interval=0.5, call_timeout=1.0) as watched:
        proxy.stall()
        stopwatch = Stopwatch()
        await watched.wait(lambda: watched.status.state is WorkerState.DEGRADED)
        assert watched.status.state is WorkerState.DEGRADED
        assert stopwatch.within(0.5 + 1.0 + 1.5)  # interval, deadline, and a spare second
        assert "it did not answer within 1 s" in watched.status.reason
        assert watched.latest.get() is None
        await docker.docker("kill", name)
        proxy.resume()
        died = await watched.until(name, "died")
        assert died.evidence["exit_code"] == 137
        await watched.wait(lambda: watched.status.state is WorkerState.RUNNING)
        assert watched.status.state is WorkerState.RUNNING


async def test_one_stuck_container_does_not_hide_the_others(docker: RealDocker, proxy: DockerProxy) -> None:
    stuck, well = docker.name("stuck"), docker.name("well")
    identity = await docker.run("stuck")
    await docker.run("well")
    proxy.stalled_paths.add(identity)
    async with watching(proxy.socket, call_timeout=5.0) as watched:
        assert watched.status.state is WorkerState.DEGRADED
        assert f"cannot read container {stuck}" in watched.status.reason
        assert watched.state(well) == "running"
        assert watched.state(stuck) is None
        await docker.docker("kill", well)
        assert watched.lag(await watched.until(well, "died")) < SOON


async def test_a_slow_engine_is_only_slow(docker: RealDocker, proxy: DockerProxy) -> None:
    name = docker.name("slow")
    await docker.run("slow")
    proxy.delay = 0.1
    async with watching(proxy.socket) as watched:
        assert watched.status.state is WorkerState.RUNNING
        await docker.docker("kill", name)
        assert watched.lag(await watched.until(name, "died")) < SOON


async def test_a_quiet_engine_is_listed_and_not_read_again(docker: RealDocker, proxy: DockerProxy) -> None:
    for number in range(3):
        await docker.run(f"quiet{number}")
    engine = DockerRuntime(proxy.socket)
    first = await engine.containers()
    assert sum("/containers/" in one and "/containers/json" not in one for one in proxy.requests) >= 3
    stopped = time.monotonic()
    while time.monotonic() - stopped < 3 * PATIENCE:
        # The age of a new container is part of its summary and moves every second.
        proxy.requests.clear()
        again = await engine.containers()
        if len(proxy.requests) == 1:
            break
    mine = {docker.name(f"quiet{number}") for number in range(3)}
    assert [one for one in again.containers if one.name in mine] == [
        one for one in first.containers if one.name in mine
    ]
    assert len(proxy.requests) == 1
    await engine.aclose()
