"""Events about a clock that was set."""

from __future__ import annotations

import pytest

from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock_watch import CONDITION, ClockReporter, ClockWatch
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.events import Event, Severity
from aiidpd.kernel.publisher import Publisher
from tests.fakes.clock import FakeClock

DAY = 86_400.0


class Desk:
    """A reporter, and everything that leaves it."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.events: list[Event] = []
        bus = EventBus()
        bus.attach(events=self.events.append)
        self.conditions = Conditions(self.clock, bus)
        self.reporter = ClockReporter(
            ClockWatch(self.clock), Publisher(bus, self.clock, "clock"), self.conditions
        )

    async def after(self, seconds: float) -> None:
        await self.clock.advance(seconds)
        self.reporter.report()

    def told(self) -> list[str]:
        return [event.kind for event in self.events]


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_a_jump_is_told_once_with_how_far_and_when(desk: Desk) -> None:
    await desk.after(60)
    desk.clock.jump(10 * DAY)
    for _ in range(45):
        await desk.after(1)

    [event] = desk.events
    assert (event.kind, event.severity, event.evidence["seconds"]) == (
        "clock.jumped",
        Severity.WARNING,
        10 * DAY,
    )
    [condition] = desk.conditions.active()
    assert (condition.type, condition.severity) == (CONDITION, Severity.WARNING)
    assert "ahead by 10 d, from 2027-01-15T08:01:01Z to 2027-01-25T08:01:01Z" in condition.reason
    assert "it is 10 d ahead of where it was" in condition.reason


async def test_it_ends_when_the_clock_is_back(desk: Desk) -> None:
    desk.clock.jump(10 * DAY)
    await desk.after(45)
    desk.clock.jump(-10 * DAY)
    await desk.after(1)
    assert desk.conditions.active() == ()
    assert desk.told() == ["clock.jumped", "clock.steady"]


async def test_it_ends_when_the_clock_was_steady_for_long(desk: Desk) -> None:
    await desk.after(60)
    desk.clock.jump(-DAY)
    await desk.after(60)
    assert "back by 1 d" in desk.conditions.active()[0].reason
    await desk.after(3600)
    assert desk.conditions.active() == ()
    assert desk.told() == ["clock.jumped", "clock.steady"]


async def test_another_jump_is_told_too(desk: Desk) -> None:
    await desk.after(60)
    for jump in (DAY, 90):
        desk.clock.jump(jump)
        await desk.after(1)
    assert desk.told() == ["clock.jumped", "clock.jumped"]
    [condition] = desk.conditions.active()
    assert "ahead by 1.5 min" in condition.reason


async def test_a_machine_that_slept_has_not_jumped(desk: Desk) -> None:
    desk.clock.suspend(10 * DAY)
    await desk.after(1)
    assert desk.events == []


async def test_any_year_can_be_told(desk: Desk) -> None:
    desk.clock.jump(1e12)
    await desk.after(1)
    assert desk.told() == ["clock.jumped"]


async def test_a_process_that_is_stopped_between_the_clocks_has_seen_no_jump(desk: Desk) -> None:
    time, stops = desk.clock.time, [60.0]

    def stopped() -> float:
        read = time()
        if stops:
            desk.clock.suspend(stops.pop())
        return read

    desk.clock.time = stopped  # type: ignore[method-assign]
    await desk.after(1)
    assert desk.events == []
