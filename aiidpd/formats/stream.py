"""A bounded cursor over a binary stream, and files opened so that none of them can block the reader."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Final

from aiidpd.formats.damage import Damage, Malformed

_CHUNK_BYTES: Final = 256 * 1024

Source = str | os.PathLike[str] | BinaryIO
"""A path, or a stream of bytes at the beginning of a file."""


@contextmanager
def opened(source: Source) -> Iterator[BinaryIO]:
    """Open ``source`` for reading where it is a path; a stream is lent and stays open.

    A named pipe, a device or a folder raises :class:`Malformed` and is never waited for. Blocks for as long
    as the disk does; raises :class:`OSError`.
    """
    if not isinstance(source, str | os.PathLike):
        yield source
        return
    descriptor = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Malformed(Damage.NO_FILE, "it is no regular file")
        with open(descriptor, "rb", buffering=0, closefd=False) as file:
            yield file
    finally:
        os.close(descriptor)


def size_of(stream: BinaryIO) -> int | None:
    """Return the bytes from the position of ``stream`` to its end, or None where it can't be known."""
    try:
        here = stream.tell()
        end = stream.seek(0, os.SEEK_END)
        stream.seek(here)
    except (OSError, ValueError, AttributeError):
        return None
    return max(0, end - here)


def read_small(source: Source, limit: int) -> bytes:
    """Return all of a file of at most ``limit`` bytes; a larger one raises :class:`Malformed`."""
    with opened(source) as stream:
        data = bytearray()
        while len(data) <= limit:
            more = stream.read(min(_CHUNK_BYTES, limit + 1 - len(data)))
            if not more:
                return bytes(data)
            data += more
    raise Malformed(Damage.TOO_LARGE, f"it is larger than {limit} bytes")


def read_head(source: Source, count: int) -> tuple[bytes, int | None]:
    """Return at most ``count`` first bytes of a file and its size, where that can be known."""
    with opened(source) as stream:
        size = size_of(stream)
        data = bytearray()
        while len(data) < count:
            more = stream.read(count - len(data))
            if not more:
                break
            data += more
        return bytes(data), size


class Cursor:
    """Reads a header forwards: never past ``limit`` bytes, and with one chunk of it in memory.

    ``buffer`` and ``at`` are open to loops that must be fast: the unread bytes are ``buffer[at:]``.
    """

    def __init__(self, stream: BinaryIO, limit: int) -> None:
        self._stream = stream
        self._limit = limit
        self._base = 0  # offset of the buffer in the file
        self.size = size_of(stream)
        """Size of the file in bytes, None where it can't be known."""
        self.buffer = b""
        self.at = 0

    @property
    def offset(self) -> int:
        """Return the offset in the file of the next byte."""
        return self._base + self.at

    def need(self, count: int) -> None:
        """Have at least ``count`` unread bytes in the buffer."""
        if len(self.buffer) - self.at >= count:
            return
        self.check(count)
        self._base += self.at
        parts = [self.buffer[self.at :]]
        missing = count - len(parts[0])
        self.at = 0
        while missing > 0:
            room = self._limit - self._base - sum(map(len, parts))
            more = self._stream.read(max(missing, min(_CHUNK_BYTES, room)))
            if not more:
                self.buffer = b"".join(parts)
                raise self._ended()
            parts.append(more)
            missing -= len(more)
        self.buffer = b"".join(parts)

    def check(self, count: int) -> None:
        """Refuse ``count`` more bytes where the file or the limit has not so many."""
        if self.size is not None and self.offset + count > self.size:
            raise self._ended()
        if self.offset + count > self._limit:
            raise Malformed(Damage.TOO_LARGE, f"its header is longer than {self._limit} bytes")

    def take(self, count: int) -> bytes:
        """Return the next ``count`` bytes."""
        self.need(count)
        start = self.at
        self.at += count
        return self.buffer[start : self.at]

    def more(self) -> bool:
        """Read on by a chunk; return whether anything came."""
        self._base += self.at
        rest = self.buffer[self.at :]
        room = self._limit - self._base - len(rest)
        more = self._stream.read(min(_CHUNK_BYTES, room)) if room > 0 else b""
        self.buffer, self.at = rest + more, 0
        return bool(more)

    def skip(self, count: int) -> None:
        """Pass over ``count`` bytes, by seeking where the stream can."""
        rest = len(self.buffer) - self.at
        if count <= rest:
            self.at += count
            return
        self.check(count)
        beyond = count - rest
        self._base += len(self.buffer) + beyond
        self.buffer, self.at = b"", 0
        if self.size is not None:
            self._stream.seek(beyond, os.SEEK_CUR)
            return
        while beyond:
            more = self._stream.read(min(_CHUNK_BYTES, beyond))
            if not more:
                raise self._ended()
            beyond -= len(more)

    def _ended(self) -> Malformed:
        return Malformed(Damage.TRUNCATED, f"it ends within its header, which goes beyond byte {self.offset}")
