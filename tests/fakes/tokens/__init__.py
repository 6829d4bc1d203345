"""A streaming inference server in C, in a process of its own, that knows when it wrote each token."""

from __future__ import annotations

import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HOW_TO_GET = "apt-get install gcc libc6-dev"
_SOURCE = Path(__file__).with_name("tokens.c")


@dataclass(frozen=True)
class Answer:
    """One answer as the server gave it, in monotonic seconds.

    ``port`` is the client's, ``label`` the number that follows "label-" in the request, ``arrived`` is when
    the kernel had the request's last bytes, ``received`` when a thread had read them, ``sent`` the moment
    before each write of tokens.
    """

    port: int
    label: int
    arrived: float
    received: float
    sent: tuple[float, ...]


@dataclass(frozen=True)
class TokenServer:
    """A server that runs; the script of an answer is a part of its URL."""

    port: int

    def url(self, *, first: float = 0.05, gap: float = 0.01, tokens: int = 64, chunk: int = 1) -> str:
        """Return the base URL of answers: ``first`` seconds to the first token, ``gap`` to each next."""
        script = f"first={round(first * 1e6)}/gap={round(gap * 1e6)}/tokens={tokens}/chunk={chunk}"
        return f"http://127.0.0.1:{self.port}/{script}"

    def answers(self) -> list[Answer]:
        """Return the answers since the last call."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/log", timeout=30) as page:
            lines = page.read().decode().split("\n")
        found = [[int(each) for each in line.split()] for line in lines if line]
        return [
            Answer(port, label, arrived / 1e9, received / 1e9, tuple(each / 1e9 for each in sent))
            for port, label, arrived, received, *sent in found
        ]


def build(folder: Path) -> Path | None:
    """Compile the server into ``folder``; return its program, or None without gcc."""
    compiler = shutil.which("gcc")
    if compiler is None:
        return None
    program = folder / "tokens"
    subprocess.run([compiler, "-O2", "-Wall", "-pthread", "-o", program, _SOURCE], check=True)
    return program


@contextmanager
def running(program: Path) -> Iterator[TokenServer]:
    """Run ``program`` until the block ends."""
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield TokenServer(int(process.stdout.readline()))
        process.stdin.close()
