"""Reading from sockets with the kernel's own time of each arrival."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_SO_TIMESTAMPNS: Final = 35  # of Linux; the socket module has no name for it
_STAMP: Final = struct.Struct("@ll")
_ROOM: Final = socket.CMSG_SPACE(_STAMP.size)
_STEADY: Final = 50e-6  # seconds within which two clocks have to be read, for they are compared
_TOLERANCE: Final = 0.001  # seconds; a stamp is made a little before the segment can be read


@dataclass(frozen=True, slots=True)
class Received:
    """Bytes of one reading, in monotonic seconds."""

    data: bytes
    arrived: float
    """Arrival of the last of them, by the kernel where ``stamped``, else their reading."""
    stamped: bool
    read: float
    """Moment of their reading."""


class StampedReader:
    """Reads ``connection``, a connected socket that does not block."""

    def __init__(self, connection: socket.socket, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._socket = connection
        self._monotonic = monotonic
        self._last = 0.0
        self.empty = monotonic()
        """When last nothing was there to be read."""
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)

    def receive(self, most: int = 65_536) -> Received:
        """Return what is there, no bytes at the end of the stream; raises as ``recv`` does."""
        tried = self._monotonic()
        try:
            data, stamps, _, _ = self._socket.recvmsg(most, _ROOM)
        except BlockingIOError:
            self.empty = tried
            raise
        now, late = self._now_and_late(stamps)
        stamped = late is not None and -_TOLERANCE <= late <= now - self.empty + _TOLERANCE
        arrived = now - max(0.0, late) if stamped and late is not None else now
        self._last = max(self._last, arrived)
        return Received(data, self._last, stamped, now)

    def emptied(self, received: Received, most: int = 65_536) -> None:
        """Take note that ``received`` was all that was there, as fewer than ``most`` bytes are."""
        if len(received.data) < most:
            self.empty = received.read

    def _now_and_late(self, stamps: list[tuple[int, int, bytes]]) -> tuple[float, float | None]:
        """Return the time, and how long before it the kernel stamped the bytes."""
        stamp = next(
            (
                data
                for level, kind, data in stamps
                if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS) and len(data) == _STAMP.size
            ),
            None,
        )
        for _ in range(3):
            now, wall = self._monotonic(), time.time_ns()
            if self._monotonic() - now < _STEADY:
                break
        if stamp is None:
            return now, None
        seconds, nanoseconds = _STAMP.unpack(stamp)
        return now, (wall - seconds * 1_000_000_000 - nanoseconds) / 1e9
