"""The watcher of containers under faults: by a proxy before a Docker Engine, and of an engine of its own."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest

from aiidpd.kernel.task import WorkerState
from tests.fakes.docker_engine import RealDocker
from tests.fakes.docker_proxy import DockerProxy, burst, chance, docker_proxy
from tests.fakes.own_docker import OwnDocker, own_docker
from tests.fakes.watched import Watched, watching
from tests.forms import short_and_long
from tests.waiting import Stopwatch

pytestmark = pytest.mark.real("docker")

SHOWN_WITHIN = 5.0  # seconds: a stall, a silence


@pytest.fixture
async def proxy(docker: RealDocker, tmp_path: Path) -> AsyncIterator[DockerProxy]:
    async with docker_proxy(docker.socket, tmp_path / "d.sock") as running:
        yield running


@pytest.fixture(scope="module")
def own(missing: Callable[[str, str], None]) -> Iterator[OwnDocker]:
    with own_docker(missing, "--live-restore") as engine:
        yield engine


def silent(watched: Watched) -> bool:
    return watched.wrong("engine") == ["container_runtime_silent"]


async def test_containers_that_end_as_they_start_end_once(docker: RealDocker) -> None:
    names = [docker.name(f"shot{number}") for number in range(12)]
    async with watching(docker.socket, interval=0.3) as watched:
        for number in range(12):
            await docker.run(f"shot{number}", command=("sh", "-c", ":"))
        await watched.wait(lambda: all("died" in watched.of(name) for name in names))
        passes = watched.status.passes
        await watched.wait(lambda: watched.status.passes >= passes + 8)
        for name in names:
            assert watched.of(name) == ["appeared", "started", "died"]
        torn = [event.reason for _, event in watched.said if event.kind == "container.stream_interrupted"]
        # A busy engine may list one before it says so; one that never ends would be torn in each pass.
        assert sum("what a reading found" in reason for reason in torn) < 4, torn


async def test_every_pause_in_quick_succession_is_told(own: OwnDocker) -> None:
    identity = await own.run("pairs")
    async with watching(own.socket, interval=0.3) as watched:
        call = ["curl", "-s", "-X", "POST", "--unix-socket", str(own.socket)]
        for _ in range(30):
            await anyio.run_process([*call, f"http://d/containers/{identity}/pause"])
            await anyio.run_process([*call, f"http://d/containers/{identity}/unpause"])
        await watched.wait(lambda: len(watched.of("pairs")) >= 60)
        passes = watched.status.passes
        await watched.wait(lambda: watched.status.passes >= passes + 2)
        # Now and then the engine itself says one pair twice: its own pause and containerd's report of it.
        past = ("events", "--since", "10m", "--until", f"{time.time():.9f}")
        said = await own.docker(*past, "--filter", "container=pairs", "--format", "{{.Action}}")
        pairs = [f"{each}d" for each in said.split() if each.endswith("pause")]
        assert len(pairs) >= 60
        assert watched.of("pairs") == pairs
    await own.docker("rm", "-f", "pairs")


async def test_a_stalled_stream_shows_within_five_seconds_with_all_that_it_withheld(
    docker: RealDocker, proxy: DockerProxy
) -> None:
    name = docker.name("stalled")
    await docker.run("stalled")
    async with watching(proxy.socket) as watched:
        proxy.stalled_events = True
        await docker.docker("kill", name)
        stopwatch = Stopwatch()
        await watched.wait(lambda: "died" in watched.of(name))
        assert stopwatch.within(SHOWN_WITHIN)
        assert watched.of(name) == ["died"]
        died = next(
            event for _, event in watched.said if (event.kind, event.subject) == ("container.died", name)
        )
        assert (died.evidence["exit_code"], died.evidence["by"]) == (137, "request")
        await watched.wait(lambda: "stream_interrupted" in watched.of("engine"))
        proxy.resume()
        await docker.docker("start", name)
        await watched.until(name, "died", "started")


@pytest.mark.parametrize("fault", ["cut_in_line", "garbage"])
async def test_a_stream_that_breaks_within_an_event_loses_none(
    docker: RealDocker, proxy: DockerProxy, fault: str
) -> None:
    name = docker.name(f"line{fault}")
    await docker.run(f"line{fault}")
    async with watching(proxy.socket) as watched:
        getattr(proxy, fault)()
        await docker.docker("kill", name)
        await watched.until(name, "died")
        await watched.wait(lambda: watched.of("engine").count("stream_interrupted") == 1)
        await docker.docker("start", name)
        await watched.until(name, "died", "started")
        assert watched.status.state is WorkerState.RUNNING


async def test_errors_of_the_engine_degrade_until_they_are_over(
    docker: RealDocker, proxy: DockerProxy
) -> None:
    name = docker.name("refused")
    await docker.run("refused")
    async with watching(proxy.socket, interval=0.5) as watched:
        proxy.failing = 1000
        await watched.wait(lambda: watched.status.state is WorkerState.DEGRADED)
        assert "error 500: injected" in watched.status.reason
        assert watched.latest.get() is None
        await docker.docker("kill", name)
        proxy.failing = 0
        await watched.wait(lambda: watched.state(name) == "exited")
        assert watched.of(name) == ["died"]
        await watched.wait(lambda: watched.status.state is WorkerState.RUNNING)
        assert watched.status.state is WorkerState.RUNNING


async def test_a_socket_that_is_removed_and_back(docker: RealDocker, proxy: DockerProxy) -> None:
    name = docker.name("gone")
    await docker.run("gone")
    async with watching(proxy.socket) as watched:
        await proxy.close()
        proxy.socket.unlink()
        await watched.wait(lambda: watched.status.state is WorkerState.DEGRADED)
        assert "no such socket" in watched.status.reason
        await docker.docker("kill", name)
        await proxy.open()
        back = Stopwatch()
        await watched.wait(lambda: watched.state(name) == "exited")
        assert back.within(4.0)
        assert watched.of(name) == ["died"]


async def test_a_frozen_engine_shows_within_five_seconds_and_so_does_its_return(own: OwnDocker) -> None:
    await own.run("frozen")
    async with watching(own.socket) as watched:
        own.send(signal.SIGSTOP)
        try:
            stopwatch = Stopwatch()
            await watched.wait(lambda: watched.status.state is WorkerState.DEGRADED and silent(watched))
            assert stopwatch.within(SHOWN_WITHIN)
            assert "did not answer within 1.5 s" in watched.status.reason
            assert watched.latest.get() is None
        finally:
            own.send(signal.SIGCONT)
        await own.docker("kill", "frozen")
        await watched.wait(lambda: not silent(watched) and watched.state("frozen") == "exited")
        assert watched.of("frozen") == ["died"]
        await watched.wait(lambda: watched.status.state is WorkerState.RUNNING)
        assert watched.status.state is WorkerState.RUNNING
    await own.docker("rm", "frozen")


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
async def test_containers_that_outlive_their_engine_are_told_of_nothing(
    own: OwnDocker, end: signal.Signals
) -> None:
    await own.run("survivor")
    await own.run("victim")
    pid = await own.docker("inspect", "-f", "{{.State.Pid}}", "victim")
    async with watching(own.socket) as watched:
        own.stop(end)
        await watched.wait(lambda: watched.status.state is WorkerState.DEGRADED)
        await anyio.run_process(["kill", "-9", pid])  # while nobody is there to see it
        await anyio.to_thread.run_sync(own.start)
        await watched.wait(lambda: watched.state("victim") == "exited")
        await watched.wait(lambda: watched.status.state is WorkerState.RUNNING)
        assert watched.status.state is WorkerState.RUNNING
        assert watched.of("survivor") == []
        assert watched.of("victim") == ["died"]
        assert watched.state("survivor") == "running"
    await own.docker("rm", "-f", "survivor", "victim")


# A storm of faults


FORMAT = "{{.Action}} {{.Actor.Attributes.name}}"
KINDS = {
    "create": "appeared",
    "start": "started",
    "die": "died",
    "pause": "paused",
    "unpause": "unpaused",
    "destroy": "removed",
}


@dataclass
class Story:
    """Acts on containers, and the engine's own words about them."""

    docker: OwnDocker
    prefix: str
    numbers: random.Random
    states: dict[str, str] = field(default_factory=dict)
    happened: dict[str, Counter[str]] = field(default_factory=dict)
    made: int = 0
    since: str = field(default_factory=lambda: f"{time.time():.9f}")

    async def act(self) -> None:
        """Do one thing to one of four containers."""
        if len(self.states) < 4:
            name = f"{self.prefix}{self.made}"
            self.made += 1
            await self.docker.run(name)
            self._note(name, "running")
            return
        name = self.numbers.choice(sorted(self.states))
        state, choice = self.states[name], self.numbers.random()
        if state == "paused":
            await self.docker.docker("unpause", name)
            self._note(name, "running")
        elif state == "exited" and choice < 0.3:
            await self.docker.docker("rm", name)
            self._note(name, "")
        elif state == "exited":
            await self.docker.docker("start", name)
            self._note(name, "running")
        elif choice < 0.5:
            await self.docker.docker("pause", name)
            self._note(name, "paused")
        else:
            await self.docker.docker("kill", name)
            self._note(name, "exited")

    async def read(self) -> None:
        """Add what the engine itself says has happened since the last time."""
        now = f"{time.time():.9f}"
        said = await self.docker.docker(
            "events", "--since", self.since, "--until", now, "--filter", "type=container", "--format", FORMAT
        )
        self.since = now
        for line in said.splitlines():
            action, name = line.split()
            if name.startswith(self.prefix) and action in KINDS:
                self.happened.setdefault(name, Counter())[KINDS[action]] += 1

    def _note(self, name: str, state: str) -> None:
        if state:
            self.states[name] = state
        else:
            del self.states[name]


