"""A gate before an engine, as its own process or in a thread, and clients that write bytes of their own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from aiidpd.gate.load import SettingsFile
from aiidpd.gate.log import Log
from aiidpd.gate.server import Server, listen
from aiidpd.gate.session import Limits
from tests.waiting import PATIENCE

READY = b"ready before"
INFO_REQUEST = b"GET /info HTTP/1.1\r\nHost: d\r\n\r\n"


class GateClient:
    """Client of the gate at ``socket``."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket

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


class RunningGate(GateClient):
    """A gate: its socket, its configuration, its process, and what it has logged."""

    def __init__(self, socket: Path, config: Path, process: subprocess.Popen[bytes], log: Path) -> None:
        super().__init__(socket)
        self.config = config
        self.process = process
        self.log = log

    def logged(self) -> str:
        return self.log.read_text()


class GateInThread(GateClient):
    """A gate in this process; ``lines`` is its log."""

    def __init__(self, socket: Path, config: Path, lines: list[str]) -> None:
        super().__init__(socket)
        self.config = config
        self.lines = lines


class ScriptedEngine:
    """Engine that answers by the path of a request with the bytes in ``answers``; remembers every request.

    An answer that is None is none: the connection stays open until the client has left. Answers to the paths
    in ``held`` come once ``go`` is set.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.answers: dict[str, bytes | None] = {}
        self.requests: list[bytes] = []
        self.held: set[str] = set()
        self.go = threading.Event()
        self.left = threading.Event()
        """Set when a client has left that was waiting for an answer."""
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):  # it is closed already
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            data = b""
            while b"\r\n\r\n" not in data:
                piece = client.recv(65536)
                if not piece:
                    return
                data += piece
            self.requests.append(data)
            path = data.split(b" ")[1].decode().partition("?")[0]
            if path in self.held:
                self.go.wait(PATIENCE)
            answer = self.answers.get(path, plain(404, b'{"message":"page not found"}'))
            if answer is not None and not answer.endswith(ENDLESS):
                client.sendall(answer)
                return
            client.sendall((answer or b"").removesuffix(ENDLESS))
            client.recv(1)
            self.left.set()


ENDLESS = b"<endless>"
"""At the end of a scripted answer: it goes on, and nothing comes."""


def plain(status: int, body: bytes, fields: bytes = b"") -> bytes:
    """Return an answer with its length."""
    return b"HTTP/1.1 %d X\r\n%bContent-Length: %d\r\n\r\n%b" % (status, fields, len(body), body)


@contextmanager
def gate_in_thread(
    engine: Path,
    folder: Path,
    rules: str = "",
    *,
    users: Sequence[str | int] | None = None,
    limits: Limits | None = None,
    connections: int = 64,
) -> Iterator[GateInThread]:
    """Run one in this process until the block ends."""
    config, path = folder / "gate.toml", folder / "gate.sock"
    write_config(config, engine, rules, users)
    lines: list[str] = []
    listener = listen(str(path))
    until, stop = os.pipe()
    server = Server(listener, SettingsFile(str(config)), Log(lines.append), limits or Limits(), connections)
    thread = threading.Thread(target=server.run, args=(None, lambda: None), kwargs={"until": until})
    thread.start()
    try:
        yield GateInThread(path, config, lines)
    finally:
        os.write(stop, b"x")
        thread.join()
        listener.close()
        os.close(until)
        os.close(stop)


def write_config(config: Path, engine: Path, rules: str, users: Sequence[str | int] | None) -> None:
    """Write a configuration; ``users`` besides root: who runs the test."""
    named = json.dumps([os.geteuid()] if users is None else list(users))
    config.write_text(f'engine = "{engine}"\nusers = {named}\n{rules}')
    config.chmod(0o644)


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
    """Start one before ``engine``, with ``rules`` of TOML."""
    config, path, log = folder / "gate.toml", folder / "gate.sock", folder / "gate.log"
    write_config(config, engine, rules, users)
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
