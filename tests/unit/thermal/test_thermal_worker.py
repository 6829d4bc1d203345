from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from aiidpd.kernel.errors import Unavailable
from aiidpd.kernel.events import Event, EventBus, Sample
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.worker import Heartbeat, WorkerState, WorkerStatus
from aiidpd.workers.thermal.faults import GpuFault
from aiidpd.workers.thermal.gpu import GpuReading, GpuSnapshot
from aiidpd.workers.thermal.policy import ThermalPolicy
from aiidpd.workers.thermal.worker import ThermalWorker
from tests.fakes.clock import FakeClock, settle

GONE = Unavailable("read", "GPUs", reason="the driver is gone", remedy="bring it back")
LOST = GpuFault(1, "nvmlDeviceGetUUID", 15, "GPU_IS_LOST")


class ScriptedLibrary:
    """Gives what a test puts into ``now``; an error is raised."""

    simulated = False

    def __init__(self) -> None:
        self.now: GpuSnapshot | Exception = readings(60.0)
        self.reads = 0
        self.closed = False

    async def read(self, *, fast: bool = False) -> GpuSnapshot:  # noqa: ARG002
        self.reads += 1
        if isinstance(self.now, Exception):
            raise self.now
        return self.now

    async def aclose(self) -> None:
        await anyio.lowlevel.checkpoint()
        self.closed = True


def readings(*temperatures: float | None, faults: tuple[GpuFault, ...] = ()) -> GpuSnapshot:
    gpus = tuple(
        GpuReading(index, f"GPU-{index}", "card", temperature_celsius=temperature, power_watts=120.0)
        for index, temperature in enumerate(temperatures)
    )
    return GpuSnapshot(gpus, "580", simulated=False, faults=faults)


class House:
    """A worker on a scripted library, and everything that leaves it."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.library = ScriptedLibrary()
        self.latest: Latest[GpuSnapshot] = Latest(clock, max_age=3.0)
        self.status = WorkerStatus("thermal")
        self.events: list[Event] = []
        self.samples: list[Sample] = []
        bus = EventBus()
        bus.attach(events=self.events.append, samples=self.samples.append)
        self.worker = ThermalWorker(self.library, ThermalPolicy(), self.latest, bus, clock)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with anyio.create_task_group() as group:
            group.start_soon(self.worker.run, Heartbeat(self.clock, self.status, anyio.Event()))
            await settle()
            yield
            group.cancel_scope.cancel()


@pytest.fixture
def house(clock: FakeClock) -> House:
    return House(clock)


async def test_a_reading_goes_into_the_cell_and_its_figures_onto_the_bus(house: House) -> None:
    async with house.running():
        reading = house.latest.get()

    assert reading is not None
    assert reading.value == readings(60.0)
    told = {(sample.series, sample.subject, sample.value) for sample in house.samples}
    assert told == {("temperature_celsius", "GPU-0", 60.0), ("power_watts", "GPU-0", 120.0)}
    assert house.library.closed


async def test_passes_start_one_interval_apart_and_further_apart_without_gpus(
    house: House, clock: FakeClock
) -> None:
    async with house.running():
        await clock.advance(10.0)
        assert house.library.reads == 11
        house.library.now = GONE
        await clock.advance(11.0)
        assert house.library.reads == 11 + 6


async def test_without_gpus_nothing_stale_is_shown_and_the_reason_is(house: House, clock: FakeClock) -> None:
    async with house.running():
        house.library.now = GONE
        await clock.advance(1.0)
        assert house.latest.get() is None
        assert house.status.state is WorkerState.DEGRADED
        assert house.status.reason == "cannot read GPUs: the driver is gone; bring it back"

        house.library.now = readings(61.0)
        await clock.advance(2.0)
        assert house.latest.get() is not None
        assert house.status.up
    assert [event.kind for event in house.events] == ["gpu.appeared"]


async def test_beside_a_lost_gpu_the_others_are_shown_and_the_worker_is_degraded(
    house: House, clock: FakeClock
) -> None:
    async with house.running():
        house.library.now = readings(60.0, 60.0)
        await clock.advance(1.0)
        house.library.now = readings(60.0, faults=(LOST, LOST))
        await clock.advance(1.0)
        reading = house.latest.get()
        assert reading is not None
        assert [gpu.uuid for gpu in reading.value.gpus] == ["GPU-0"]
        assert house.status.state is WorkerState.DEGRADED
        assert "GPU_IS_LOST (NVML error 15) and 1 more" in house.status.reason
    assert [event.kind for event in house.events][-1] == "gpu.disappeared"


async def test_an_error_that_nobody_expected_ends_the_run_and_closes_the_library(house: House) -> None:
    house.library.now = RuntimeError("a bug")
    with pytest.raises(RuntimeError, match="a bug"):
        await house.worker.run(Heartbeat(house.clock, house.status, anyio.Event()))

    assert house.library.closed
