"""Reading that leaves the page cache as it was: what was in it stays, what was not does not come in."""

from __future__ import annotations

import errno
import mmap
import os
from enum import Enum
from typing import Final

from aiidpd.components.backup.process.syscalls import RWF_DONTCACHE, set_direct

ALIGNMENT: Final = 4096
"""Bytes: offsets, lengths and addresses of transfers past the cache are multiples of it."""
READ_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
"""Non-blocking for what became a pipe."""
_UNSUPPORTED: Final = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)


class Way(Enum):
    """Ways to read a file, each with the next one to try where the file system does not have it."""

    DROPPING = "pages that the read brings into the cache leave it at once"
    DIRECT = "past the cache"
    PLAIN = "through the cache"


def aligned(count: int) -> memoryview:
    """Return memory for transfers past the cache.

    It is there already: btrfs goes through the cache where it is not.
    """
    return memoryview(mmap.mmap(-1, count, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE))


def open_source(path: str) -> int:
    """Open a file to read it, without a change of its access time where that is allowed.

    Raises :class:`OSError`.
    """
    try:
        return os.open(path, READ_FLAGS | os.O_NOATIME)
    except PermissionError:  # the flag is for the file's owner and root alone
        return os.open(path, READ_FLAGS)


class Reader:
    """Reads an open file. ``device`` is the number of its file system, for the way that is known to work."""

    _known: Final[dict[int, Way]] = {}

    def __init__(self, descriptor: int, device: int, way: Way = Way.DROPPING) -> None:
        self._descriptor = descriptor
        self._device = device
        self._remembers = way is Way.DROPPING
        self._way = self._known.get(device, way) if self._remembers else way
        self._direct = False
        if self._way is Way.DIRECT:
            self._set_direct()

    def read(self, buffer: memoryview, offset: int) -> int:
        """Read into ``buffer``, aligned memory, from ``offset``; return how much, 0 at the end.

        Raises :class:`OSError`.
        """
        while True:
            flags = RWF_DONTCACHE if self._way is Way.DROPPING else 0
            unaligned = self._direct and (offset % ALIGNMENT or len(buffer) % ALIGNMENT)
            if unaligned:
                set_direct(self._descriptor, direct=False)
            try:
                return os.preadv(self._descriptor, [buffer], offset, flags)
            except OSError as error:
                if error.errno not in _UNSUPPORTED or unaligned or self._way is Way.PLAIN:
                    raise
                self._fall_back()
            finally:
                if unaligned:
                    set_direct(self._descriptor, direct=True)

    def _fall_back(self) -> None:
        if self._way is Way.DROPPING:
            self._way = Way.DIRECT
            self._set_direct()
        else:
            set_direct(self._descriptor, direct=False)
            self._direct, self._way = False, Way.PLAIN
        if self._remembers:
            self._known[self._device] = self._way

    def _set_direct(self) -> None:
        self._direct = set_direct(self._descriptor, direct=True)
        if not self._direct:
            self._way = Way.PLAIN
