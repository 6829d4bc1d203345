"""The command that systemd runs when the daemon has ended, and containers that a heal has left down."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from aiidpd.components.containers.docker.client import DockerRuntime
from aiidpd.components.containers.heal.record import NAME as HEALS
from aiidpd.components.containers.heal.record import HealRecord, HealRecords
from aiidpd.components.containers.heal.state import UNHEALTHY, Fault, Heal, HealPhase
from aiidpd.components.containers.recreate.journal import NAME, RecreationJournal
from aiidpd.contracts.messages import Cure
from aiidpd.platform.statefile import StateFile
from tests.fakes.docker_engine import RealDocker
from tests.integration.recreate_site import Site
from tests.integration.trial_site import TrialSite
from tests.waiting import PATIENCE

pytestmark = pytest.mark.real("docker")


class Left(Site):
    """A real container, and the state folder of a daemon that was killed."""

    async def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        def run() -> subprocess.CompletedProcess[str]:
            command = [sys.executable, "-m", *arguments]
            return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)

        return await anyio.to_thread.run_sync(run)

    async def killed(self, kind: str, how: str) -> None:
        """Have a process kill itself while it creates the container anew."""
        arguments = (str(self.folder), str(self.socket), self.name, kind, how)
        done = await self.python("tests.integration.recreate_killed", *arguments)
        assert done.returncode == -signal.SIGKILL, done.stderr

    async def command(self, socket: Path | None = None) -> subprocess.CompletedProcess[str]:
        config = self.folder / "aiidpd.toml"
        config.write_text(
            f'[daemon]\nstate_directory = "{self.folder}"\n[containers]\nsocket = "{socket or self.socket}"\n'
        )
        return await self.python("aiidpd", "restore-gpus", "--config", str(config))

    def active(self) -> int:
        journal = RecreationJournal(self.folder / NAME)
        journal.load()
        return len(journal.active)


@pytest.fixture
async def left(docker: RealDocker, tmp_path: Path) -> AsyncIterator[Left]:
    left = Left(tmp_path, docker.socket, docker.name("left"))
    await docker.run("left", "--restart", "always", "-v", "/anonymous")
    yield left
    await left.aclose()
    await docker.docker("rm", "-f", "-v", *await left.names())


@pytest.mark.parametrize(
    ("kind", "how", "place"),
    [
        ("create", "after", "old"),
        ("stop", "after", "new"),
        ("rename", "after", "new"),
        ("start", "after", "new"),
    ],
)
async def test_a_re_creation_that_was_killed_is_finished_or_undone(
    left: Left, kind: str, how: str, place: str
) -> None:
    facts, old = await left.facts(), await left.id()
    await left.killed(kind, how)
    assert left.active() == 1
    done = await left.command()
    line = f"aiidpd: container {left.name}: its re-creation was cut short: the {{}} has its place\n"
    assert (done.returncode, done.stderr) == (
        0,
        line.format("old one" if place == "old" else "new container"),
    )
    assert await left.wrong(facts) == []
    assert (await left.id() == old) == (place == "old")
    assert left.active() == 0
    done = await left.command()
    assert (done.returncode, done.stderr) == (0, "")


async def test_what_can_not_be_finished_stays_in_the_journal(left: Left, tmp_path: Path) -> None:
    await left.killed("stop", "after")
    done = await left.command(tmp_path / "none.sock")
    assert done.returncode == 1
    assert f"container {left.name}: its re-creation is not finished: cannot describe" in done.stderr
    assert "there is no such socket" in done.stderr
    assert "the next daemon finishes it" in done.stderr
    assert left.active() == 1


async def test_a_journal_that_can_not_be_read_is_told_and_kept(left: Left) -> None:
    (left.folder / NAME).write_text("{")
    done = await left.command()
    assert done.returncode == 1
    assert NAME in done.stderr
    assert "remove the file" in done.stderr
    assert (left.folder / NAME).read_text() == "{"


async def heal(left: Left, **changes: Any) -> None:
    """Leave a heal of the container that was cut short."""
    runtime = DockerRuntime(left.socket, call_timeout=PATIENCE)
    reading = await runtime.container(await left.id())
    await runtime.aclose()
    assert reading is not None
    fault = Fault(UNHEALTHY, "its health check fails")
    given = {"started_at": reading.started_at, "phase": HealPhase.ACTING, "cure": Cure.RESTART, **changes}
    cut = Heal(reading.id, reading.name, fault, began=0.0, **given)
    record = HealRecord(
        reading.id, reading.name, reading.started_at, 0, (0.0,), (), 0, 0.0,
        owed=False, awaiting=False, parked=None, heal=cut, last=None,
    )  # fmt: skip
    StateFile(left.folder / HEALS, HealRecords).save(HealRecords(1, (record,), ()))


async def test_a_container_that_a_heal_has_left_down_runs_again(docker: RealDocker, left: Left) -> None:
    await heal(left)
    await docker.docker("stop", "-t", "0", left.name)
    before = (left.folder / HEALS).read_bytes()
    done = await left.command()
    line = f"aiidpd: container {left.name}: its heal was cut short: it runs again\n"
    assert (done.returncode, done.stderr) == (0, line)
    assert await left.state() == "running"
    assert (left.folder / HEALS).read_bytes() == before, "the next daemon sees whether it is well"


@pytest.mark.parametrize("changes", [{"phase": HealPhase.VERIFYING}, {"started_at": 1.0}])
async def test_one_that_somebody_has_stopped_since_stays_down(
    docker: RealDocker, left: Left, changes: dict[str, Any]
) -> None:
    await heal(left, **changes)
    await docker.docker("stop", "-t", "0", left.name)
    done = await left.command()
    assert (done.returncode, done.stderr) == (0, "")
    assert await left.state() == "exited"


async def test_one_that_can_not_be_started_is_told(docker: RealDocker, left: Left) -> None:
    await docker.docker("rm", "-f", "-v", left.name)
    await docker.docker("create", "--network", "none", "--name", left.name, docker.image, "nothing-like-it")
    await heal(left)
    done = await left.command()
    assert done.returncode == 1
    assert f"cannot start container {left.name}: " in done.stderr
    assert "nothing-like-it" in done.stderr


async def test_an_engine_that_is_away_is_waited_for_and_told(left: Left, tmp_path: Path) -> None:
    await heal(left)
    done = await left.command(tmp_path / "none.sock")
    assert done.returncode == 1
    assert f"cannot finish the heal of container {left.name}: " in done.stderr
    assert json.loads((left.folder / HEALS).read_text())["containers"]


async def test_a_trial_of_an_image_that_was_killed_goes_back(docker: RealDocker, left: Left) -> None:
    await docker.docker("commit", left.name, f"{docker.image}-tried")
    await docker.docker("rm", "-f", left.name)
    await docker.run("left", "--restart", "always", "--label", "aiidpd.upgrade=allow")
    old = await left.id()
    site = TrialSite(left.folder, left.socket, left.name)
    try:
        async with site.running():
            assert (await site.tried(f"{docker.image}-tried")).serving == "new"
        assert await left.id() != old
        done = await left.command()
        line = f"aiidpd: container {left.name}: its trial of {docker.image}-tried has ended: returned\n"
        assert (done.returncode, done.stderr) == (0, line)
        assert (await left.id(), await left.state(), await left.names()) == (old, "running", [left.name])
        done = await left.command()
        assert (done.returncode, done.stderr) == (0, "")
    finally:
        await docker.docker("rmi", "-f", f"{docker.image}-tried")
