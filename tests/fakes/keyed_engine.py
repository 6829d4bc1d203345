"""A server that requires a key, as inference engines do: it reads its file of keys when it starts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from aiidpd.components.secrets.formats import parse
from aiidpd.components.secrets.registry import Format


@dataclass
class KeyedEngine:
    """One of them. ``public`` pages are shown to everybody."""

    file: Path | None = None
    form: Format = Format.LLAMACPP
    public: frozenset[str] = frozenset({"/health"})
    status: int = 0
    """Status that every page has, 0: what the key deserves."""
    accepted: tuple[str, ...] = ()
    restarts: int = 0
    seen: list[str] = field(default_factory=list)
    """Keys that were sent to it."""
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def restart(self) -> None:
        """Read the file of keys, as a start does."""
        assert self.file is not None
        self.accepted = parse(self.form, self.file.read_bytes())
        self.restarts += 1

    def answer(self, path: str, authorization: str) -> int:
        """Return the status of a page."""
        key = authorization.removeprefix("Bearer ")
        self.seen.append(key)
        if path == "/restart":
            self.restart()
            return 200
        if self.status:
            return self.status
        if path in self.public or key in self.accepted:
            return 200
        return 401


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, engine: KeyedEngine) -> None:
        super().__init__(("127.0.0.1", engine.port), _Handler)
        self.engine = engine
        engine.port = self.server_port


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self.send_response(self.server.engine.answer(self.path, self.headers.get("Authorization", "")))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- its name in the library
        """Say nothing."""


@contextmanager
def serving(engine: KeyedEngine) -> Iterator[KeyedEngine]:
    """Serve ``engine`` on a port of its own."""
    with _Server(engine) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield engine
        finally:
            server.shutdown()
            thread.join()
