"""How long a test waits, and how a promise about time is judged on a machine that has others to serve."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

import anyio

PATIENCE: Final = 60.0
"""Seconds. What has not come about by then will not: this says nothing about how fast it should."""

_SUMMED_EVERY = 2.1  # seconds: the kernel brings what it says of stalls up to date every two

T = TypeVar("T")


async def eventually(
    read: Callable[[], Awaitable[T]], holds: Callable[[T], object], seconds: float = PATIENCE
) -> T:
    """Return the first value of ``read()`` for which ``holds`` is true; fail where none comes in time."""
    deadline = time.monotonic() + seconds
    while not holds(value := await read()):
        assert time.monotonic() < deadline, f"still {value!r} after {seconds:g} s"
        await anyio.sleep(0.02)
    return value


def until(holds: Callable[[], object], seconds: float = PATIENCE, why: Callable[[], str] = str) -> None:
    """Wait until ``holds()``; where it does not in time, fail with what ``why()`` says."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"it did not come about in {seconds:g} s; {why()}"
        time.sleep(0.02)


class Stopwatch:
    """Measures from when it is made."""

    def __init__(self) -> None:
        self._stalled = stalled()
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long it has been, by the clock on the wall."""
        return time.monotonic() - self._began

    def within(self, promised: float, took: float | None = None) -> bool:
        """Whether it has been no longer than ``promised`` seconds, but for what the machine took.

        With ``took`` that is judged, a part of the time.

        A promise holds for a machine that has time. Where it seems broken, the time in which somebody had
        to wait for a processor or a disk, or the host took the processor away, is not counted.
        """
        took = self.seconds if took is None else took
        if took <= promised:
            return True
        time.sleep(_SUMMED_EVERY)
        return took - (stalled() - self._stalled) <= promised


def stalled() -> float:
    """Return for how many seconds since its boot this machine has held somebody up; 0 where it can't tell."""
    seconds = 0.0
    for resource in ("cpu", "io"):
        with suppress(OSError):
            some = Path("/proc/pressure", resource).read_text().splitlines()[0]
            seconds += int(some.rpartition("total=")[2]) / 1e6
    with suppress(OSError):
        stolen = Path("/proc/stat").read_text().split("\n", 1)[0].split()[8]
        seconds += int(stolen) / os.sysconf("SC_CLK_TCK")
    return seconds
