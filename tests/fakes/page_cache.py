"""The page cache, as the kernel reports it."""

from __future__ import annotations

import ctypes
import mmap
import os
import subprocess
import tempfile
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_int64]
_libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


def cached_pages(path: Path) -> list[bool]:
    """Return for each page of a file whether it is in the cache."""
    size = path.stat().st_size
    if size == 0:
        return []
    pages = -(-size // mmap.PAGESIZE)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        address = _libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, 0)
        assert address != ctypes.c_void_p(-1).value
        found = ctypes.create_string_buffer(pages)
        assert _libc.mincore(address, size, found) == 0
        _libc.munmap(address, size)
    finally:
        os.close(descriptor)
    return [bool(page & 1) for page in found.raw]


def cached_bytes(path: Path) -> int:
    """Return how much of a file is in the cache."""
    return sum(cached_pages(path)) * mmap.PAGESIZE


def evict(path: Path) -> None:
    """Take a file out of the cache."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def warm(path: Path, start: int, length: int) -> None:
    """Bring a part of a file into the cache, and no more than that."""
    descriptor = os.open(path, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)  # no read-ahead
    os.pread(descriptor, length, start)
    os.close(descriptor)


def lets_go(folder: Path) -> bool:
    """Return whether the file system of ``folder`` forgets what it is ordered to: layered ones may not."""
    kind = subprocess.run(["stat", "-f", "-c", "%T", folder], check=True, capture_output=True).stdout
    if kind.strip() == b"overlayfs":
        return False
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        file.write(bytes(1 << 20))
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return cached_bytes(Path(file.name)) == 0
