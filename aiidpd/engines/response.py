"""HTTP/1.1 responses to one request, read as the bytes arrive (pure). After RFC 9112, sections 4 to 7.

It is for streams that httpx is too slow to read by the hundred. What follows the response is not read: the
connection is for one request.
"""

from __future__ import annotations

from typing import Final

from aiidpd.engines.faults import AnswerFaultError, Fault

_MOST_HEAD_BYTES: Final = 64 * 1024
_MOST_LINE_BYTES: Final = 1024
_MOST_CHUNK_DIGITS: Final = 10
_INTERIM: Final = range(100, 200)


class ResponseReader:
    """Turns the bytes of a connection into the body of its response.

    ``status`` is 0 until the head is whole; ``headers`` have their names in small letters.
    """

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.done = False
        self._buffer = bytearray()
        self._left: int | None = None  # bytes of the body or chunk that have to come; None: until the end
        self._chunked = False
        self._ending = False  # a line end follows a chunk
        self._trailer = False

    def feed(self, data: bytes) -> bytes:
        """Return the bytes of the body in ``data``; raises :class:`AnswerFaultError` for no response."""
        if self.done:
            return b""
        self._buffer += data
        if not self.status and not self._head():
            return b""
        body = bytearray()
        while not self.done and self._step(body):
            pass
        return bytes(body)

    def end(self) -> None:
        """Take note that the connection ended; raises where the response is not whole."""
        if not self.status:
            raise AnswerFaultError(Fault.NO_ANSWER, "the connection ended before an answer")
        if not self.done and (self._chunked or self._left):
            raise AnswerFaultError(Fault.CUT, "the connection ended amid the answer")
        self.done = True

    def _head(self) -> bool:
        """Read the head where it is whole; return whether that of the response itself is."""
        while True:
            end = self._buffer.find(b"\r\n\r\n", 0, _MOST_HEAD_BYTES + 4)
            if end < 0:
                if len(self._buffer) > _MOST_HEAD_BYTES:
                    raise _malformed(f"its head is longer than {_MOST_HEAD_BYTES} bytes")
                return False
            lines = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
            del self._buffer[: end + 4]
            status = _status(lines[0])
            if status in _INTERIM:
                continue
            self.headers = _headers(lines[1:])
            self._frame(status)
            self.status = status
            return True

    def _frame(self, status: int) -> None:
        coding = self.headers.get("transfer-encoding", "").lower()
        length = self.headers.get("content-length")
        if status in (204, 304):
            self.done = True
        elif coding == "chunked":
            self._chunked, self._left = True, 0
        elif coding:
            raise _malformed("its transfer encoding is not known")
        elif length is not None:
            if not (length.isascii() and length.isdigit()) or len(length) > _MOST_CHUNK_DIGITS:
                raise _malformed("its content length is no number")
            self._left = int(length)
            self.done = not self._left

    def _step(self, body: bytearray) -> bool:
        """Move what is there on to ``body``; return whether there may be more."""
        if self._left is None or self._left:
            piece = self._buffer[: self._left]
            del self._buffer[: len(piece)]
            body += piece
            if self._left is not None:
                self._left -= len(piece)
                self._ending = self._chunked and not self._left
                self.done = not self._chunked and not self._left
            return bool(piece) and bool(self._buffer)
        line = self._line()
        if line is None:
            return False
        if self._trailer:
            self.done = not line
        elif self._ending:
            if line:
                raise _malformed("a chunk is longer than it says")
            self._ending = False
        else:
            self._left = _size(line)
            self._trailer = not self._left
        return True

    def _line(self) -> bytes | None:
        end = self._buffer.find(b"\r\n", 0, _MOST_LINE_BYTES + 2)
        if end < 0:
            if len(self._buffer) > _MOST_LINE_BYTES:
                raise _malformed(f"a line between chunks is longer than {_MOST_LINE_BYTES} bytes")
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line


def _status(line: str) -> int:
    version, _, rest = line.partition(" ")
    code = rest[:3]
    if not version.startswith("HTTP/1.") or not (code.isascii() and code.isdigit() and len(code) == 3):  # noqa: PLR2004
        raise _malformed("it does not begin as a response")
    return int(code)


def _headers(lines: list[str]) -> dict[str, str]:
    found = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise _malformed("a header has no colon")
        found[name.strip().lower()] = value.strip()
    return found


def _size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    if not digits or len(digits) > _MOST_CHUNK_DIGITS or digits.strip(b"0123456789abcdefABCDEF"):
        raise _malformed("the length of a chunk is no number")
    return int(digits, 16)


def _malformed(reason: str) -> AnswerFaultError:
    return AnswerFaultError(Fault.MALFORMED, reason)
