"""Writing that leaves next to nothing in the page cache."""

from __future__ import annotations

import errno
import os
from collections import deque
from typing import Final

from aiidpd.components.backup.process.faults import target_fault
from aiidpd.components.backup.process.reading import ALIGNMENT
from aiidpd.components.backup.process.syscalls import (
    RWF_DONTCACHE,
    finish_writeback,
    set_direct,
    start_writeback,
)

BEHIND: Final = 8 * 1024 * 1024
"""Bytes that may be in the cache behind a writer that can't write past it."""
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)
_UNSUPPORTED: Final = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)


class Sink:
    """A file that is being written: past the cache, else through it and out of it again a window behind.

    ``name`` is for errors; ``shift`` is added to every offset. All methods raise :class:`Unavailable`.
    """

    def __init__(self, descriptor: int, name: str, *, direct: bool = True, shift: int = 0) -> None:
        self._descriptor = descriptor
        self._shift = shift
        self._name = name
        self.direct = direct and set_direct(descriptor, direct=True)
        """True as long as it writes past the cache."""
        self._drops = True
        self._written: deque[tuple[int, int]] = deque()  # ranges that are in the cache
        self._behind = 0

    def write(self, block: memoryview, offset: int) -> None:
        """Write ``block``, aligned memory, at ``offset``."""
        offset += self._shift
        try:
            if self.direct and offset % ALIGNMENT == 0:
                whole = len(block) - len(block) % ALIGNMENT
                done = self._write_direct(block[:whole], offset)
                block, offset = block[done:], offset + done
            if block:
                self._write_cached(block, offset)
        except OSError as error:
            raise target_fault(self._name, error) from error

    def flush(self) -> None:
        """Wait until all that was written is on the disk."""
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise target_fault(self._name, error) from error

    def finish(self, size: int) -> None:
        """Give the file its size, where it ends with a hole, and take the rest of it out of the cache."""
        try:
            if os.fstat(self._descriptor).st_size != size + self._shift:
                os.ftruncate(self._descriptor, size + self._shift)
            self._trim(0)
        except OSError as error:
            raise target_fault(self._name, error) from error
        finally:
            if self.direct:
                set_direct(self._descriptor, direct=False)

    def _write_direct(self, block: memoryview, offset: int) -> int:
        """Write past the cache; return how much was written before that was refused, or all."""
        done = 0
        while done < len(block) and done % ALIGNMENT == 0:
            try:
                done += os.pwrite(self._descriptor, block[done:], offset + done)
            except OSError as error:
                if error.errno not in _UNSUPPORTED:
                    raise
                set_direct(self._descriptor, direct=False)
                self.direct = False
                break
        return done

    def _write_cached(self, block: memoryview, offset: int) -> None:
        if self.direct:
            set_direct(self._descriptor, direct=False)
        try:
            count = write_all(self._descriptor, block, offset, drop=self._drops)
        finally:
            if self.direct:
                set_direct(self._descriptor, direct=True)
        self._drops = self._drops and count
        if not self._drops:
            start_writing(self._descriptor, offset, len(block))
            self._written.append((offset, len(block)))
            self._behind += len(block)
            self._trim(BEHIND)

    def _trim(self, most: int) -> None:
        while self._behind > most:
            offset, count = self._written.popleft()
            drop(self._descriptor, offset, count)
            self._behind -= count


class SmallSink:
    """Small files that are written through the cache, and taken out of it some files later."""

    def __init__(self, most: int = 2 * 1024 * 1024) -> None:
        self._most = most
        self._files: list[tuple[int, int]] = []
        self._bytes = 0
        self._drops = True  # the kernel does all this by itself

    def write(self, descriptor: int, block: memoryview) -> None:
        """Write a whole file; raises :class:`OSError`."""
        self._drops = write_all(descriptor, block, 0, drop=self._drops)
        if not self._drops:
            self._add(descriptor, len(block))

    def _add(self, descriptor: int, count: int) -> None:
        start_writing(descriptor, 0, count)
        self._files.append((os.dup(descriptor), count))
        self._bytes += max(count, 4096)
        if self._bytes >= self._most:
            self.settle()

    def settle(self) -> None:
        """Take all of them out of the cache; raises :class:`OSError`."""
        while self._files:
            descriptor, count = self._files.pop()
            try:
                drop(descriptor, 0, count)
            finally:
                os.close(descriptor)
        self._bytes = 0


def write_all(descriptor: int, block: memoryview, offset: int, *, drop: bool) -> bool:
    """Write all of ``block`` at ``offset``; return whether the kernel drops it from the cache by itself.

    It is called upon to where ``drop`` says so. Raises :class:`OSError`.
    """
    while block:
        try:
            count = os.pwritev(descriptor, [block], offset, RWF_DONTCACHE if drop else 0)
        except OSError as error:
            if not drop or error.errno not in _UNSUPPORTED:
                raise
            drop = False
            continue
        block, offset = block[count:], offset + count
    return drop


def start_writing(descriptor: int, offset: int, count: int) -> None:
    """Have a range of a file written to its disk soon; raises :class:`OSError`."""
    try:
        start_writeback(descriptor, offset, count)
    except OSError as error:
        if error.errno in (*_NO_ROOM, errno.EIO):
            raise


def drop(descriptor: int, offset: int, count: int) -> None:
    """Take a range of a file out of the cache, once it is on the disk; raises :class:`OSError`."""
    try:
        finish_writeback(descriptor, offset, count)
    except OSError as error:
        if error.errno in (*_NO_ROOM, errno.EIO):
            raise
        os.fdatasync(descriptor)
    os.posix_fadvise(descriptor, offset, count, os.POSIX_FADV_DONTNEED)
