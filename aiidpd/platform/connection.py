"""One guarded connection: aiohttp's HTTP protocol inside, and around it the deadlines that it lacks."""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus
from typing import Protocol

from aiidpd.platform.peercred import Peer, peer_of
from aiidpd.platform.problem import raw_response


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what one client may take. Times in seconds.

    ``head``: to send a request's first line and headers, from its first byte, or from connecting.
    ``body``: to send its body, of at most ``body_bytes``. ``idle``: between requests. ``write``: a
    client for which more than ``buffer_bytes`` wait (and about twice as much in the kernel) must
    read as much in this time, or is dropped. ``user_bytes``: a user for whom so much waits unread, on all
    connections together, gets 503 for an answer that would add to it; so does everyone at four times as
    much in all. ``connections``: how many are held at once; for
    one more another that we wait for is dropped, and where there is none the new one gets 503.
    """

    connections: int = 64
    head: float = 5.0
    body: float = 5.0
    body_bytes: int = 64 * 1024
    idle: float = 75.0
    write: float = 10.0
    buffer_bytes: int = 64 * 1024
    user_bytes: int = 4 * 1024 * 1024


class Phase(Enum):
    """Phases of a connection."""

    HEAD = auto()  # a request's head is awaited, and some of it may have come
    BODY = auto()  # its body is awaited
    SERVING = auto()  # it is being served
    IDLE = auto()  # between requests


class Book(Protocol):
    """Register of the connections."""

    limits: Limits

    def admit(self, connection: Connection) -> bool:
        """Enter ``connection``; False where there is no room."""

    def forget(self, connection: Connection) -> None:
        """Strike ``connection`` out."""


class Connection(asyncio.Protocol):
    """Passes everything on to ``inner`` and enforces the deadlines.

    ``gone`` is set when the client has left or the server closes: whatever streams ends then. ``dropped``
    is the reason why the connection was ended from this side, where it was.
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
        self._received = False
        self._warned = False
        self._stalled_since: float | None = None
        self._closing_since: float | None = None
        self._unread = 0
        self._ended = False
        self.dropped = ""
        self.since = 0.0
        self.peer: Peer | None = None
        self.gone = asyncio.Event()

    @property
    def waited_for(self) -> bool:
        """True where the next step is the client's: to send, or to read."""
        return self._phase is not Phase.SERVING or self._stalled_since is not None

    @property
    def unread(self) -> int:
        """Bytes that wait in this process for the client to read them."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    @property
    def claim(self) -> tuple[bool, float]:
        """Claim to stay: the smallest must make room. A request whose head is on its way comes last."""
        return self._phase is Phase.HEAD, self.since

    # Called by the middleware

    def enter(self, phase: Phase) -> None:
        """Begin ``phase``."""
        self._phase = phase
        self._warned = False
        self.since = self._loop.time()

    # Called by the server

    def check(self, now: float) -> None:
        """Drop the connection if it has overstayed a deadline at ``now`` (the loop's time).

        It must be found so twice: where our own loop was held up, what the client sent may be there
        unread, and is read between the two.
        """
        reason = self._overstayed(now)
        if reason is None or not self._warned:
            self._warned = reason is not None
        elif self._phase is Phase.HEAD and self._received and self._closing_since is None:
            status = HTTPStatus.BAD_REQUEST if self._ended else HTTPStatus.REQUEST_TIMEOUT
            self.refuse(status, reason)
        elif self._ended and self._phase is Phase.IDLE and self._stalled_since is None:
            self.end()
        else:
            self.drop(reason)

    def _overstayed(self, now: float) -> str | None:
        limits = self._book.limits
        if self._transport is not None and self._transport.is_closing() and self._closing_since is None:
            self._closing_since = now
        self._note_progress(now)
        # Once it is closing, what was written last still waits to be read.
        blocked_since = self._stalled_since if self._closing_since is None else self._closing_since
        if blocked_since is not None:
            late = now - blocked_since > limits.write
            return f"for {limits.write:g} s it read too little of the answer" if late else None
        if self._ended and self._phase in (Phase.HEAD, Phase.IDLE):
            return "the request is cut short: the client ended it before it was whole"
        if self._phase is Phase.HEAD and now - self.since > limits.head:
            return f"no whole request came within {limits.head:g} s"
        if self._phase is Phase.IDLE and now - self.since > limits.idle:
            return "no request came for a long time"
        return None

    def _note_progress(self, now: float) -> None:
        """Begin the time for reading anew where enough was read since it began."""
        unread = self.unread
        if unread > self._unread:
            self._unread = unread
        elif self._unread - unread >= self._book.limits.buffer_bytes:
            self._unread = unread
            self._stalled_since = None if self._stalled_since is None else now
            self._closing_since = None if self._closing_since is None else now

    def refuse(self, status: HTTPStatus, detail: str) -> None:
        """Answer with an error of our own, outside of HTTP's turns, and close."""
        if self._transport is not None:
            self._transport.write(raw_response(status, detail))
            self._transport.close()

    def end(self) -> None:
        """Close the connection once what was written is read."""
        if self._transport is not None:
            self._transport.close()

    def drop(self, reason: str = "") -> None:
        """End the connection at once because of ``reason``; what was not read yet is lost."""
        self.dropped = reason
        self._book.forget(self)
        if self._transport is not None:
            self._transport.abort()

    # Called by the event loop

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
        self._received = True
        if self._phase is Phase.IDLE:
            self.enter(Phase.HEAD)
        if self._inner is not None:
            self._inner.data_received(data)

    def eof_received(self) -> bool:
        """Leave a half-closed connection open (True): a request received whole before is still answered."""
        self._ended = True
        if self._inner is None or self._transport is None:
            return False
        self._inner.eof_received()
        hangup = select.poll()
        hangup.register(
            self._transport.get_extra_info("socket"), 0
        )  # POLLHUP and POLLERR are always reported
        return not hangup.poll(0)

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
