"""Server-sent events, read as the bytes arrive (pure). After the WHATWG HTML standard, section 9.2.

It differs in two points, both on purpose: what is not UTF-8 is an error rather than replaced, and
lines and events are bounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_BOM = b"\xef\xbb\xbf"


class MalformedStreamError(ValueError):
    """Bytes that are no event stream which this parser accepts; the text names the rule that they break."""


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event: its data lines joined by newlines, and its type (``message`` unless it is named)."""

    data: str
    type: str = "message"


class EventParser:
    """Turns bytes into events. However the bytes are cut, the events are the same.

    ``limit`` bounds, in bytes, a line and the data of an event.
    """

    def __init__(self, limit: int = 256 * 1024) -> None:
        self._limit = limit
        self._partial = bytearray()  # the line whose end has not come yet
        self._after_cr = False  # a line ended in CR with the last byte: an LF that follows belongs to it
        self._at_start = True
        self._data: list[bytes] = []
        self._size = 0
        self._type = b""

    @property
    def unfinished(self) -> bytes:
        """Data and line of the event whose end has not come yet; empty between two events."""
        return b"\n".join((*self._data, bytes(self._partial)))

    def feed(self, received: bytes) -> Iterator[ServerEvent]:
        """Yield the events that ``received`` completes; it must be read to its end.

        Raises :class:`MalformedStreamError` after the events before the fault.
        """
        if self._after_cr and received:
            self._after_cr = False
            received = received.removeprefix(b"\n")
        if b"\n" in received or b"\r" in received:
            self._after_cr = received.endswith(b"\r")
            pieces = received.splitlines(keepends=True)
            unfinished = b"" if pieces[-1].endswith((b"\r", b"\n")) else pieces.pop()
            for piece in pieces:
                self._append(piece.rstrip(b"\r\n"))
                line, self._partial = bytes(self._partial), bytearray()
                event = self._line(line)
                if event is not None:
                    yield event
            received = unfinished
        self._append(received)

    def _append(self, piece: bytes) -> None:
        if len(self._partial) + len(piece) > self._limit:
            raise MalformedStreamError(f"a line is longer than {self._limit} bytes")
        self._partial += piece

    def _line(self, line: bytes) -> ServerEvent | None:
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(_BOM)
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._size += len(value) + 1
            if self._size > self._limit:
                raise MalformedStreamError(f"the data of an event is longer than {self._limit} bytes")
            self._data.append(value)
        elif name == b"event":
            self._type = value
        return None  # a comment (its name is empty), or a field that has no meaning here

    def _dispatch(self) -> ServerEvent | None:
        data, kind = self._data, self._type
        self._data, self._type, self._size = [], b"", 0
        if not data:
            return None
        try:
            return ServerEvent(b"\n".join(data).decode(), kind.decode() or "message")
        except UnicodeDecodeError as error:
            raise MalformedStreamError(f"an event is not UTF-8: {error.reason}") from None
