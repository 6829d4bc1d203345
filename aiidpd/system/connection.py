"""One guarded connection: aiohttp's HTTP protocol inside, and around it the deadlines that it lacks."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus
from typing import Protocol

from aiidpd.system.peercred import Peer, peer_of
from aiidpd.system.problem import raw_response


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may take. Times in seconds.

    ``head``: to send a request's first line and headers, from its first byte, or from connecting.
    ``body``: to send its body, of at most ``body_bytes``. ``idle``: between requests. ``write``: a
    client that reads too slowly for the little that is buffered (``buffer_bytes`` here, about as
    much in the kernel) for this long is dropped. ``connections``: how many are held at once; for
    one more the one that has waited longest without asking is dropped, and where all are being
    served the new one gets 503.
    """

    connections: int = 64
    head: float = 5.0
    body: float = 5.0
    body_bytes: int = 64 * 1024
    idle: float = 75.0
    write: float = 10.0
    buffer_bytes: int = 64 * 1024


class Phase(Enum):
    """What a connection is doing."""

    HEAD = auto()  # a request's head is awaited, and some of it may have come
    SERVING = auto()  # a request is being served
    IDLE = auto()  # between requests


class Book(Protocol):
    """Who keeps the connections."""

    limits: Limits

    def admit(self, connection: Connection) -> bool:
        """Enter ``connection``; False where there is no room."""

    def forget(self, connection: Connection) -> None:
        """Strike ``connection`` out."""


class Connection(asyncio.Protocol):
    """Passes everything on to ``inner`` and keeps the time.

    ``gone`` is set when the client has left or the server closes: whatever streams ends then.
    """

    def __init__(
        self, book: Book, inner: Callable[[], asyncio.Protocol], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._book = book
        self._make_inner = inner
        self._inner: asyncio.Protocol | None = None
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._phase = Phase.HEAD
        self._heard = False
        self._stalled_since: float | None = None
        self._closing_since: float | None = None
        self.since = 0.0
        self.peer: Peer | None = None
        self.gone = asyncio.Event()

    @property
    def phase(self) -> Phase:
        """What it is doing."""
        return self._phase

    # What the middleware tells

    def begin(self) -> None:
        """Say that a request's head was understood."""
        self._enter(Phase.SERVING)

    def done(self) -> None:
        """Say that the request was answered."""
        self._enter(Phase.IDLE)

    # What the server asks for

    def check(self, now: float) -> None:
        """Drop the connection if it has overstayed a deadline at ``now`` (the loop's time)."""
        transport, limits = self._transport, self._book.limits
        if transport is None:
            return
        if transport.is_closing():
            # What was written last is still waiting to be read.
            self._closing_since = now if self._closing_since is None else self._closing_since
            if now - self._closing_since > limits.write:
                self.drop()
        elif self._stalled_since is not None:
            if now - self._stalled_since > limits.write:
                self.drop()
        elif self._phase is Phase.HEAD and now - self.since > limits.head:
            if self._heard:
                self.refuse(HTTPStatus.REQUEST_TIMEOUT, f"no whole request came within {limits.head:g} s")
            else:
                self.drop()
        elif self._phase is Phase.IDLE and now - self.since > limits.idle:
            self.drop()

    def refuse(self, status: HTTPStatus, detail: str) -> None:
        """Answer with an error of our own, outside of HTTP's turns, and close."""
        if self._transport is not None:
            self._transport.write(raw_response(status, detail))
            self._transport.close()

    def drop(self) -> None:
        """End the connection at once; what was not read yet is lost."""
        self._book.forget(self)
        if self._transport is not None:
            self._transport.abort()

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 -- streams are all that we listen on
        self._transport = transport
        self.since = self._loop.time()
        transport.set_write_buffer_limits(high=self._book.limits.buffer_bytes)
        connection: socket.socket = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._book.limits.buffer_bytes)
        if connection.family == socket.AF_UNIX:
            self.peer = peer_of(connection)
        if not self._book.admit(self):
            self.refuse(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"all {self._book.limits.connections} connections are in use; try again later",
            )
            return
        self._inner = self._make_inner()
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self._heard = True
        if self._phase is Phase.IDLE:
            self._enter(Phase.HEAD)
        if self._inner is not None:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return None if self._inner is None else self._inner.eof_received()

    def pause_writing(self) -> None:
        self._stalled_since = self._loop.time()
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._stalled_since = None
        if self._inner is not None:
            self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._book.forget(self)
        self._transport = None
        self.gone.set()
        if self._inner is not None:
            self._inner.connection_lost(exc)
            self._inner = None

    def _enter(self, phase: Phase) -> None:
        self._phase = phase
        self.since = self._loop.time()
