"""A Docker Engine of a test's own, which it may stop, freeze and kill."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import anyio

from tests.fakes.busybox import root_archive
from tests.waiting import PATIENCE, until

IMAGE = "own:1"
HALF_REMOVED = "exec/containerd/daemon/io.containerd.runtime.v2.task/moby/.*"
LOG = 20_000  # characters of it that a failure shows


class OwnDocker:
    """Engine in ``folder``, without a network, and its command line."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.socket = folder / "d.sock"
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        folder = self._folder
        # Its containerd dies with it. Where nobody reaps that, its pid would pass for a running one.
        (folder / "exec/containerd/containerd.pid").unlink(missing_ok=True)
        # One that is killed while it removes a container's folder can't ever start that container, until a
        # machine starts with an empty /run.
        for half in folder.glob(HALF_REMOVED):
            shutil.rmtree(half)
        with (folder / "log").open("ab") as log:
            self._process = self._begin(log)
        until(self.answers, why=lambda: (folder / "log").read_text()[-2000:])

    def _begin(self, log: BinaryIO) -> subprocess.Popen[bytes]:
        folder = self._folder
        return subprocess.Popen(
            # In a network of its own: with --bridge=none it removes docker0, which is another engine's.
            [
                "unshare",
                "--net",
                "dockerd",
                f"--data-root={folder}/data",
                f"--exec-root={folder}/exec",
                f"--pidfile={folder}/pid",
                f"--host=unix://{self.socket}",
                "--iptables=false",
                "--bridge=none",
                *self._options,
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )

    def answers(self) -> bool:
        """Return whether it answers."""
        return not self._run("version").returncode

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it by a signal, and wait for that."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            containerd = self._containerd()
            self._process.send_signal(number)
            self._process.wait(timeout=PATIENCE)
            self._process = None
            # An engine that finds the containerd of the one before in its last moment waits for it in vain.
            until(lambda: containerd is None or not _runs(containerd))

    async def docker(self, *arguments: str) -> str:
        """Run a Docker command and return what it printed."""
        done = await anyio.run_process(["docker", "-H", f"unix://{self.socket}", *arguments])
        return done.stdout.decode().strip()

    async def run(self, name: str, *options: str, command: tuple[str, ...] = ("sleep", "600")) -> str:
        """Start a container and return its id."""
        return await self.docker(
            "run", "-d", "--init", "--network", "none", "--name", name, *options, IMAGE, *command
        )

    def make_image(self, busybox: Path) -> None:
        """Import an image that holds ``busybox`` (static)."""
        self._run("import", "-", IMAGE, given=root_archive(busybox)).check_returncode()

    def close(self) -> None:
        """End it and all that it runs."""
        if self._process is None:
            self.start()  # what outlived it is its own to end
        found = self._run("ps", "-aq").stdout.decode().split()
        if found:
            self._run("rm", "-f", *found)
        self.stop()
        for left in self._shims():  # of containers whose engine was killed; nobody else ends them
            with suppress(ProcessLookupError):
                os.kill(left, signal.SIGKILL)

    def _shims(self) -> list[int]:
        """Return the pids of the processes that were to watch a container for its containerd."""
        address = f"{self._folder}/exec/containerd/containerd.sock".encode()
        found = []
        for each in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                if address in each.read_bytes():
                    found.append(int(each.parent.name))
        return found

    def _containerd(self) -> int | None:
        """Return the pid of its containerd, which ends with it."""
        try:
            found = int((self._folder / "exec/containerd/containerd.pid").read_text())
        except (FileNotFoundError, ValueError):
            return None
        return found if _runs(found) else None

    def _run(self, *arguments: str, given: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["docker", "-H", f"unix://{self.socket}", *arguments],
            input=given,
            check=False,
            capture_output=True,
            timeout=PATIENCE,
        )


def _runs(containerd: int) -> bool:
    """Return whether that process is there, and no other that has its pid by now."""
    with suppress(OSError):
        return b"containerd" in Path(f"/proc/{containerd}/cmdline").read_bytes()
    return False


@contextmanager
def own_docker(missing: Callable[[str, str], None], *options: str) -> Iterator[OwnDocker]:
    """Run an engine for the time of a block, or say that it is missing."""
    busybox = shutil.which("busybox")
    if shutil.which("dockerd") is None or busybox is None or os.geteuid():
        missing("Docker Engine of its own", "run as root; apt-get install docker.io busybox-static")
    # Not below pytest's folder: the path of a Unix socket is short.
    with tempfile.TemporaryDirectory(prefix="aiidpd-own-", ignore_cleanup_errors=True) as folder:
        docker = OwnDocker(Path(folder), *options)
        docker.start()
        try:
            docker.make_image(Path(str(busybox)))
            yield docker
        finally:
            print((Path(folder) / "log").read_text()[-LOG:])  # noqa: T201 -- pytest shows it with a failure
            docker.close()
            subprocess.run(["umount", "-l", f"{folder}/exec/netns/default"], check=False, capture_output=True)
