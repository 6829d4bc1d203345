"""The last rung of the governor's ladder in the whole: a real container is paused, and always goes on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from aiidpd.components.containers.docker.client import DockerRuntime
from aiidpd.components.containers.pause.controller import PauseController, Pauses
from aiidpd.components.containers.pause.events import PausePublisher
from aiidpd.components.containers.pause.journal import NAME, PauseJournal
from aiidpd.components.containers.settings import PauseSettings
from aiidpd.contracts.messages import BackOffEnded, BackOffMessage, BackOffRequested
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock import SystemClock
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.events import Event
from aiidpd.kernel.inbox import Messages
from aiidpd.kernel.publisher import Publisher
from tests.fakes.docker_engine import RealDocker
from tests.fakes.docker_proxy import DockerProxy, docker_proxy
from tests.fakes.nvml import FakeNvml, shape
from tests.forms import short_and_long
from tests.heartbeat import heartbeat
from tests.integration.test_emergency import Daemon
from tests.tables import made
from tests.waiting import PATIENCE

pytestmark = [pytest.mark.real("docker"), pytest.mark.real("gcc")]

LANES = 4
CONFIG = """\
[daemon]
state_directory = "{folder}/state"
runtime_directory = "{folder}/run"

[gpu.governor]
mode = "{governor}"
power_floor_percent = 100
lock_clocks = false
recovery = "1s"
back_off_containers = [{names}]

[containers]
socket = "{socket}"

[telemetry]
listen = ""

