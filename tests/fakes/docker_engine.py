"""Containers on the real Docker Engine of this machine, from an image that is made on the spot."""

from __future__ import annotations

import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio

from tests.fakes.busybox import root_archive

SOCKET = Path("/var/run/docker.sock")


class RealDocker:
    """Runs busybox containers with names of its own; :meth:`clean` removes all of them."""

    def __init__(self) -> None:
        self._mark = uuid.uuid4().hex[:8]
        self.image = f"aiidpd-test-busybox:{self._mark}"
        self.socket = SOCKET

    def name(self, text: str) -> str:
        """Return a container name that no other run of the tests uses."""
        return f"aiidpd-test-{self._mark}-{text}"

    def make_image(self, busybox: Path) -> None:
        """Import an image that holds ``busybox`` (static) and a few links to it."""
        command = ["docker", "import", "-", self.image]
        subprocess.run(command, input=root_archive(busybox), check=True, capture_output=True)

    async def docker(self, *arguments: str) -> str:
        """Run a Docker command and return what it printed."""
        done = await anyio.run_process(["docker", *arguments])
        return done.stdout.decode().strip()

    async def run(self, text: str, *options: str, command: tuple[str, ...] = ("sleep", "600")) -> str:
        """Start a container and return its id; ``docker rm`` of what is left is :meth:`clean`'s."""
        return await self.docker(
            "run",
            "-d",
            "--init",
            "--network",
            "none",
            "--name",
            self.name(text),
            *options,
            self.image,
            *command,
        )

    def clean(self) -> None:
        """Remove the containers and the image."""
        found = subprocess.run(
            ["docker", "ps", "-aq", "--filter", f"name=aiidpd-test-{self._mark}-"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split()
        if found:
            subprocess.run(["docker", "rm", "-f", "-v", *found], check=True, capture_output=True)
        subprocess.run(["docker", "rmi", "-f", self.image], check=True, capture_output=True)


@contextmanager
def real_docker(missing: Callable[[str, str], None]) -> Iterator[RealDocker]:
    """Yield the machine's engine, or say that it is missing."""
    busybox = shutil.which("busybox")
    if shutil.which("docker") is None or not SOCKET.is_socket():
        missing("Docker Engine", f"install docker.io and start dockerd on {SOCKET}")
    answer = subprocess.run(["docker", "version"], check=False, capture_output=True, text=True)
    if answer.returncode:
        missing("Docker Engine", answer.stderr.strip())
    if busybox is None:
        missing("static busybox", "apt-get install busybox-static")
    docker = RealDocker()
    docker.make_image(Path(str(busybox)))
    try:
        yield docker
    finally:
        docker.clean()
