"""Recording of circumstances from the beginning of a measurement to its end."""

from __future__ import annotations

import anyio

from aiidpd.components.bench.circumstances.recording import Found, Recording
from aiidpd.contracts.gpus import GPUS, GpusView, GpuUse
from tests.fakes.clock import FakeClock
from tests.unit.components.bench.circumstances.views import Offered
from tests.waiting import eventually


class Room:
    """A recording of the endpoint ``local`` and what it ended with."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.offered = Offered()
        self.found: Found | None = None

    def gpu(self, celsius: float, *, simulated: bool = False, throttle: float = 0.0) -> None:
        gpu = GpuUse(0, "u0", "H100", temperature_celsius=celsius, thermal_throttle_seconds=throttle)
        self.offered.put(GPUS, GpusView((gpu,), "570.1", simulated), self.clock.monotonic())

    async def end(self, recording: Recording) -> None:
        self.found = await recording.end()

    async def ended(self) -> Found:
        found = await eventually(self._found, lambda each: each is not None)
        assert found is not None
        return found

    async def _found(self) -> Found | None:
        return self.found


async def test_it_ends_with_the_first_reading_after_the_end(clock: FakeClock):
    room = Room(clock)
    room.gpu(50.0)
    recording = Recording(room.offered.views, clock, "local")
    assert recording.places() == ("u0",)
    await clock.advance(0.6)
    async with anyio.create_task_group() as group:
        group.start_soon(room.end, recording)
        await clock.advance(0.5)
        assert room.found is None
        room.gpu(71.0, throttle=2.0)
        await clock.advance(0.5)
        found = await room.ended()
    assert found.gpu == "H100"
    assert found.circumstances["hottest GPU in C"] == 71.0
    assert found.circumstances["driver"] == "570.1"
    assert "heat" in found.throttled
    assert found.circumstances["kernel"]


async def test_it_does_not_wait_for_ever_for_a_driver_that_hangs(clock: FakeClock):
    room = Room(clock)
    room.gpu(50.0)
    recording = Recording(room.offered.views, clock, "local")
    await clock.advance(0.6)
    async with anyio.create_task_group() as group:
        group.start_soon(room.end, recording)
        await clock.advance(4.0)
        found = await room.ended()
    assert found.circumstances["hottest GPU in C"] == 50.0


async def test_gpus_that_are_made_up_are_none_of_a_real_endpoint(clock: FakeClock):
    room = Room(clock)
    room.gpu(50.0, simulated=True)
    recording = Recording(room.offered.views, clock, "local")
    assert recording.places() == ()
    found = await recording.end()
    assert (found.gpu, found.throttled) == ("", "")
    assert "hottest GPU in C" not in found.circumstances
