"""Writing that leaves next to nothing in the page cache."""

from __future__ import annotations

import errno
import os
import time
from collections import deque
from enum import Enum
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
"""Bytes that may be in the cache behind a writer."""
_SLOW: Final = 0.5  # seconds
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)
_UNSUPPORTED: Final = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)


class Way(Enum):
    """Ways to write a file, each with the next one to try where the file system does not have it."""

    DROPPING = "through the cache, which each page leaves as soon as it is written out"
    DIRECT = "past the cache"
    PLAIN = "through the cache, and out of it by order"


class Sink:
    """A file that is being written, with no more than a window of it in the cache or on its way to the disk.

    ``name`` is for errors; ``shift`` is added to every offset. All methods raise :class:`Unavailable`.
    """

    def __init__(self, descriptor: int, name: str, *, way: Way = Way.DROPPING, shift: int = 0) -> None:
        self._descriptor = descriptor
        self._shift = shift
        self._name = name
        self._way = way
        self._written: deque[tuple[int, int]] = deque()  # ranges that are on their way
        self._behind = 0
        self.slow = False
        """True once the disk has taken long to write what was on its way."""
        if way is Way.DIRECT:
            self._set_direct()

    def write(self, block: memoryview, offset: int) -> None:
        """Write ``block``, aligned memory, at ``offset``."""
        offset += self._shift
        try:
            while block:
                count = self._write_some(block, offset)
                block, offset = block[count:], offset + count
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
            if self._way is Way.PLAIN:
                self._trim(0)
        except OSError as error:
            raise target_fault(self._name, error) from error
        finally:
            if self._way is Way.DIRECT:
                set_direct(self._descriptor, direct=False)

    def _write_some(self, block: memoryview, offset: int) -> int:
        if self._way is Way.DIRECT:
            return self._write_direct(block, offset)
        try:
            count = os.pwritev(
                self._descriptor, [block], offset, RWF_DONTCACHE if self._way is Way.DROPPING else 0
            )
        except OSError as error:
            if error.errno not in _UNSUPPORTED or self._way is Way.PLAIN:
                raise
            self._set_direct()
            return 0
        start_writing(self._descriptor, offset, count)
        self._written.append((offset, count))
        self._behind += count
        self._trim(BEHIND)
        return count

    def _write_direct(self, block: memoryview, offset: int) -> int:
        """Write past the cache; a part that is not aligned, as at the end of a file, through it."""
        whole = len(block) - len(block) % ALIGNMENT
        if whole and offset % ALIGNMENT == 0:
            try:
                return os.pwrite(self._descriptor, block[:whole], offset)
            except OSError as error:
                if error.errno not in _UNSUPPORTED:
                    raise
            set_direct(self._descriptor, direct=False)
            self._way = Way.PLAIN
            return 0
        set_direct(self._descriptor, direct=False)
        try:
            count = os.pwrite(self._descriptor, block, offset)
            drop(self._descriptor, offset, count)
        finally:
            set_direct(self._descriptor, direct=True)
        return count

    def _set_direct(self) -> None:
        self._way = Way.DIRECT if set_direct(self._descriptor, direct=True) else Way.PLAIN

    def _trim(self, most: int) -> None:
        """Wait until no more than ``most`` bytes are on their way."""
        while self._behind > most:
            offset, count = self._written.popleft()
            began = time.monotonic()
            drop(self._descriptor, offset, count)
            self.slow = self.slow or time.monotonic() - began > _SLOW
            self._behind -= count


class SmallSink:
    """Small files that are written through the cache, with no more than a window of them in it.

    Where pages leave the cache by themselves, it waits for a file now and then: those before it are on the
    disk by then, or soon.
    """

    def __init__(self, most: int = 2 * 1024 * 1024, apart: int = 512 * 1024) -> None:
        self._most = most
        self._apart = apart
        self._files: deque[tuple[int, int, int]] = deque()  # descriptor, size, bytes since the one before
        self._behind = 0
        self._since = 0
        self._drops = True

    def write(self, descriptor: int, block: memoryview) -> None:
        """Write a whole file; raises :class:`OSError`."""
        self._drops = write_all(descriptor, block, 0, drop=self._drops)
        if not self._drops:
            start_writing(descriptor, 0, len(block))
        self._since += max(len(block), ALIGNMENT)
        if not self._drops or self._since >= self._apart:
            self._files.append((os.dup(descriptor), len(block), self._since))
            self._behind += self._since
            self._since = 0
            self._trim(self._most)

    def settle(self) -> None:
        """Wait for all that it still has to wait for; raises :class:`OSError`."""
        self._trim(0)

    def _trim(self, most: int) -> None:
        while self._behind > most:
            descriptor, count, since = self._files.popleft()
            self._behind -= since
            try:
                drop(descriptor, 0, count)
            finally:
                os.close(descriptor)


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
