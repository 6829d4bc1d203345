from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import pytest

from aiidpd.components.thermal.faults import GpuFault
from aiidpd.components.thermal.gpu import GpuReading, GpuSnapshot
from aiidpd.components.thermal.maintenance import DriverMaintenance
from aiidpd.components.thermal.settings import GpuSettings
from aiidpd.components.thermal.signals.checked import CheckedSnapshot, Trust
from aiidpd.components.thermal.signals.validate import SnapshotValidator
from aiidpd.components.thermal.worker import ThermalWorker
from aiidpd.components.thermal.xid import XidEvent
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.errors import Unavailable
from aiidpd.kernel.events import Event, Sample, Severity
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.task import Heartbeat, WorkerState, WorkerStatus
from tests.fakes.clock import FakeClock, settle

GONE = Unavailable("read", "GPUs", reason="the driver is gone", remedy="bring it back")
LOST = GpuFault(1, "nvmlDeviceGetUUID", 15, "GPU_IS_LOST")


class ScriptedLibrary:
    """Gives what a test puts into ``now``; an error is raised."""

    simulated = False

    def __init__(self) -> None:
        self.now: GpuSnapshot | Exception = readings(60.0)
        self.requests: list[bool] = []
        self.closed = False
        self.holding = False

    @property
    def reads(self) -> int:
        return len(self.requests)

    async def read(self, *, fast: bool = False) -> GpuSnapshot:
        self.requests.append(fast)
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
        self.maintenance = DriverMaintenance(clock)
        self.worker = ThermalWorker(
            self.library,
            GpuSettings(),
            self.latest,
            Publisher(bus, clock, "thermal"),
            clock,
            maintenance=self.maintenance,
        )

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


async def test_a_reading_goes_into_latest_and_its_figures_onto_the_bus(house: House) -> None:
    async with house.running():
        reading = house.latest.get()

    assert reading is not None
    assert reading.value == readings(60.0)
    drawn = {(sample.series, sample.subject, sample.value) for sample in house.samples}
    assert drawn == {("temperature_celsius", "GPU-0", 60.0), ("power_watts", "GPU-0", 120.0)}
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


async def test_near_a_limit_it_reads_four_times_a_second_and_keeps_one_curve_point_a_second(
    house: House, clock: FakeClock
) -> None:
    house.library.now = readings(81.0)
    async with house.running():
        await clock.advance(3.9)
        assert house.library.requests == [False, True, True, True] * 4
        assert len([sample for sample in house.samples if sample.series == "power_watts"]) == 4

        house.library.now = GONE
        await clock.advance(0.2)
        house.library.now = readings(81.0)
        await clock.advance(2.0)
        assert house.library.requests[16:] == [False, False]  # after a failure all is read anew


async def test_a_temperature_that_is_not_believed_is_shown_as_it_was_read_and_drawn_nowhere(
    house: House, clock: FakeClock
) -> None:
    async with house.running():
        house.library.now = readings(99.0)
        await clock.advance(1.0)
        shown = house.latest.get()
        assert shown is not None
        assert shown.value.gpus[0].temperature_celsius == 99.0
    drawn = [sample.value for sample in house.samples if sample.series == "temperature_celsius"]
    assert drawn == [60.0]
    assert len([sample for sample in house.samples if sample.series == "power_watts"]) == 2


async def test_every_listener_gets_the_same_validated_snapshot_once_also_after_the_worker_is_replaced(
    house: House, clock: FakeClock
) -> None:
    seen: list[CheckedSnapshot] = []
    validator = SnapshotValidator()

    class Listener:
        def on_snapshot(self, snapshot: CheckedSnapshot) -> None:
            seen.append(snapshot)

    def replace_worker() -> None:
        house.worker = ThermalWorker(
            house.library,
            GpuSettings(),
            house.latest,
            Publisher(EventBus(), clock, "thermal"),
            clock,
            validator=validator,
            listeners=[Listener(), Listener()],
        )

    replace_worker()
    async with house.running():
        await clock.advance(1.0)
    house.library.now = readings(99.0)
    replace_worker()
    async with house.running():
        await clock.advance(1.0)
    assert [seen[place] is seen[place + 1] for place in range(0, len(seen), 2)] == [True] * 4
    trusts = [snapshot.gpus[0].trust for snapshot in seen[::2]]
    assert trusts == [Trust.BELIEVED, Trust.BELIEVED, Trust.DOUBTED, Trust.DOUBTED]
    assert [snapshot.gpus[0].seconds for snapshot in seen[::2]] == [0.0, 1.0, 0.0, 1.0]


async def test_a_release_closes_the_library_and_reads_nothing_until_resumed(
    house: House, clock: FakeClock
) -> None:
    async with house.running():
        house.maintenance.release()
        await settle()
        assert house.library.closed
        assert house.latest.get() is None
        assert await house.maintenance.wait_free(0.0)
        assert "the driver is released until resumed" in house.status.reason
        await clock.advance(3600.0)
        assert house.library.reads == 1

        house.maintenance.resume()
        await settle()
        assert house.library.reads == 2
        assert house.status.state is WorkerState.RUNNING


async def test_a_release_for_a_while_says_how_long_it_still_is(house: House, clock: FakeClock) -> None:
    async with house.running():
        house.maintenance.release(60.0)
        await clock.advance(20.0)
        assert "for 40 s more" in house.status.reason
        await clock.advance(42.0)
        assert house.status.state is WorkerState.RUNNING


async def test_a_driver_that_is_still_held_is_not_called_free(house: House) -> None:
    house.library.holding = True
    async with house.running():
        house.maintenance.release()
        await settle()
        assert "cannot release GPUs: a call hangs in the NVIDIA driver" in house.status.reason

        house.library.holding = False
        house.maintenance.release()
        await settle()
        assert await house.maintenance.wait_free(0.0)


async def test_an_xid_is_published_with_its_meaning(house: House, clock: FakeClock) -> None:
    async with house.running():
        house.library.now = replace(readings(60.0), xids=(XidEvent("GPU-0", 31),))
        await clock.advance(1.0)
        house.library.now = readings(60.0)
        await clock.advance(1.0)
    (event,) = [event for event in house.events if event.kind == "gpu.xid"]
    assert (event.subject, event.severity) == ("GPU-0", Severity.WARNING)
    assert event.reason == "Xid 31: the program reached for memory that is not mapped (MMU fault)"
    assert event.evidence == {"xid": 31, "class": "application"}
