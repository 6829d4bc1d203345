"""Streams that begin one after another, each at its planned time, for a process that does nothing else.

A request is planned for a moment, and its connection is opened a little before, so that the request leaves
at that moment whatever the server does meanwhile: no slow answer holds back the requests that were to come
during it (coordinated omission), and each has its lateness beside the plan. Answers are read by the timing
core between two rounds, while the kernel stamps what arrives.
"""

from __future__ import annotations

import heapq
import select
import time
from array import array
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from aiidpd.engines.faults import AnswerFaultError, Fault
from aiidpd.engines.stream import Stream, Streamed, StreamReading, StreamRequest
from aiidpd.engines.streams import ROUND, room_for
from aiidpd.platform.stamps import Received

LEAD: Final = 0.02
"""Seconds before a request's time at which its connection begins to be opened."""
_SLICE: Final = 0.0005  # seconds of a round in which answers are read
_LOOK: Final = 0.05  # seconds between two searches for streams whose time is over
_CONNECTING: Final = 10.0  # seconds that a connection may take to open


@dataclass(frozen=True, slots=True)
class Planned:
    """Request that is to leave ``at`` a moment, in monotonic seconds; ``key`` names it to who planned it."""

    at: float
    key: int
    request: StreamRequest
    timeout: float


@dataclass(frozen=True, slots=True)
class Served:
    """Outcome of a planned request. ``late``: seconds by which we sent it too late, None where never."""

    key: int
    planned: float
    late: float | None
    streamed: Streamed
    at: float
    """Moment at which its outcome was known."""
    cut: bool = False
    """Ended with the traffic, before its answer did: no success and no failure; its record is that so far."""


class Source(Protocol):
    """Plan of the traffic, asked in each round."""

    def due(self, now: float) -> Planned | None:
        """Return a request whose time is no later than ``now``, each once; None where there is none."""

    def served(self, outcome: Served) -> None:
        """Take note of an outcome."""

    def over(self, now: float) -> bool:
        """Return whether nothing is planned any more."""

    def stopped(self, now: float) -> bool:
        """Return whether answers that have not ended are to be cut off."""


@dataclass(frozen=True, slots=True)
class Course:
    """Circumstances of a traffic as a whole."""

    most_on_wire: int
    """Requests that were sent and whose answers had not ended, at the same time, at most."""
    delays: tuple[float, ...]
    """Seconds by which the rounds of this process were late, ascending."""
    cpu_seconds: float
    unread: int
    """Readings that waited for the timing core at the same time, at most."""


class _Open:
    """Stream with its plan."""

    __slots__ = ("deadline", "ended_reading", "is_out", "plan", "reading", "stream", "waiting")

    def __init__(self, plan: Planned, stream: Stream) -> None:
        self.plan = plan
        self.stream = stream
        self.reading = StreamReading(plan.request)
        self.deadline = plan.at + plan.timeout
        self.waiting = 0  # readings that the timing core has not seen
        self.is_out = False  # it is closed, and its outcome is given once all was read
        self.ended_reading = False


