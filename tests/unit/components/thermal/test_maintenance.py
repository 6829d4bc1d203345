from __future__ import annotations

import math

import anyio

from aiidpd.components.thermal.maintenance import DriverMaintenance
from tests.fakes.clock import FakeClock, settle


def test_nothing_is_released_at_first(clock: FakeClock) -> None:
    maintenance = DriverMaintenance(clock)

    assert not maintenance.active
    assert maintenance.seconds_left is None


async def test_a_release_lasts_until_resumed(clock: FakeClock) -> None:
    maintenance = DriverMaintenance(clock)
    maintenance.release()
    await clock.advance(1e6)
    assert maintenance.active
    assert maintenance.seconds_left == math.inf

    maintenance.resume()
    assert not maintenance.active


async def test_a_release_for_a_while_ends_by_itself(clock: FakeClock) -> None:
    maintenance = DriverMaintenance(clock)
    maintenance.release(60.0)
    await clock.advance(59.0)
    assert maintenance.seconds_left == 1.0
    await clock.advance(1.0)
    assert not maintenance.active
    assert maintenance.seconds_left is None


async def test_whoever_released_waits_until_the_worker_let_go(clock: FakeClock) -> None:
    maintenance = DriverMaintenance(clock)
    free: list[bool] = []

    async def wait() -> None:
        free.append(await maintenance.wait_free(8.0))

    async with anyio.create_task_group() as group:
        maintenance.release()
        group.start_soon(wait)
        await settle()
        assert free == []
        maintenance.mark_free()
    assert free == [True]

    maintenance.resume()
    maintenance.release()
    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await settle()
        await clock.advance(8.0)
    assert free == [True, False]


async def test_a_release_and_a_resume_wake_the_worker_at_once_even_before_it_sleeps(clock: FakeClock) -> None:
    maintenance = DriverMaintenance(clock)
    maintenance.release()
    await maintenance.sleep(1000.0)
    woke: list[float] = []

    async def sleep() -> None:
        await maintenance.sleep(1000.0)
        woke.append(clock.monotonic())

    async with anyio.create_task_group() as group:
        group.start_soon(sleep)
        await clock.advance(3.0)
        assert woke == []
        maintenance.resume()
    assert woke == [3.0]
