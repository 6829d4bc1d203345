"""Many streams at once, each on a connection of its own, for a process that does nothing else.

While the streams run, bytes are only read and kept with the kernel's stamps; what they say is read at the
end, by the same timing core as a probe's. So the time of a token does not depend on how many other streams
there are. Plain HTTP alone: what is encrypted has to be read as it arrives.
"""

from __future__ import annotations

import resource
import select
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from aiidpd.engines.faults import AnswerFaultError, Fault
from aiidpd.engines.stream import Stream, Streamed, StreamReading, StreamRequest
from aiidpd.kernel.errors import Misconfigured
from aiidpd.platform.stamps import Received

ROUND: Final = 0.001
"""Seconds for which a round of a loop over streams waits at most, so that a delay shows."""
_SPARE_FILES: Final = 64


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
class _Reception:
    """Stream, and the bytes that came by it."""

    stream: Stream
    parts: list[tuple[Received, float]] = field(default_factory=list)


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
        receptions: list[_Reception] = []
        poller = select.epoll()
        try:
            streams = (Stream(self._address, each, self._monotonic) for each in self._requests)
            receptions += map(_Reception, streams)
            files = {each.stream.fileno(): each for each in receptions}
            for file in files:
                poller.register(file, select.EPOLLOUT)
            self._connect(poller, files, deadline)
            before = time.process_time()
            self._exchange(poller, files, deadline)
            cpu = time.process_time() - before
        finally:
            poller.close()
            for each in receptions:
                each.stream.close()
        delays = sorted(self._delays)
        return Run(tuple(_outcome(each, delays) for each in receptions), self._most_on_wire, cpu)

    def _connect(self, poller: select.epoll, files: dict[int, _Reception], deadline: float) -> None:
        waiting = {file for file, each in files.items() if each.stream.fault is None}
        while waiting and self._monotonic() < deadline:
            for file, _ in poller.poll(ROUND):
                if file in waiting:
                    waiting.discard(file)
                    poller.modify(file, 0)
                    files[file].stream.connect()
        for file in waiting:
            files[file].stream.fault = AnswerFaultError(Fault.UNREACHABLE, "no connection came about in time")

    def _exchange(self, poller: select.epoll, files: dict[int, _Reception], deadline: float) -> None:
        going = {file for file, each in files.items() if each.stream.fault is None}
        for file in going:
            poller.modify(file, select.EPOLLIN | select.EPOLLOUT)
        before = self._monotonic()
        while going and before < deadline:
            events = poller.poll(ROUND)
            now = self._monotonic()
            for file, event in events:
                reception = files[file]
                stream = reception.stream
                if event & select.EPOLLOUT and stream.send():
                    self._on_wire += 1
                    self._most_on_wire = max(self._most_on_wire, self._on_wire)
                    poller.modify(file, select.EPOLLIN)
                if event & ~select.EPOLLOUT and not stream.over:
                    part = stream.receive(before)
                    if part is not None:
                        reception.parts.append(part)
                if stream.over:
                    going.discard(file)
                    poller.unregister(file)
                    self._on_wire -= stream.sent is not None
            self._delays.append(max(0.0, now - before - ROUND))
            before = now


def room_for(streams: int) -> None:
    """Let this process open as many files as ``streams`` need; raises :class:`Misconfigured` for too many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = streams + _SPARE_FILES
    if hard != resource.RLIM_INFINITY and wanted > hard:
        reason = f"they need {wanted} open files, and the limit is {hard}"
        raise Misconfigured("open", f"{streams} streams", reason=reason, remedy="raise it by ulimit -Hn")
    if soft != resource.RLIM_INFINITY and wanted > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _outcome(reception: _Reception, delays: Sequence[float]) -> Streamed:
    stream, reading = reception.stream, StreamReading(reception.stream.request)
    try:
        if stream.sent is not None:
            for received, waited in reception.parts:
                reading.feed(received, waited)
        return Streamed(stream.port, reading.timeline(stream, delays))
    except AnswerFaultError as fault:
        return Streamed(stream.port, None, fault.fault, str(fault))
