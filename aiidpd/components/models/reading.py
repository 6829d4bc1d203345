"""Reads files at the lowest priority without filling the page cache: hashes, and samples of them."""

from __future__ import annotations

import ctypes
import hashlib
import mmap
import os
import platform
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from aiidpd.components.models.scanned import FileStamp
from aiidpd.formats.model_files import Hasher

CHUNK_BYTES: Final = 4 * 2**20
SAMPLE_BYTES: Final = 64 * 1024
_DONTCACHE: Final = 0x80  # RWF_DONTCACHE (Linux 6.14)
_IOPRIO_SET: Final = {"x86_64": 251, "aarch64": 30}
_IDLE_CLASS: Final = 3 << 13
_NICEST: Final = 19


class FileChanged(Exception):
    """Refusal of a file that is not the one any more that was to be read."""


def be_quiet() -> None:
    """Give this thread, and no other, the lowest priority of CPU and I/O; where that can't be, go on."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICEST)
    number = _IOPRIO_SET.get(platform.machine())
    if number is not None:
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None, use_errno=True).syscall(number, 1, 0, _IDLE_CLASS)


def read_through(
    path: str, stamp: FileStamp, hashers: tuple[Hasher, ...], step: Callable[[int], None]
) -> None:
    """Feed all of the file at ``path`` to ``hashers``; ``step`` is called with the size of each piece.

    Raises :class:`FileChanged` where it is another than ``stamp`` says, before or after, and
    :class:`OSError`. The page cache is left alone: RWF_DONTCACHE where the kernel has it, else O_DIRECT,
    else read as usual. Blocks.
    """
    with _opened(path, stamp) as file, mmap.mmap(-1, CHUNK_BYTES) as room:
        with memoryview(room) as buffer:
            read = _reader(file, path, buffer)
            try:
                offset = 0
                while offset <= stamp.size_bytes and (count := read(offset)):  # one that grows has an end too
                    with buffer[:count] as piece:
                        for hasher in hashers:
                            hasher.update(piece)  # type: ignore[arg-type]  # takes any buffer
                    offset += count
                    step(count)
            finally:
                read.close()
        if offset != stamp.size_bytes or _stamp(os.fstat(file)) != stamp:
            raise FileChanged


def sample_of(path: str, stamp: FileStamp) -> str:
    """Return a digest of beginning, middle and end of the file; raises as :func:`read_through`. Blocks."""
    digest = hashlib.sha256()
    size = stamp.size_bytes
    with _opened(path, stamp) as file:
        for at in (0, max(0, size // 2 - SAMPLE_BYTES // 2), max(0, size - SAMPLE_BYTES)):
            digest.update(os.pread(file, SAMPLE_BYTES, at))
    return digest.hexdigest()


class _reader:  # noqa: N801 -- a function with a file to close
    """Reads into ``buffer`` at an offset, by the way that leaves the least behind."""

    def __init__(self, file: int, path: str, buffer: memoryview) -> None:
        self._file = file
        self._buffer = buffer
        self._flags = _DONTCACHE
        self._path = path
        self._direct = -1

    def __call__(self, offset: int) -> int:
        if self._flags:
            try:
                return os.preadv(self._file, [self._buffer], offset, self._flags)
            except OSError:
                self._flags = 0  # an older kernel, or a file system without it
                with suppress(OSError):
                    self._direct = os.open(self._path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
        if self._direct >= 0:
            try:
                if offset % mmap.PAGESIZE == 0:
                    return os.preadv(self._direct, [self._buffer], offset)
            except OSError:
                self.close()
        return os.preadv(self._file, [self._buffer], offset)

    def close(self) -> None:
        if self._direct >= 0:
            os.close(self._direct)
            self._direct = -1


@contextmanager
def _opened(path: str, stamp: FileStamp) -> Iterator[int]:
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode) or _stamp(found) != stamp:
            raise FileChanged
        yield file
    finally:
        os.close(file)


def _stamp(found: os.stat_result) -> FileStamp:
    return FileStamp(found.st_size, found.st_mtime_ns, found.st_ino)
