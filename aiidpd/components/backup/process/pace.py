"""Pace of the work: a rate in bytes a second, a pause, and the end of it, for one thread or several."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock
from typing import Final, Protocol

from aiidpd.components.backup.process.control import Control

_BURST: Final = 0.1  # seconds that may be caught up on
_POLL: Final = 0.05  # seconds
_STEPS: Final = 8  # reads a second at least, so that a low rate is a smooth one
_SMALLEST: Final = 64 * 1024


class Stopped(BaseException):
    """Order to a thread that helps to give up. Not an :class:`Exception`: no handler may take it for one."""


class Rate:
    """Bytes a second that several threads share; 0 is no limit."""

    def __init__(self, rate: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._lock = Lock()
        self._until = 0.0

    def delay(self, count: int) -> float:
        """Take ``count`` bytes; return for how many seconds to wait after that."""
        if self._rate <= 0:
            return 0.0
        with self._lock:
            now = self._clock()
            self._until = max(self._until, now - _BURST) + count / self._rate
            return max(0.0, self._until - now)

    def portion(self, most: int) -> int:
        """Return how much to read at once, ``most`` at most; a multiple of 4 KiB, as ``most`` has to be."""
        if self._rate <= 0:
            return most
        return min(most, max(_SMALLEST, self._rate // _STEPS // _SMALLEST * _SMALLEST))


class Meter(Protocol):
    """Called by whoever reads, for each block."""

    def step(self, count: int = 0) -> None:
        """Count ``count`` bytes as done, and wait where the work pauses; raises where it shall end."""

    def spend(self, count: int) -> None:
        """Wait as the rate demands after a read of ``count`` bytes; raises as :meth:`step`."""


class Foreground:
    """Meter of the thread that has the control itself."""

    def __init__(self, control: Control, rate: Rate) -> None:
        self._control = control
        self._rate = rate

    def step(self, count: int = 0) -> None:
        self._control.step(count)

    def spend(self, count: int) -> None:
        delay = self._rate.delay(count)
        if delay > 0:
            self._control.sleep(delay)


class Gate:
    """Meter of threads that help the one that has ``control``; ``count`` receives what they have done."""

    def __init__(self, control: Control, rate: Rate, count: Callable[[int], None]) -> None:
        self._control = control
        self._rate = rate
        self._count = count
        self.stopped = False

    def step(self, count: int = 0) -> None:
        if count:
            self._count(count)
        while True:
            if self.stopped or self._control.cancelled:
                raise Stopped
            if not self._control.paused:
                return
            time.sleep(_POLL)

    def spend(self, count: int) -> None:
        until = time.monotonic() + self._rate.delay(count)
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _POLL))
            self.step()
