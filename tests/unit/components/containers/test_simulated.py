"""Events of made-up containers: each comes once, whatever the time of day is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.containers.simulated import PERIOD, SimulatedRuntime
from tests.fakes.clock import FakeClock

COUNT = 40  # events, over some periods


@given(st.floats(1e9, 4e9), st.floats(0.0, PERIOD))
async def test_an_event_that_is_followed_comes_once(today: float, restarted: float) -> None:
    clock = FakeClock(today)
    runtime = SimulatedRuntime(clock, 6)
    await clock.advance(restarted)
    first = (await runtime.containers()).containers[0].id
    await runtime.restart(first, 0.0)  # at a second that is rounded where it is added to the time of day
    await clock.advance(100 * PERIOD)
    seen = []
    async with runtime.events(today) as events:
        async for event in events:
            seen.append(event)
            if len(seen) == COUNT:
                break
    assert len(set(seen)) == COUNT
    assert [event.time for event in seen] == sorted(event.time for event in seen)
