"""Many streams at once, each on a connection of its own, for a process that does nothing else.

While the streams run, bytes are only read and kept with the kernel's stamps; what they say is read at the
end, by the same timing core as a probe's. So the time of a token does not depend on how many other streams
there are. Plain HTTP alone: what is encrypted has to be read as it arrives.
"""

from __future__ import annotations

import errno
import os
import resource
import select
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from aiidpd.engines.answer import MOST_BYTES, AnswerReader, Sent
from aiidpd.engines.faults import AnswerFaultError, Fault, status_fault
from aiidpd.engines.response import ResponseReader
from aiidpd.engines.target import Timeline
from aiidpd.kernel.errors import Misconfigured
from aiidpd.platform.loop_delay import GRAIN
from aiidpd.platform.stamps import Received, StampedReader

_ROUND: Final = 0.001  # seconds for which a round of the loop waits at most, so that a delay shows
_SPARE_FILES: Final = 64
_OK: Final = 200


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """Bytes of a whole HTTP request, with ``Connection: close``, for an answer of ``max_tokens``."""

    content: bytes
    max_tokens: int


@dataclass(frozen=True, slots=True)
class Streamed:
    """Outcome of one stream: its record, or why there is none. ``port`` is its local one."""

    port: int
    timeline: Timeline | None = None
    fault: Fault | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """Outcome of all streams. ``short`` is why it is none as a whole, empty where it is one."""

    streams: tuple[Streamed, ...]
    on_wire: int
    """Streams whose requests were sent and whose answers had not ended, at the same time, at most."""
    cpu_seconds: float
    """Time of the processor while they ran."""

    @property
    def short(self) -> str:
        """Fewer streams than asked for were on the wire at once, where that is so."""
        if self.on_wire >= len(self.streams):
            return ""
        return f"{len(self.streams)} streams were asked for, and {self.on_wire} were on the wire at once"


@dataclass(slots=True)
class _Stream:
    request: StreamRequest
    connection: socket.socket
    reader: StampedReader
    opened: float
    port: int = 0
    connected: float | None = None
    sent: float | None = None
    written: int = 0
    parts: list[tuple[Received, float]] = field(default_factory=list)
    size: int = 0
    ended: bool = False
    fault: AnswerFaultError | None = None


