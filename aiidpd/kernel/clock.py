"""Time as an argument, so that a policy is tested without sleeping."""

from __future__ import annotations

import time
from typing import Protocol

import anyio


class Clock(Protocol):
    """Source of time for every part of the daemon."""

    def monotonic(self) -> float:
        """Return seconds from an arbitrary start; never runs backwards. For durations and deadlines."""

    def boottime(self) -> float:
        """Return seconds since the boot, those included in which the machine was suspended; never jumps.

        For the age of what lies on the disk, and to distinguish a wall clock that was set from a machine that
        slept.
        """

    def time(self) -> float:
        """Return seconds since the Unix epoch. For what people read; may jump."""

    async def sleep(self, seconds: float) -> None:
        """Return after at least ``seconds`` of monotonic time."""


class SystemClock:
    """Machine's own clock."""

    def monotonic(self) -> float:
        return time.monotonic()

    def boottime(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def time(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


async def wait_for(clock: Clock, event: anyio.Event, seconds: float) -> bool:
    """Wait for ``event``, at most ``seconds``; return whether it came.

    Unlike :func:`anyio.move_on_after` the bound is counted by ``clock``, so it obeys a test's time.
    """
    if isinstance(clock, SystemClock):
        with anyio.move_on_after(seconds):  # the same at a third of the cost: no tasks
            await event.wait()
        return event.is_set()
    async with anyio.create_task_group() as group:

        async def bound() -> None:
            await clock.sleep(seconds)
            group.cancel_scope.cancel()

        group.start_soon(bound)
        await event.wait()
        group.cancel_scope.cancel()
    return event.is_set()
