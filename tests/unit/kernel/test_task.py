"""A task that waits for work beats all the while."""

from __future__ import annotations

import anyio

from tests.fakes.clock import FakeClock, settle
from tests.heartbeat import heartbeat


async def test_waiting_beats_until_it_comes(clock: FakeClock) -> None:
    beats, arrived, came = heartbeat(clock), anyio.Event(), list[bool]()

    async def wait() -> None:
        came.append(await beats.idle(arrived))

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await settle()
        for _ in range(100):
            await clock.advance(1.0)
            assert clock.monotonic() - beats.last <= 5.0
        arrived.set()
        await settle()
        assert came == [True]
        assert beats.last == clock.monotonic()


async def test_waiting_ends_after_its_time(clock: FakeClock) -> None:
    beats, came = heartbeat(clock), list[bool]()

    async def wait() -> None:
        came.append(await beats.idle(anyio.Event(), 12.0))

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await clock.advance(11.9)
        assert came == []
        await clock.advance(0.2)
        assert came == [False]


async def test_what_has_come_already_is_not_waited_for(clock: FakeClock) -> None:
    arrived = anyio.Event()
    arrived.set()
    assert await heartbeat(clock).idle(arrived, 0.0)