class Streams:
    """Runs ``requests`` at ``address``, all at once.

    Connections are opened first, so that no stream's time has another's set-up. Raises
    :class:`Misconfigured` where this process may not open as many.
    """

    def __init__(
        self,
        address: tuple[str, int],
        requests: Sequence[StreamRequest],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._address = address
        self._requests = requests
        self._monotonic = monotonic
        self._delays: list[float] = []
        self._on_wire = 0
        self._most_on_wire = 0

    def run(self, timeout: float) -> Run:
        """Run the streams to their ends, or for ``timeout`` seconds."""
        room_for(len(self._requests))
        deadline = self._monotonic() + timeout
        streams: list[_Stream] = []
        poller = select.epoll()
        try:
            streams += (self._opened(each) for each in self._requests)
            files = {each.connection.fileno(): each for each in streams}
            for file in files:
                poller.register(file, select.EPOLLOUT)
            self._connect(poller, files, deadline)
            before = time.process_time()
            self._exchange(poller, files, deadline)
            cpu = time.process_time() - before
        finally:
            poller.close()
            for each in streams:
                each.connection.close()
        delays = sorted(self._delays)
        return Run(tuple(_outcome(each, delays) for each in streams), self._most_on_wire, cpu)

    def _opened(self, request: StreamRequest) -> _Stream:
        opened = self._monotonic()
        family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
        connection = socket.socket(family, socket.SOCK_STREAM)
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream = _Stream(request, connection, StampedReader(connection, self._monotonic), opened)
        code = connection.connect_ex(self._address)
        if code not in (0, errno.EINPROGRESS):
            stream.fault = AnswerFaultError(Fault.UNREACHABLE, os.strerror(code).lower())
        return stream

    def _connect(self, poller: select.epoll, files: dict[int, _Stream], deadline: float) -> None:
        waiting = {file for file, each in files.items() if each.fault is None}
        while waiting and self._monotonic() < deadline:
            for file, _ in poller.poll(_ROUND):
                stream = files[file]
                if file in waiting:
                    waiting.discard(file)
                    poller.modify(file, 0)
                    code = stream.connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    if code:
                        stream.fault = AnswerFaultError(Fault.UNREACHABLE, os.strerror(code).lower())
                    else:
                        stream.connected = self._monotonic()
                        stream.port = stream.connection.getsockname()[1]
        for file in waiting:
            files[file].fault = AnswerFaultError(Fault.UNREACHABLE, "no connection came about in time")

    def _exchange(self, poller: select.epoll, files: dict[int, _Stream], deadline: float) -> None:
        going = {file for file, each in files.items() if each.fault is None}
        for file in going:
            poller.modify(file, select.EPOLLIN | select.EPOLLOUT)
        before = self._monotonic()
        while going and before < deadline:
            events = poller.poll(_ROUND)
            now = self._monotonic()
            for file, event in events:
                stream = files[file]
                if event & select.EPOLLOUT:
                    self._send(poller, file, stream)
                if event & ~select.EPOLLOUT:
                    self._receive(stream, before)
                if stream.ended or stream.fault is not None:
                    going.discard(file)
                    poller.unregister(file)
                    self._on_wire -= stream.sent is not None
            self._delays.append(max(0.0, now - before - _ROUND))
            before = now

    def _send(self, poller: select.epoll, file: int, stream: _Stream) -> None:
        at = self._monotonic()
        try:
            stream.written += stream.connection.send(memoryview(stream.request.content)[stream.written :])
        except BlockingIOError:
            return
        except OSError as error:
            stream.fault = AnswerFaultError(Fault.NO_ANSWER, _words(error))
            return
        if stream.written == len(stream.request.content):
            stream.sent = at
            self._on_wire += 1
            self._most_on_wire = max(self._most_on_wire, self._on_wire)
            poller.modify(file, select.EPOLLIN)

    def _receive(self, stream: _Stream, before: float) -> None:
        """Keep what is there; nothing was there ``before``, when the last round began."""
        try:
            received = stream.reader.receive()
        except BlockingIOError:
            return
        except OSError as error:
            stream.fault = AnswerFaultError(Fault.CUT if stream.parts else Fault.NO_ANSWER, _words(error))
            return
        if not received.data:
            stream.ended = True
            return
        waited = received.read - max(stream.reader.empty, before)
        stream.reader.emptied(received)
        stream.parts.append((received, waited if waited > GRAIN else 0.0))
        stream.size += len(received.data)
        if stream.size > MOST_BYTES:
            stream.fault = AnswerFaultError(Fault.TOO_LONG, f"more than {MOST_BYTES // 2**20} MiB arrived")


def room_for(streams: int) -> None:
    """Let this process open as many files as ``streams`` need; raises :class:`Misconfigured` for too many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = streams + _SPARE_FILES
    if hard != resource.RLIM_INFINITY and wanted > hard:
        reason = f"they need {wanted} open files, and the limit is {hard}"
        raise Misconfigured("open", f"{streams} streams", reason=reason, remedy="raise it by ulimit -Hn")
    if soft != resource.RLIM_INFINITY and wanted > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _outcome(stream: _Stream, delays: Sequence[float]) -> Streamed:
    try:
        return Streamed(stream.port, _timeline(stream, delays))
    except AnswerFaultError as fault:
        return Streamed(stream.port, None, fault.fault, str(fault))


def _timeline(stream: _Stream, delays: Sequence[float]) -> Timeline:
    """Return the record of what was read; raises :class:`AnswerFaultError` where that is no whole answer."""
    if stream.sent is None or stream.connected is None:
        raise stream.fault or AnswerFaultError(Fault.NO_ANSWER, "the request could not be sent in time")
    response, answer = ResponseReader(), AnswerReader(stream.request.max_tokens)
    _read(response, answer, stream.parts)
    if not answer.done:
        if stream.fault is not None:
            raise stream.fault
        if not stream.ended and not response.done:
            late = Fault.UNFINISHED if answer.chunks else Fault.LATE
            raise AnswerFaultError(late, f"it did not end in time ({len(answer.chunks)} chunks arrived)")
        response.end()
        answer.end()
    return answer.timeline(Sent(stream.sent, stream.connected - stream.opened), delays)


def _read(response: ResponseReader, answer: AnswerReader, parts: Iterable[tuple[Received, float]]) -> None:
    for received, waited in parts:
        body = response.feed(received.data)
        if response.status:
            _admit(response)
        if body:
            answer.feed(body, received.arrived, waited, stamped=received.stamped)


def _admit(response: ResponseReader) -> None:
    if response.status != _OK:
        raise AnswerFaultError(status_fault(response.status), f"it answers {response.status}")
    kind = response.headers.get("content-type", "")
    if not kind.lower().startswith("text/event-stream"):
        raise AnswerFaultError(Fault.NO_STREAM, f"it answers with {kind[:60]!r} instead of an event stream")
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise AnswerFaultError(Fault.COMPRESSED, "the stream is compressed")


def _words(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
