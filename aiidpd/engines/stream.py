"""One request and its answer on a connection of its own, which never blocks.

It is driven by a loop over many (``streams.py``, ``traffic.py``), which says when there is something to read.
Bytes have the kernel's stamps, and are given to the timing core when there is time for it.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from aiidpd.engines.answer import MOST_BYTES, AnswerReader, Sent
from aiidpd.engines.chat import error_text
from aiidpd.engines.faults import AnswerFaultError, Fault, status_fault
from aiidpd.engines.response import ResponseReader
from aiidpd.engines.target import Timeline
from aiidpd.platform.loop_delay import GRAIN
from aiidpd.platform.stamps import Received, StampedReader

_OK: Final = 200
_MOST_WORDS: Final = 4096  # bytes of a refusal that are read


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """Bytes of a whole HTTP request, with ``Connection: close``, for an answer of ``max_tokens``.

    ``page``: it requests a page and no stream; its record has no chunks.
    """

    content: bytes
    max_tokens: int
    page: bool = False


@dataclass(frozen=True, slots=True)
class Streamed:
    """Outcome of one stream: its record, or why there is none. ``port`` is its local one."""

    port: int
    timeline: Timeline | None = None
    fault: Fault | None = None
    reason: str = ""


class Stream:
    """Connection that is being opened, request that is sent by it, and what came back.

    ``fault`` is why nothing more comes of it; ``ended``: the server closed it.
    """

    def __init__(
        self, address: tuple[str, int], request: StreamRequest, monotonic: Callable[[], float]
    ) -> None:
        self.request = request
        self.opened = monotonic()
        self.port = 0
        self.connected: float | None = None
        self.sent: float | None = None
        self.ended = False
        self.fault: AnswerFaultError | None = None
        self._monotonic = monotonic
        self._written = 0
        self._size = 0
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._connection = socket.socket(family, socket.SOCK_STREAM)
        self._connection.setblocking(False)
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = StampedReader(self._connection, monotonic)
        code = self._connection.connect_ex(address)
        if code not in (0, errno.EINPROGRESS):
            self.fault = AnswerFaultError(Fault.UNREACHABLE, os.strerror(code).lower())

    @property
    def over(self) -> bool:
        """Return whether nothing more can come."""
        return self.ended or self.fault is not None

    def fileno(self) -> int:
        return self._connection.fileno()

    def close(self) -> None:
        self._connection.close()

    def connect(self) -> None:
        """Take note of how the opening of the connection ended."""
        code = self._connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self.fault = AnswerFaultError(Fault.UNREACHABLE, os.strerror(code).lower())
        else:
            self.connected = self._monotonic()
            self.port = self._connection.getsockname()[1]

    def send(self) -> bool:
        """Write as much as fits; return whether the request is sent whole by now."""
        at = self._monotonic()
        try:
            self._written += self._connection.send(memoryview(self.request.content)[self._written :])
        except BlockingIOError:
            return False
        except OSError as error:
            self.fault = AnswerFaultError(Fault.NO_ANSWER, _words(error))
            return False
        if self._written == len(self.request.content):
            self.sent = at
        return self.sent is not None

    def receive(self, before: float) -> tuple[Received, float] | None:
        """Return what is there, and for how long it may have waited; nothing was there ``before``."""
        try:
            received = self._reader.receive()
        except BlockingIOError:
            return None
        except OSError as error:
            self.fault = AnswerFaultError(Fault.CUT if self._size else Fault.NO_ANSWER, _words(error))
            return None
        if not received.data:
            self.ended = True
            return None
        waited = received.read - max(self._reader.empty, before)
        self._reader.emptied(received)
        self._size += len(received.data)
        if self._size > MOST_BYTES:
            self.fault = AnswerFaultError(Fault.TOO_LONG, f"more than {MOST_BYTES // 2**20} MiB arrived")
        return received, waited if waited > GRAIN else 0.0


class StreamReading:
    """Reads what a :class:`Stream` received; may be fed long after the arrival."""

    def __init__(self, request: StreamRequest) -> None:
        self._response = ResponseReader()
        self._answer = AnswerReader(request.max_tokens)
        self._page = request.page
        self._last = 0.0
        self._refusal = b""  # the body of an answer that is none

    @property
    def done(self) -> bool:
        """Return whether the answer is whole, also where the connection stays open."""
        return self._answer.done or self._response.done

    def feed(self, received: Received, waited: float) -> None:
        """Read bytes; raises :class:`AnswerFaultError` for what is no answer."""
        body = self._response.feed(received.data)
        self._last = received.arrived
        if self._response.status not in (0, _OK):
            self._refusal += body[: _MOST_WORDS - len(self._refusal)]
            return
        if self._response.status:
            _admit(self._response, page=self._page)
        if body and not self._page:
            self._answer.feed(body, received.arrived, waited, stamped=received.stamped)

    def so_far(self, stream: Stream) -> Timeline | None:
        """Return the record of an answer that goes on, None where it has no token yet."""
        if stream.sent is None or stream.connected is None or not self._answer.chunks:
            return None
        return self._answer.timeline(Sent(stream.sent, stream.connected - stream.opened))

    def timeline(self, stream: Stream, delays: Sequence[float] = ()) -> Timeline:
        """Return the record; raises :class:`AnswerFaultError` where it is no whole answer."""
        if stream.sent is None or stream.connected is None:
            raise stream.fault or AnswerFaultError(Fault.NO_ANSWER, "the request could not be sent in time")
        self._raise_refusal()
        answer = self._answer
        if self._page and stream.ended:
            self._response.end()
        if self._page and self._response.done:
            return Timeline(stream.sent, max(self._last, stream.sent), ())
        if not answer.done:
            if stream.fault is not None:
                raise stream.fault
            if not stream.ended and not self._response.done:
                late = Fault.UNFINISHED if answer.chunks else Fault.LATE
                raise AnswerFaultError(late, f"it did not end in time ({len(answer.chunks)} chunks arrived)")
            self._response.end()
            answer.end()
        return answer.timeline(Sent(stream.sent, stream.connected - stream.opened), delays)

    def _raise_refusal(self) -> None:
        status = self._response.status
        if status in (0, _OK):
            return
        words = error_text(self._refusal.decode(errors="replace")) if self._refusal else ""
        reason = f"it answers {status}"
        raise AnswerFaultError(status_fault(status), f"{reason}: {words}" if words else reason)


def _admit(response: ResponseReader, *, page: bool) -> None:
    if page:
        return
    kind = response.headers.get("content-type", "")
    if not kind.lower().startswith("text/event-stream"):
        raise AnswerFaultError(Fault.NO_STREAM, f"it answers with {kind[:60]!r} instead of an event stream")
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise AnswerFaultError(Fault.COMPRESSED, "the stream is compressed")


def redacted(words: str, key: str) -> str:
    """Return ``words`` of a server without the key that it was sent."""
    return words.replace(key, "[API key]") if key else words


def _words(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