class Traffic:
    """Sends what ``source`` plans to ``address`` until nothing is planned any more."""

    def __init__(
        self,
        address: tuple[str, int],
        source: Source,
        *,
        most: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._address = address
        self._source = source
        self._most = most
        self._monotonic = monotonic
        self._poller = select.epoll()
        self._files: dict[int, _Open] = {}
        self._ready: list[tuple[float, int, int]] = []  # (time, key, file) of connections that wait for it
        self._unread: deque[tuple[_Open, Received, float]] = deque()
        self._on_wire = self._most_on_wire = self._most_unread = 0
        self._delays = array("d")
        self._polled = 0.0

    def run(self) -> Course:
        """Run to the end of the plan; raises :class:`Misconfigured` where so many files may not be open."""
        room_for(self._most)
        cpu = time.process_time()
        try:
            self._go()
        finally:
            for each in self._files.values():
                each.stream.close()
            self._poller.close()
        return Course(
            self._most_on_wire, tuple(sorted(self._delays)), time.process_time() - cpu, self._most_unread
        )

    def _go(self) -> None:
        looked = self._polled = self._monotonic()
        while True:
            now = self._monotonic()
            while len(self._files) < self._most:
                plan = self._source.due(now + LEAD)
                if plan is None:
                    break
                self._begin(plan)
            if not self._files and not self._unread and self._source.over(now):
                return
            if self._source.stopped(now):
                self._cut()
                return
            self._round()
            now = self._monotonic()
            self._send_due(now)
            self._read(now + _SLICE)
            if now - looked >= _LOOK:
                looked = now
                self._end_late(now)

    def _round(self) -> None:
        """Wait for a round at most, and take what is there."""
        events = self._poller.poll(0 if self._unread else ROUND)
        before, self._polled = self._polled, self._monotonic()  # what is there now was not before
        self._delays.append(max(0.0, self._polled - before - ROUND))
        for file, event in events:
            each = self._files[file]
            stream = each.stream
            if stream.connected is None:
                stream.connect()
                if stream.fault is None:
                    self._poller.modify(file, 0)
                    heapq.heappush(self._ready, (each.plan.at, each.plan.key, file))
                else:
                    self._out(each)
                continue
            if event & select.EPOLLOUT:
                self._send(file, each)
            if event & ~select.EPOLLOUT and not each.is_out:
                part = stream.receive(before)
                if part is not None:
                    each.waiting += 1
                    self._unread.append((each, *part))
                if stream.over:
                    self._out(each)
        self._most_unread = max(self._most_unread, len(self._unread))

    def _begin(self, plan: Planned) -> None:
        stream = Stream(self._address, plan.request, self._monotonic)
        each = _Open(plan, stream)
        self._files[stream.fileno()] = each
        self._poller.register(stream.fileno(), select.EPOLLOUT)
        if stream.over:
            self._out(each)

    def _send_due(self, now: float) -> None:
        while self._ready and self._ready[0][0] <= now:
            _, key, file = heapq.heappop(self._ready)
            each = self._files.get(file)
            if each is not None and each.plan.key == key:
                self._send(file, each)

    def _send(self, file: int, each: _Open) -> None:
        if each.stream.send():
            self._on_wire += 1
            self._most_on_wire = max(self._most_on_wire, self._on_wire)
            self._poller.modify(file, select.EPOLLIN)
        elif each.stream.fault is not None:
            self._out(each)
        else:
            self._poller.modify(file, select.EPOLLIN | select.EPOLLOUT)

    def _read(self, until: float) -> None:
        """Give the timing core what arrived, for a while."""
        while self._unread:
            each, received, waited = self._unread.popleft()
            each.waiting -= 1
            if not each.ended_reading:
                try:
                    each.reading.feed(received, waited)
                except AnswerFaultError as fault:
                    each.stream.fault = fault
                each.ended_reading = each.stream.fault is not None or each.reading.done
            if each.ended_reading and not each.is_out:
                self._out(each)
            elif each.is_out and not each.waiting:
                self._give(each)
            if self._monotonic() >= until:
                return

    def _out(self, each: _Open) -> None:
        """Close a stream from which nothing more comes; its outcome follows when all of it is read."""
        each.is_out = True
        file = each.stream.fileno()
        self._poller.unregister(file)
        del self._files[file]
        each.stream.close()
        self._on_wire -= each.stream.sent is not None
        if not each.waiting:
            self._give(each)

    def _give(self, each: _Open, *, cut: bool = False) -> None:
        stream = each.stream
        try:
            timeline = each.reading.so_far(stream) if cut else each.reading.timeline(stream)
            streamed = Streamed(stream.port, timeline)
        except AnswerFaultError as fault:
            streamed = Streamed(stream.port, None, fault.fault, str(fault))
        late = None
        if stream.sent is not None and stream.connected is not None:
            late = max(0.0, stream.sent - max(each.plan.at, stream.connected))
        self._source.served(Served(each.plan.key, each.plan.at, late, streamed, self._monotonic(), cut))

    def _end_late(self, now: float) -> None:
        for each in list(self._files.values()):
            if each.stream.connected is None and now - each.stream.opened > _CONNECTING:
                each.stream.fault = AnswerFaultError(
                    Fault.UNREACHABLE, f"no connection came about within {_CONNECTING:g} s"
                )
            elif now >= each.deadline and not each.waiting:
                # Without a fault of its own the record says how far it came.
                self._out(each)
                continue
            if each.stream.over:
                self._out(each)

    def _cut(self) -> None:
        while self._unread:
            self._read(self._monotonic() + _LOOK)
        for each in list(self._files.values()):
            del self._files[each.stream.fileno()]
            each.stream.close()
            self._give(each, cut=True)
