"""The watcher of containers on Podman's compatible socket."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import pytest

from aiidpd.components.containers.docker.client import DockerRuntime
from tests.fakes.watched import watching
from tests.waiting import until

pytestmark = pytest.mark.real("podman")

LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000", "--network", "none")


class Podman:
    """A service with storage of its own, which no systemd need start."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "p.sock"
        # runc, since crun refuses hybrid cgroups.
        self._command = [
            "podman",
            f"--root={folder}/root",
            f"--runroot={folder}/run",
            f"--tmpdir={folder}/tmp",
            "--storage-driver=vfs",
            "--cgroup-manager=cgroupfs",
            f"--runtime={shutil.which('runc')}",
        ]

    def call(self, *arguments: str, given: bytes | None = None) -> str:
        done = subprocess.run(
            [*self._command, *arguments], input=given, capture_output=True, check=True, timeout=60
        )
        return done.stdout.decode().strip()

    async def run(self, *arguments: str) -> str:
        return await anyio.to_thread.run_sync(lambda: self.call(*arguments))

    def serve(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*self._command, "system", "service", "--time=0", f"unix://{self.socket}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


@pytest.fixture(scope="module")
def podman(missing: Callable[[str, str], None]) -> Iterator[Podman]:
    busybox = shutil.which("busybox")
    if os.geteuid() or busybox is None or not all(map(shutil.which, ("podman", "conmon", "runc"))):
        missing("Podman", "run as root; apt-get install podman runc busybox-static")
    with tempfile.TemporaryDirectory(prefix="aiidpd-p-", ignore_cleanup_errors=True) as folder:
        podman = Podman(Path(folder))
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.add(str(busybox), "bin/busybox")
            for applet in ("sh", "sleep", "test", "touch"):
                link = tarfile.TarInfo(f"bin/{applet}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(link)
        podman.call("import", "-", "own:1", given=archive.getvalue())
        service = podman.serve()
        try:
            until(podman.socket.is_socket)
            yield podman
        finally:
            podman.call("rm", "--all", "--force", "--time=0")
            service.terminate()
            service.wait(timeout=30)


async def test_a_life_is_told_as_on_docker(podman: Podman) -> None:
    async with watching(podman.socket) as watched:
        await podman.run("run", "-d", "--name", "life", *LIMITS, "own:1", "sleep", "600")
        story = ["appeared", "started"]
        await watched.until("life", *story)
        await podman.run("pause", "life")
        await podman.run("unpause", "life")
        story += ["paused", "unpaused"]
        await watched.until("life", *story)
        await podman.run("kill", "life")
        story.append("died")
        died = await watched.until("life", *story)
        assert died.evidence["exit_code"] == 137
        await watched.wait(lambda: watched.state("life") == "exited")
        await podman.run("start", "life")
        story.append("started")
        await watched.until("life", *story)
        await podman.run("rm", "--force", "--time=0", "life")
        await watched.wait(lambda: "removed" in watched.of("life"))
        assert watched.of("life") == [*story, "died", "removed"]
        assert "stream_interrupted" not in watched.of("engine")


async def test_it_is_stopped_paused_and_found_by_name(podman: Podman) -> None:
    identity = await podman.run("run", "-d", "--name", "act", *LIMITS, "own:1", "sleep", "600")
    runtime = DockerRuntime(podman.socket)
    assert await runtime.find("act") == identity
    assert await runtime.find("ac") is None
    assert await runtime.pause(identity) is True
    assert await runtime.pause(identity) is False
    assert await runtime.unpause(identity) is True
    assert await runtime.stop(identity, 0.0) is True
    assert await runtime.stop(identity, 0.0) is False
    assert await runtime.container("f" * 64) is None
    reading = await runtime.container(identity)
    assert reading is not None
    assert reading.state == "exited"
    await runtime.aclose()
