"""Calls of Linux that Python's standard library does not have."""

from __future__ import annotations

import ctypes
import fcntl
import os
from typing import Final

RWF_DONTCACHE: Final = 0x80
"""Flag of preadv2 and pwritev2 (Linux 6.14): pages that the call brings into the cache leave it after it."""
_FICLONE: Final = 0x40049409
_START: Final = 2  # SYNC_FILE_RANGE_WRITE
_FINISH: Final = 7  # and both of its waits
_KEEP_SIZE: Final = 1
_CACHESTAT: Final = 451  # on every architecture

_libc: Final = ctypes.CDLL(None, use_errno=True)
_range: Final = (ctypes.c_int64, ctypes.c_int64)
_libc.sync_file_range.argtypes = (ctypes.c_int, *_range, ctypes.c_uint)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, *_range)


def start_writeback(descriptor: int, offset: int, count: int) -> None:
    """Have a range of a file written to its disk, and do not wait for it; raises :class:`OSError`."""
    _check(_libc.sync_file_range(descriptor, offset, count, _START))


def finish_writeback(descriptor: int, offset: int, count: int) -> None:
    """Wait until a range of a file is written to its disk; raises :class:`OSError`."""
    _check(_libc.sync_file_range(descriptor, offset, count, _FINISH))


def allocate(descriptor: int, count: int) -> None:
    """Reserve room for the first ``count`` bytes of a file; its size stays. Raises :class:`OSError`.

    Unlike :func:`os.posix_fallocate` it writes nothing where the file system can't reserve.
    """
    _check(_libc.fallocate(descriptor, _KEEP_SIZE, 0, count))


def is_cached(descriptor: int) -> bool:
    """Return whether any of a file is in the page cache; true where the kernel (before 6.5) can't say."""
    everything = (ctypes.c_uint64 * 2)()
    found = (ctypes.c_uint64 * 5)()
    failed = _libc.syscall(_CACHESTAT, descriptor, everything, found, 0)
    return failed != 0 or found[0] > 0


def clone(source: int, destination: int) -> None:
    """Have a new, empty file share all extents of another; raises :class:`OSError` where it can't."""
    fcntl.ioctl(destination, _FICLONE, source)


def set_direct(descriptor: int, *, direct: bool) -> bool:
    """Switch transfers past the cache on or off; return whether they are as wanted."""
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    wanted = flags | os.O_DIRECT if direct else flags & ~os.O_DIRECT
    try:
        if wanted != flags:
            fcntl.fcntl(descriptor, fcntl.F_SETFL, wanted)
    except OSError:
        return False
    return True


def _check(returned: int) -> None:
    if returned != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