[control]
group = ""
"""


class Site:
    """A daemon on a fake card, a container that it may pause, and one that a person has paused."""

    def __init__(self, folder: Path, fake: FakeNvml, docker: RealDocker) -> None:
        self.folder, self.fake, self.docker = folder, fake, docker
        self.socket = docker.socket
        self.victim, self.bystander = docker.name("victim"), docker.name("bystander")
        self.lease = folder / "state" / NAME

    def configure(self, governor: str = "on", *names: str) -> str:
        quoted = ", ".join(f'"{name}"' for name in names or (self.victim, self.bystander))
        config = CONFIG.format(folder=self.folder, governor=governor, names=quoted, socket=self.socket)
        (self.folder / "aiidpd.toml").write_text(config)
        return config

    def heat(self, margin: int) -> None:
        limits = dict.fromkeys(("power_limit_milliwatts", "field__190", "field__192"), 300_000)
        self.fake.install(shape("rtx_5070_ti", margin=margin, **limits))

    async def state(self, name: str) -> str:
        return await self.docker.docker("inspect", "-f", "{{.State.Status}}", name)

    async def until(self, name: str, state: str) -> None:
        with anyio.fail_after(PATIENCE):
            while await self.state(name) != state:  # noqa: ASYNC110 -- another process brings it about
                await anyio.sleep(0.05)

    async def hot(self) -> Daemon:
        """Return a daemon that has paused the victim."""
        self.heat(margin=0)
        daemon = Daemon(self.folder, self.configure(), self.fake)
        try:
            await anyio.to_thread.run_sync(daemon.event, "container.paused", self.victim)
            assert await self.state(self.victim) == "paused"
        except BaseException:
            kill(daemon)  # whoever asked for it never gets it
            raise
        return daemon

    async def all_is_as_it_was(self) -> None:
        await self.until(self.victim, "running")
        with anyio.fail_after(PATIENCE):
            while self.lease.exists():  # noqa: ASYNC110 -- another process removes it
                await anyio.sleep(0.05)
        assert await self.state(self.bystander) == "paused"

    async def command(self, *options: str) -> subprocess.CompletedProcess[str]:
        arguments = ["restore-gpus", "--config", str(self.folder / "aiidpd.toml"), *options]

        def run() -> subprocess.CompletedProcess[str]:
            command = [sys.executable, "-m", "aiidpd", *arguments]
            return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)

        return await anyio.to_thread.run_sync(run)


@pytest.fixture
async def site(tmp_path: Path, fake_nvml: FakeNvml, docker: RealDocker) -> AsyncIterator[Site]:
    site = Site(tmp_path, fake_nvml, docker)
    await docker.run("victim", "--health-cmd", "true", "--health-interval", "0.3s", "--health-retries", "1")
    await docker.run("bystander")
    await docker.docker("pause", site.bystander)
    yield site
    await docker.docker("rm", "-f", site.victim, site.bystander)


def kill(daemon: Daemon) -> None:
    daemon.process.kill()
    daemon.process.wait()


async def test_a_hot_gpu_pauses_a_real_container_and_a_cool_one_lets_it_go_on(site: Site) -> None:
    daemon = await site.hot()
    try:
        told = await anyio.to_thread.run_sync(daemon.event, "container.paused", site.victim)
        assert (told["subject"], told["evidence"]["by"]) == (site.victim, "aiidpd")
        assert "GPU 0 is hot" in told["reason"]

        def condition(document: Any) -> Any:
            return next((one for one in document["conditions"] if one["type"] == "container_paused"), None)

        found = await anyio.to_thread.run_sync(daemon.until, "/v1/status", condition)
        assert found["subject"] == site.victim
        assert "paused by aiidpd because GPU 0 is hot; until" in found["reason"]

        def shown(document: Any) -> Any:
            return next((one for one in document["containers"] if one["pause"]), None)

        container = await anyio.to_thread.run_sync(daemon.until, "/v1/containers", shown)
        assert (container["name"], container["state"], container["health"]) == (site.victim, "paused", None)
        table = await anyio.to_thread.run_sync(daemon.ctl, "containers")
        assert f"{site.victim}: paused by aiidpd because GPU 0 is hot; until" in table

        site.heat(margin=40)
        await site.all_is_as_it_was()
        told = await anyio.to_thread.run_sync(daemon.event, "container.unpaused", site.victim)
        assert "nobody asks for it any more" in told["reason"]
        said = await anyio.to_thread.run_sync(
            daemon.ctl, "events", "--json", "--kind", "container.", "--limit", "1000"
        )
        kinds = [event["kind"] for event in json.loads(said)["events"] if event["subject"] == site.victim]
        assert kinds.count("container.paused") == 1, "it is told once"
        assert "container.unhealthy" not in kinds
        await anyio.to_thread.run_sync(daemon.end)
    finally:
        kill(daemon)


async def test_a_stop_lets_it_go_on(site: Site) -> None:
    daemon = await site.hot()
    await anyio.to_thread.run_sync(daemon.end)
    await site.all_is_as_it_was()


async def test_after_kill_9_the_command_lets_it_go_on(site: Site) -> None:
    kill(await site.hot())
    assert await site.state(site.victim) == "paused"
    done = await site.command()
    assert done.returncode == 0, done.stderr
    assert f"container {site.victim}: it runs again" in done.stderr
    await site.all_is_as_it_was()
    assert (await site.command()).stderr == ""


async def test_after_kill_9_it_goes_on_with_a_broken_configuration_too(site: Site) -> None:
    kill(await site.hot())
    config = site.folder / "aiidpd.toml"
    broken = config.read_text().replace(f'socket = "{site.socket}"', "socket = nowhere")
    config.write_text(broken)
    done = await site.command()
    assert done.returncode == 0, done.stderr
    assert str(config) in done.stderr
    assert f"container {site.victim}: it runs again" in done.stderr
    await site.all_is_as_it_was()


async def test_without_any_configuration_the_lease_says_where_the_engine_is(
    site: Site, proxy: DockerProxy
) -> None:
    site.socket = proxy.socket
    kill(await site.hot())
    (site.folder / "aiidpd.toml").unlink()
    proxy.requests.clear()
    done = await site.command("--state-directory", str(site.folder / "state"))
    assert done.returncode == 0, done.stderr
    assert any("/unpause" in request for request in proxy.requests)
    await site.all_is_as_it_was()


async def test_after_kill_9_the_next_start_lets_it_go_on_with_the_governor_off_too(site: Site) -> None:
    kill(await site.hot())
    daemon = Daemon(site.folder, site.configure("off"), site.fake)
    try:
        await site.all_is_as_it_was()
    finally:
        kill(daemon)


async def test_a_reload_that_no_longer_names_it_lets_it_go_on(site: Site) -> None:
    daemon = await site.hot()
    try:
        site.configure("on", site.bystander)
        daemon.process.send_signal(signal.SIGHUP)
        await site.all_is_as_it_was()
        assert daemon.process.poll() is None
    finally:
        kill(daemon)


async def test_a_dry_run_pauses_nothing(site: Site) -> None:
    site.heat(margin=0)
    daemon = Daemon(site.folder, site.configure("dry-run"), site.fake)
    try:

        def at_the_end(document: Any) -> Any:
            return any(one["evidence"]["back_off"] for one in document["events"])

        await anyio.to_thread.run_sync(daemon.until, "/v1/events?kind=gpu.governor_acted", at_the_end)
        await anyio.to_thread.run_sync(daemon.end)
        events = [await site.state(site.victim), site.lease.exists()]
        assert events == ["running", False]
    finally:
        kill(daemon)


class Pausing:
    """A pauser in this process, on an engine behind a proxy."""

    def __init__(self, socket: Path, folder: Path, name: str) -> None:
        self.bus, self.clock = EventBus(), SystemClock()
        self.events: list[Event] = []
        self.bus.attach(events=self.events.append)
        self.lease = folder / NAME
        self.name = name
        self._messages = Messages(self.clock)
        self._pauses = Pauses(self.clock, self._messages.inbox(BackOffMessage))
        self._socket = socket

    def pauser(self) -> PauseController:
        conditions = Conditions(self.clock, self.bus)
        return PauseController(
            DockerRuntime(self._socket, call_timeout=1.0),
            PauseJournal(self.lease),
            pauses=self._pauses,
            publisher=PausePublisher(
                self._pauses.tally,
                Publisher(self.bus, self.clock, "containers"),
                conditions,
                self.clock,
                simulated=False,
            ),
            clock=self.clock,
            settings=made(PauseSettings, rest=0.5),
            settle=1.0,
        )

    def ask(self) -> None:
        self._messages.send(
            BackOffRequested(
                reason="it is hot", gpu="GPU", label="GPU 0", hold_seconds=600.0, containers=(self.name,)
            )
        )

    def end_ask(self) -> None:
        self._messages.send(BackOffEnded(reason="it is cool", gpu="GPU"))

    async def told(self, kind: str) -> Event:
        with anyio.fail_after(PATIENCE):
            while True:
                for event in self.events:
                    if event.kind == f"container.{kind}":
                        return event
                await anyio.sleep(0.02)


@pytest.fixture
async def proxy(docker: RealDocker, tmp_path: Path) -> AsyncIterator[DockerProxy]:
    async with docker_proxy(docker.socket, tmp_path / "d.sock") as running:
        yield running


@pytest.fixture
async def pausing(docker: RealDocker, proxy: DockerProxy, tmp_path: Path) -> AsyncIterator[Pausing]:
    await docker.run("held")
    yield Pausing(proxy.socket, tmp_path, docker.name("held"))
    await docker.docker("rm", "-f", docker.name("held"))


async def test_an_engine_that_is_gone_while_one_is_paused_is_waited_for(
    docker: RealDocker, proxy: DockerProxy, pausing: Pausing
) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(pausing.pauser().run, heartbeat(pausing.clock))
        pausing.ask()
        await pausing.told("paused")
        await proxy.close()
        pausing.end_ask()
        await pausing.told("unpause_failed")
        assert pausing.lease.exists()
        await proxy.open()
        await pausing.told("unpaused")
        group.cancel_scope.cancel()
    assert await docker.docker("inspect", "-f", "{{.State.Status}}", pausing.name) == "running"
    assert not pausing.lease.exists()


async def test_an_engine_that_hangs_over_a_pause_leaves_none_behind(
    docker: RealDocker, proxy: DockerProxy, pausing: Pausing
) -> None:
    proxy.stalled_paths.add("/pause")
    async with anyio.create_task_group() as group:
        group.start_soon(pausing.pauser().run, heartbeat(pausing.clock))
        pausing.ask()
        failed = await pausing.told("pause_failed")
        assert "did not answer" in failed.reason
        proxy.resume()
        await pausing.told("paused")  # tried again
        pausing.end_ask()
        await pausing.told("unpaused")
        group.cancel_scope.cancel()
    assert await docker.docker("inspect", "-f", "{{.State.Status}}", pausing.name) == "running"
    assert not pausing.lease.exists()


async def test_a_container_that_is_removed_while_it_is_paused_is_let_go(
    docker: RealDocker, pausing: Pausing
) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(pausing.pauser().run, heartbeat(pausing.clock))
        pausing.ask()
        await pausing.told("paused")
        await docker.docker("rm", "-f", pausing.name)
        assert "removed" in (await pausing.told("unpaused")).reason
        group.cancel_scope.cancel()
    assert not pausing.lease.exists()
    await docker.run("held")


def lane(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@short_and_long("rounds", 24, 100)  # a kill in the moment of a call has the command wait 2 s for its end
async def test_whatever_kills_a_daemon_that_pauses_the_container_goes_on(
    docker: RealDocker, tmp_path: Path, rounds: int
) -> None:
    theirs = f"theirs{rounds}"  # the other form has a container of its own
    await docker.run(theirs)
    await docker.docker("pause", docker.name(theirs))
    lanes = []
    for seed in range(LANES):
        folder = tmp_path / str(seed)
        folder.mkdir()
        victim = f"lane{seed}of{rounds}"
        await docker.run(victim)
        names = [docker.name(victim), docker.name(theirs)]
        arguments = [str(folder), str(docker.socket), *names, str(seed), str(rounds // LANES)]
        command = [sys.executable, "-m", "tests.integration.pause_scenario", *arguments]
        lanes.append(lane(command))
    seen: Counter[str] = Counter()
    for one in lanes:
        out, err = await anyio.to_thread.run_sync(one.communicate)
        assert one.returncode == 0, err
        told = json.loads(out.splitlines()[-1])
        assert told["wrong"] == []
        seen += Counter(told["seen"])
    assert seen["right"] == rounds
    assert seen["left paused"] > rounds / 10, "kills must hit a container that is paused"
    assert seen["kill, then the command"] > rounds / 10
    assert seen["kill, then the next start"] > rounds / 10
