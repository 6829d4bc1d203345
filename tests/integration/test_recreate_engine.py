"""A Docker Engine of its own is killed in the middle of re-creations, and comes back: nothing is lost."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

from aiidpd.components.containers.docker.actions import DockerActions
from aiidpd.kernel.errors import Unavailable
from tests.fakes.docker_engine import RealDocker
from tests.forms import short_and_long
from tests.integration.recreate_site import Site
from tests.waiting import PATIENCE, until

pytestmark = pytest.mark.real("docker")


class Engine:
    """A dockerd with folders of its own and no network; :meth:`kill` is SIGKILL."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "d.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        # In a network of its own: with --bridge=none it removes docker0, which is another engine's.
        folder = self.folder
        command = [
            "unshare", "--net", "dockerd", "--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec",
            "--pidfile", f"{folder}/pid", "-H", f"unix://{self.socket}", "--iptables=false", "--bridge=none",
        ]  # fmt: skip
        (self.folder / "pid").unlink(missing_ok=True)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        until(lambda: self.docker("version", check=False) is not None, why=(self.folder / "log").read_text)

    def kill(self) -> None:
        assert self._process is not None
        child = int((self.folder / "exec/containerd/containerd.pid").read_text())
        self._process.kill()
        self._process.wait()
        # It is killed with its parent; an engine that finds it in its last moment waits for it in vain.
        until(lambda: not Path(f"/proc/{child}").exists())

    def end(self) -> None:
        """End it, and the shims of its containers that lost their containerd."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(PATIENCE)
        for folder in Path("/proc").iterdir():
            with suppress(OSError):
                if folder.name.isdigit() and bytes(self.folder) in (folder / "cmdline").read_bytes():
                    os.kill(int(folder.name), signal.SIGKILL)

    def docker(self, *arguments: str, check: bool = True, **options: Any) -> str | None:
        command = ["docker", "-H", f"unix://{self.socket}", *arguments]
        done = subprocess.run(command, check=check, capture_output=True, **options)
        return done.stdout.decode().strip() if done.returncode == 0 else None


@pytest.fixture
async def engine(docker: RealDocker) -> AsyncIterator[Engine]:
    folder = Path(tempfile.mkdtemp(prefix="aiidpd-d-"))  # the path of a socket has to be short
    engine = Engine(folder)
    engine.start()
    try:
        saved = await anyio.run_process(["docker", "save", docker.image])
        engine.docker("load", input=saved.stdout)
        yield engine
    finally:
        left = (engine.docker("ps", "-aq", check=False) or "").split()
        if left:
            engine.docker("rm", "-f", *left)
        engine.end()
        await anyio.run_process(["umount", "-l", str(folder / "data")], check=False)
        shutil.rmtree(folder, ignore_errors=True)


@short_and_long("rounds", 5, 40)
async def test_an_engine_that_is_killed_in_the_middle_loses_nothing(
    docker: RealDocker, engine: Engine, tmp_path: Path, rounds: int
) -> None:
    chance = random.Random(7)
    site = Site(tmp_path, engine.socket, "victim")
    engine.docker(
        "run", "-d", "--init", "--name", site.name, "--network", "none", "--restart", "always", "-v",
        "/anonymous", "-v", "named:/data", docker.image, "sleep", "600",
    )  # fmt: skip
    facts = await site.facts()
    seen: Counter[str] = Counter()
    for _ in range(rounds):
        old = await site.id()
        moment = chance.uniform(0.05, 0.9)

        async def recreate(identity: str) -> None:
            actions = DockerActions(engine.socket, call_timeout=3.0)
            try:
                await site.recreator(actions).recreate(identity, grace=5.0)
            except Unavailable:
                seen["cut"] += 1

        async with anyio.create_task_group() as group:
            group.start_soon(recreate, old)
            await anyio.sleep(moment)
            await anyio.to_thread.run_sync(engine.kill)
        await anyio.to_thread.run_sync(engine.start)
        await site.actions.aclose()
        await site.recover()
        assert await site.wrong(facts) == []
        seen["new" if await site.id() != old else "old"] += 1
    await site.aclose()
    assert seen["cut"], seen
