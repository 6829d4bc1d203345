"""Waiting with a bound, by any clock."""

from __future__ import annotations

import anyio

from aiidpd.kernel.clock import SystemClock, wait_for
from tests.fakes.clock import FakeClock


async def outcome(clock: FakeClock, event: anyio.Event, seconds: float) -> list[bool]:
    got: list[bool] = []

    async def wait() -> None:
        got.append(await wait_for(clock, event, seconds))

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await clock.advance(seconds / 2)
        assert got == []
        if seconds == 4:
            event.set()
        await clock.advance(seconds)
    return got


async def test_an_event_in_time_ends_the_wait(clock: FakeClock):
    assert await outcome(clock, anyio.Event(), 4) == [True]


async def test_the_bound_ends_the_wait(clock: FakeClock):
    assert await outcome(clock, anyio.Event(), 5) == [False]


async def test_the_system_clock_sleeps_on_its_own_monotonic_time():
    clock = SystemClock()
    before = clock.monotonic()
    await clock.sleep(0.01)
    assert clock.monotonic() - before >= 0.009  # a loop may be early by the resolution of its clock
    assert clock.time() > 1_700_000_000
