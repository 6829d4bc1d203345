"""Containers that stand for whole machines: one that boots a systemd, one with next to nothing installed."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.waiting import PATIENCE

ROOT = Path(__file__).resolve().parents[2]


# What a command in a container may take: a machine that is slow and busy with another one needs minutes.
LONG = 300.0


def _ended(command: Sequence[str], seconds: float = LONG) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, whichever that is."""
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=seconds)


def _well_ended(command: Sequence[str], seconds: float = LONG) -> None:
    """Run a command that must end well."""
    done = _ended(command, seconds)
    assert done.returncode == 0, f"{command} ended with {done.returncode}: {done.stderr}{done.stdout}"


class Machine:
    """A running container, and what can be done in it, as root if not told otherwise."""

    def __init__(self, name: str) -> None:
        self.name = name

    def run(
        self, *command: str, user: str = "", check: bool = True, seconds: float = LONG
    ) -> subprocess.CompletedProcess[str]:
        """Run a command; its output and errors come back as text."""
        prefix = ["docker", "exec", *(["--user", user] if user else []), self.name]
        done = _ended([*prefix, *command], seconds)
        if check:
            assert done.returncode == 0, f"{command} ended with {done.returncode}: {done.stderr}{done.stdout}"
        return done

    def shell(self, script: str, *, user: str = "", check: bool = True, seconds: float = LONG) -> str:
        """Run a script; return its output, without the white space around it."""
        return self.run("sh", "-euc", script, user=user, check=check, seconds=seconds).stdout.strip()

    def write(self, path: str, text: str) -> None:
        """Make a file, and the folder that it lies in."""
        script = 'mkdir -p "$(dirname "$0")" && cat >"$0"'
        command = ["docker", "exec", "-i", self.name, "sh", "-euc", script, path]
        subprocess.run(command, input=text, text=True, check=True, capture_output=True, timeout=LONG)

    def copy(self, source: Path, target: str) -> None:
        """Copy a file or a folder into the container; it belongs to root there."""
        tar = ["tar", "-C", str(source.parent), "--owner=0", "--group=0", "-c", source.name]
        with subprocess.Popen(tar, stdout=subprocess.PIPE) as stream:
            into = ["docker", "exec", "-i", self.name, "tar", "-C", target, "-x"]
            subprocess.run(into, stdin=stream.stdout, check=True, capture_output=True, timeout=LONG)
        assert stream.returncode == 0

    def until(self, said: Callable[[], bool], what: str, seconds: float = PATIENCE) -> float:
        """Wait until ``said`` is true; return how many seconds that took. Time is real here."""
        start = time.monotonic()
        while not said():
            assert time.monotonic() - start < seconds, f"{what}: not within {seconds:g} s"
            time.sleep(0.1)
        return time.monotonic() - start


@contextmanager
def image(name: str, tar: Path) -> Iterator[str]:
    """Import a root file system as an image for as long as the block lasts; yield its name."""
    own = f"{name}:{os.getpid()}"
    _well_ended(["docker", "import", str(tar), own])
    try:
        yield own
    finally:
        _ended(["docker", "image", "rm", "--force", own])


@contextmanager
def machine(name: str, image_name: str, options: Sequence[str], command: Sequence[str]) -> Iterator[Machine]:
    """Run a container for as long as the block lasts. Two test runs on one Engine do not meet."""
    own = f"{name}-{os.getpid()}"
    _well_ended(["docker", "run", "--detach", "--name", own, *options, image_name, *command])
    try:
        yield Machine(own)
    finally:
        _ended(["docker", "rm", "--force", "--volumes", own])


def debian(kind: str) -> tuple[Path | None, str]:
    """Return the tar of a Debian root, made at the first call ever (about a minute), or why there is none."""
    done = _ended([str(ROOT / ".ci" / "debian-root"), kind], 1200)
    if done.returncode != 0:
        return None, done.stderr.strip()
    return Path(done.stdout.strip()), ""
