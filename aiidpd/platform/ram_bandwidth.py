"""Bandwidth of this machine's RAM, measured in a second by threads that only read."""

from __future__ import annotations

import ctypes
import mmap
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

METHOD: Final = "memchr of the C library over memory larger than the caches, best fifth of a second"
_WINDOWS: Final = 5
_LARGEST_BYTES: Final = 256 << 20
_SMALLEST_BYTES: Final = 64 << 20
_SLICE_BYTES: Final = 8 << 20  # read between two looks at the clock
_SHARE: Final = 8  # of the available memory, one part
_ABSENT: Final = 0x5A
_FILL: Final = 0x01
_MOST_THREADS: Final = 64


class NotMeasured(RuntimeError):
    """Failure to measure the bandwidth, with its reason."""


@dataclass(frozen=True, slots=True)
class RamBandwidth:
    """Measured bandwidth in bytes a second, by so many threads over so many bytes."""

    bytes_per_second: float
    threads: int
    buffer_bytes: int


def measure(seconds: float = 1.0) -> RamBandwidth:
    """Read memory for ``seconds`` with a thread for each processor. Blocks; raises :class:`NotMeasured`.

    As a decode step does, it reads and writes nothing. Whatever else uses the memory meanwhile makes the
    figure smaller, so the best of five windows counts.
    """
    threads = max(1, min(len(os.sched_getaffinity(0)), _MOST_THREADS))
    size = _buffer_bytes() // threads // mmap.PAGESIZE * mmap.PAGESIZE
    try:
        find = ctypes.CDLL(None).memchr
    except (OSError, AttributeError) as error:
        raise NotMeasured(f"the C library can't be used: {error}") from None
    find.argtypes, find.restype = (ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t), ctypes.c_void_p
    windows = [[0] * _WINDOWS for _ in range(threads)]
    ready = threading.Barrier(threads)
    window = seconds / _WINDOWS
    failed: list[str] = []

    def read(own: list[int]) -> None:
        try:
            memory = mmap.mmap(-1, size)
        except (OSError, ValueError) as error:
            failed.append(str(error))
            ready.abort()
            return
        held = ctypes.c_char.from_buffer(memory)
        address = ctypes.addressof(held)
        ctypes.memset(address, _FILL, size)  # without this all pages are the same one
        try:
            ready.wait()
            begun = time.perf_counter()
            at = 0
            while (index := int((time.perf_counter() - begun) / window)) < _WINDOWS:
                length = min(_SLICE_BYTES, size - at)
                find(address + at, _ABSENT, length)
                own[index] += length
                at = (at + length) % size
        except threading.BrokenBarrierError:
            pass
        finally:
            del held
            memory.close()

    workers = [threading.Thread(target=read, args=(own,), daemon=True) for own in windows]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if failed:
        raise NotMeasured(f"no memory for it: {failed[0]}")
    best = max(sum(own[index] for own in windows) for index in range(_WINDOWS)) / window
    return RamBandwidth(best, threads, size * threads)


def _buffer_bytes() -> int:
    """Return how much memory is read: an eighth of what is available, within bounds."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        available = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration, IndexError):
        available = 0
    return max(_SMALLEST_BYTES, min(_LARGEST_BYTES, available // _SHARE))
