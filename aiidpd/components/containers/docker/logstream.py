"""Newest lines of a container's output from the stream that Docker sends, in bounded memory (pure).

Docker sends the output of a container with a terminal as it is, and any other in frames: eight bytes (the
stream, three zeros, the length) and as many bytes as that. With ``timestamps`` each line begins with a time,
so that the first byte says which it is. A line of more than 16 KiB comes in several pieces, each with a time,
and each counts as a line where a number of them is requested.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from aiidpd.components.containers.actions import LogTail

LINE_BYTES: Final = 8192
"""Bytes of a line that are kept: its beginning, in which no piece ends that Docker made of it."""

_PIECE: Final = 16384  # bytes of a longer line that Docker logs at a time
_HEADER: Final = 8
_STREAMS: Final = b"\x00\x01\x02\x03"


class LogStream:
    """Takes the bytes of an answer as they come; has the newest ``lines`` of them, at most ``most`` bytes."""

    def __init__(self, lines: int, most: int) -> None:
        self._lines: deque[bytes] = deque()
        self._wanted = lines
        self._most = most
        self._held = 0  # bytes in _lines
        self._head = bytearray()  # of the line that has not ended
        self._length = 0  # of that line
        self._header = bytearray()
        self._left = 0  # bytes of the present frame that are to come
        self._framed: bool | None = None
        self._ended = 0  # lines so far
        self._frames = 0
        self._pieced = False  # a line of several pieces was among them
        self.received = 0
        """Bytes of output so far."""

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the answer."""
        if not data:
            return
        if self._framed is None:
            self._framed = data[0] in _STREAMS
        if not self._framed:
            self._output(data)
            return
        at = 0
        while at < len(data):
            if self._left:
                self._output(data[at : at + self._left])
                taken = min(self._left, len(data) - at)
                self._left -= taken
                at += taken
                continue
            taken = min(_HEADER - len(self._header), len(data) - at)
            self._header += data[at : at + taken]
            at += taken
            if len(self._header) == _HEADER:
                self._left = int.from_bytes(self._header[4:], "big")
                self._header.clear()
                self._frames += 1

    def tail(self, *, complete: bool) -> LogTail:
        """Return the newest lines; ``complete`` where the answer ended by itself."""
        if self._length:
            self._line_ended()
        lines = tuple(self._lines)
        # One line more was requested than is wanted: the first may be a later piece of a longer line.
        if len(lines) > self._wanted:
            lines = lines[1:]
        elif len(lines) == self._ended and (self._frames > self._wanted if self._framed else self._pieced):
            lines = (_without_first_word(lines[0]), *lines[1:])
        return LogTail(lines, self.received, full=self._ended > self._wanted, complete=complete)

    def _output(self, data: bytes) -> None:
        self.received += len(data)
        at = 0
        while True:
            end = data.find(b"\n", at)
            piece_end = len(data) if end < 0 else end
            room = LINE_BYTES - len(self._head)
            if room > 0:
                self._head += data[at : min(piece_end, at + room)]
            self._length += piece_end - at
            if end < 0:
                return
            self._line_ended()
            at = end + 1

    def _line_ended(self) -> None:
        more = self._length - len(self._head)
        self._pieced = self._pieced or self._length > _PIECE
        line = bytes(self._head).removesuffix(b"\r")
        if more:
            line += b" [%d more bytes]" % more
        self._head.clear()
        self._length = 0
        self._ended += 1
        self._lines.append(line)
        self._held += len(line)
        while len(self._lines) > self._wanted + 1 or (self._held > self._most and len(self._lines) > 1):
            self._held -= len(self._lines.popleft())


def _without_first_word(line: bytes) -> bytes:
    """Return ``line`` without the word behind its time: it may be the end of something that is not there."""
    time, _, text = line.partition(b" ")
    return b"%b [...] %b" % (time, text.partition(b" ")[2])
