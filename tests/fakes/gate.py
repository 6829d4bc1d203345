"""A gate as its own process before an engine, and clients that write bytes of their own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.waiting import PATIENCE

READY = b"ready before"


@dataclass
class RunningGate:
    """A gate: its socket, its configuration, its process, and what it has logged."""

    socket: Path
    config: Path
    process: subprocess.Popen[bytes]
    log: Path

    def logged(self) -> str:
        return self.log.read_text()

    def ask(self, request: bytes, *, end: bool = False) -> bytes:
        """Send bytes and return all that comes until the gate closes; ``end``: end our side first."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(PATIENCE)
            client.connect(str(self.socket))
            try:
                client.sendall(request)
                if end:
                    client.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # it has closed already; its answer may be there all the same
            found = bytearray()
            try:
                while piece := client.recv(65536):
                    found += piece
            except ConnectionResetError:
                pass
            return bytes(found)

    def get(self, target: str, method: str = "GET") -> tuple[int, bytes]:
        """Return status and body of one call."""
        return parted(
            self.ask(f"{method} {target} HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n".encode())
        )


def parted(answer: bytes) -> tuple[int, bytes]:
    """Return status and body of an answer, its chunks put together."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in head.lower():
        whole = b""
        while body:
            size, _, body = body.partition(b"\r\n")
            whole += body[: int(size, 16)]
            body = body[int(size, 16) + 2 :]
        body = whole
    return int(head.split(b" ")[1]), body


def message(body: bytes) -> str:
    """Return the words of a refusal."""
    return str(json.loads(body)["message"])


@contextmanager
def running_gate(
    engine: Path, folder: Path, rules: str = "", users: Sequence[str | int] | None = None
) -> Iterator[RunningGate]:
    """Start one before ``engine``, with ``rules`` of TOML; ``users`` besides root: who runs the test."""
    config, path, log = folder / "gate.toml", folder / "gate.sock", folder / "gate.log"
    named = json.dumps([os.geteuid()] if users is None else list(users))
    config.write_text(f'engine = "{engine}"\nusers = {named}\n{rules}')
    config.chmod(0o644)
    command = [sys.executable, "-m", "aiidpd.gate", "--config", str(config), "--listen", str(path)]
    with log.open("wb") as errors, subprocess.Popen(command, stderr=errors) as process:
        try:
            deadline = time.monotonic() + PATIENCE
            while READY not in log.read_bytes():
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline
                time.sleep(0.01)
            yield RunningGate(path, config, process, log)
        finally:
            process.kill()