async def injected(proxy: DockerProxy, numbers: random.Random) -> None:
    """Do one fault, which may last for a moment."""
    match numbers.randrange(8):
        case 0:
            proxy.cut()
        case 1:
            proxy.stalled_events = True
            await anyio.sleep(numbers.random())
        case 2:
            proxy.garbage()
        case 3:
            proxy.cut_in_line()
        case 4:
            proxy.drop = chance(numbers.randrange(1000), 0.3)
        case 5:
            proxy.reorder = chance(numbers.randrange(1000), 0.5)
        case 6:
            proxy.failing = numbers.randrange(1, 4)
        case _:
            proxy.delay = 0.05 * numbers.random()


@short_and_long("seed, faults", (1, 20), (2, 60))
async def test_in_a_storm_of_faults_no_transition_is_missed_and_none_is_told_twice(
    own: OwnDocker, tmp_path: Path, seed: int, faults: int
) -> None:
    """The engine remembers 256 events, so what the stream loses is found in its memory, with exit codes."""
    numbers = random.Random(seed)
    story = Story(own, f"storm{seed}-", numbers)
    async with docker_proxy(own.socket, tmp_path / "d.sock") as proxy, watching(proxy.socket) as watched:
        for _ in range(faults):
            await injected(proxy, numbers)
            await story.act()
            await story.read()
            if numbers.random() < 0.4:
                proxy.calm()
        proxy.calm()
        await watched.wait(
            lambda: all(watched.counts(name) == each for name, each in story.happened.items()), 20.0
        )
        for name, happened in story.happened.items():
            assert watched.counts(name) == happened, name
        await watched.wait(
            lambda: all(watched.state(name) == each for name, each in story.states.items()), 20.0
        )
        assert {name: watched.state(name) for name in story.states} == story.states
        ends = [event for _, event in watched.said if event.kind == "container.died"]
        assert {event.evidence["exit_code"] for event in ends} == {137}
    for name in story.states:
        await own.docker("rm", "-f", name)


