"""A clock that moves only when a test moves it."""

from __future__ import annotations

import heapq
import itertools

import anyio
import anyio.lowlevel


class FakeClock:
    """Virtual time. ``advance`` wakes sleepers in order of their deadlines and lets them run."""

    def __init__(self, time: float = 1_800_000_000.0) -> None:
        self._monotonic = 0.0
        self._suspended = 0.0
        self._offset = time
        self._sleepers: list[tuple[float, int, anyio.Event]] = []
        self._order = itertools.count()

    def monotonic(self) -> float:
        return self._monotonic

    def boottime(self) -> float:
        return self._monotonic + self._suspended

    def time(self) -> float:
        return self._offset + self.boottime()

    def jump(self, seconds: float) -> None:
        """Set the wall clock ahead by ``seconds``, or back."""
        self._offset += seconds

    def suspend(self, seconds: float) -> None:
        """Let the machine sleep: the monotonic clock stands still."""
        self._suspended += seconds

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await anyio.lowlevel.checkpoint()
            return
        event = anyio.Event()
        heapq.heappush(self._sleepers, (self._monotonic + seconds, next(self._order), event))
        await event.wait()

    async def advance(self, seconds: float) -> None:
        """Move time forward by ``seconds``, running whatever becomes due at the time it is due."""
        await settle()
        until = self._monotonic + seconds
        while self._sleepers and self._sleepers[0][0] <= until:
            due, _, event = heapq.heappop(self._sleepers)
            self._monotonic = max(self._monotonic, due)
            event.set()
            await settle()
        self._monotonic = until
        await settle()


async def settle(rounds: int = 20) -> None:
    """Let every task that can run now run."""
    for _ in range(rounds):
        await anyio.lowlevel.checkpoint()