@short_and_long("seed, bursts", (1, 3), (2, 8))
async def test_what_the_engine_itself_forgot_leaves_the_state_right_and_nothing_twice(
    own: OwnDocker, tmp_path: Path, seed: int, bursts: int
) -> None:
    """Its ring overflowed: a run that began and ended meanwhile can't be known, and no more is claimed."""
    numbers = random.Random(seed)
    story = Story(own, f"forgot{seed}-", numbers)
    async with (
        docker_proxy(own.socket, tmp_path / "d.sock") as proxy,
        watching(proxy.socket, interval=1.0) as watched,
    ):
        for _ in range(bursts):
            proxy.forget = burst(numbers.randrange(1, 8))
            for _ in range(4):
                await story.act()
            await story.read()
        proxy.calm()
        began = time.monotonic()
        await watched.wait(
            lambda: (
                all(watched.state(name) == each for name, each in story.states.items())
                and not any(watched.state(name) for name in story.happened.keys() - story.states.keys())
            )
        )
        assert time.monotonic() - began < 20
        for name, happened in story.happened.items():
            told = watched.counts(name)
            for kind in ("appeared", "started", "died", "removed", "paused"):
                assert told[kind] <= happened[kind], f"{name}: {told} of {happened}"
    for name in story.states:
        await own.docker("rm", "-f", name)
