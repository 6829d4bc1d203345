"""The evaluator in a worker: alerts that it raises, memory that outlives it, forecasts that are served."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from aiidpd.alerts.manager import AlertManager
from aiidpd.alerts.record import AlertRecords
from aiidpd.alerts.store import AlertStore
from aiidpd.components.thermal.alerts.evaluator import AlertEvaluator, EvaluatorMemory
from aiidpd.components.thermal.alerts.rules import rules
from aiidpd.components.thermal.faults import GpuFault
from aiidpd.components.thermal.forecast.baseline import Baselines
from aiidpd.components.thermal.forecast.metrics import ForecastCollector
from aiidpd.components.thermal.forecast.resistance import Baseline, Operation
from aiidpd.components.thermal.gpu import GpuReading, GpuSnapshot
from aiidpd.components.thermal.settings import GpuSettings
from aiidpd.components.thermal.worker import ThermalWorker
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.errors import Unavailable
from aiidpd.kernel.events import Event
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.task import Heartbeat, WorkerStatus
from aiidpd.platform.statefile import StateFile
from aiidpd.telemetry.registry import build_registry
from tests.fakes.clock import FakeClock, settle
from tests.unit.components.thermal.alerts.evaluating import COOL, UUID
from tests.waiting import PATIENCE

HANGS = Unavailable("read", "GPUs", reason="it hangs")


class Library:
    simulated = False
    holding = False

    def __init__(self) -> None:
        self.now: GpuReading | Unavailable = COOL
        self.also: tuple[GpuReading, ...] = ()
        self.faults: tuple[GpuFault, ...] = ()

    async def read(self, *, fast: bool = False) -> GpuSnapshot:  # noqa: ARG002 -- all readings are full
        if isinstance(self.now, Unavailable):
            raise self.now
        return GpuSnapshot((self.now, *self.also), "580", simulated=False, faults=self.faults)

    async def aclose(self) -> None:
        pass


class House:
    def __init__(self, clock: FakeClock, folder: Path, boot: str = "boot-1") -> None:
        self.clock = clock
        self.library = Library()
        self.events: list[Event] = []
        self.bus = EventBus()
        self.bus.attach(events=self.events.append)
        conditions = Conditions(clock, self.bus)
        store = AlertStore(StateFile(folder / "alerts.json", AlertRecords), clock, conditions, boot=boot)
        self.manager = AlertManager(clock, Publisher(self.bus, clock, "alerts"), conditions, store)
        self.latest: Latest[GpuSnapshot] = Latest(clock, max_age=3.0)
        self.file = StateFile(folder / "baselines.json", Baselines, indent=1)
        self.memory = EvaluatorMemory(Latest(clock, max_age=3.0), self.file)

    def worker(self) -> ThermalWorker:
        """Build a worker as the supervisor has it built."""
        settings = GpuSettings()
        publish = Publisher(self.bus, self.clock, "thermal")
        client = self.manager.client("thermal", rules(settings.alerts))
        evaluator = AlertEvaluator(settings, self.memory, alerts=client, publish=publish, clock=self.clock)
        return ThermalWorker(self.library, settings, self.latest, publish, self.clock, evaluator=evaluator)

    async def run(self, seconds: float) -> None:
        """Let a new worker live for ``seconds``."""
        async with anyio.create_task_group() as group:
            heartbeat = Heartbeat(self.clock, WorkerStatus("thermal"), anyio.Event())
            group.start_soon(self.worker().run, heartbeat)
            await settle()
            await self.clock.advance(seconds)
            group.cancel_scope.cancel()

    @property
    def firing(self) -> set[str]:
        return {alert.name for alert in self.manager.active() if alert.stage == "firing"}

    def published(self, kind: str) -> list[str]:
        return [str(event.evidence["alert"]) for event in self.events if event.kind == kind]


@pytest.fixture
def house(clock: FakeClock, tmp_path: Path) -> House:
    return House(clock, tmp_path)


async def test_what_fires_outlives_its_worker_and_is_not_fired_again(house: House) -> None:
    house.library.now = replace(COOL, temperature_celsius=86.0)
    await house.run(20)
    assert house.firing == {"GpuTemperatureWarning"}
    await house.run(20)
    assert house.published("alert.firing") == ["GpuTemperatureWarning"]
    house.library.now = COOL
    await house.run(2)
    assert house.published("alert.resolved") == ["GpuTemperatureWarning"]


SECOND = replace(COOL, index=1, uuid="GPU-1", temperature_celsius=86.0)


async def test_a_gpu_that_was_lost_is_missed_by_the_next_daemon_too(house: House, tmp_path: Path) -> None:
    house.library.also = (SECOND,)
    await house.run(15)
    house.library.also = ()
    await house.run(5)
    assert house.firing == {"GpuTemperatureWarning", "GpuLost", "GpuCountChanged"}
    house.manager.close(PATIENCE)

    again = House(house.clock, tmp_path)
    await again.run(5)
    assert again.firing == {"GpuTemperatureWarning", "GpuLost", "GpuCountChanged"}
    assert again.published("alert.firing") == []
    again.library.also = (replace(SECOND, temperature_celsius=50.0),)
    await again.run(12)
    assert sorted(again.published("alert.resolved")) == [
        "GpuCountChanged",
        "GpuLost",
        "GpuTemperatureWarning",
    ]
    again.manager.close(PATIENCE)
    house.file.wait(PATIENCE)
    again.file.wait(PATIENCE)


async def test_a_gpu_that_a_reboot_does_not_bring_back_was_taken_out(house: House, tmp_path: Path) -> None:
    house.library.also = (SECOND,)
    await house.run(15)
    house.library.also = ()
    await house.run(5)
    house.manager.close(PATIENCE)

    again = House(house.clock, tmp_path, boot="boot-2")
    again.library.faults = (GpuFault(1, "nvmlDeviceGetUUID", 15, "GPU_IS_LOST"),)
    await again.run(5)
    assert "GpuTemperatureWarning" in again.firing  # nobody knows yet which GPU that is
    again.library.faults = ()
    await again.run(5)
    ended = [event for event in again.events if event.kind == "alert.resolved" and event.subject == "GPU-1"]
    assert sorted(str(event.evidence["alert"]) for event in ended) == ["GpuLost", "GpuTemperatureWarning"]
    assert all("because the driver no longer lists that GPU" in event.reason for event in ended)
    again.manager.close(PATIENCE)
    house.file.wait(PATIENCE)
    again.file.wait(PATIENCE)


async def test_a_gpu_that_never_said_its_name_is_forgiven_after_a_restart(
    house: House, tmp_path: Path
) -> None:
    house.library.faults = (GpuFault(1, "nvmlDeviceGetUUID", 15, "GPU_IS_LOST"),)
    await house.run(5)
    assert house.firing == {"GpuLost"}
    house.manager.close(PATIENCE)

    again = House(house.clock, tmp_path)
    again.library.also = (replace(SECOND, temperature_celsius=50.0),)
    await again.run(12)
    assert again.published("alert.resolved") == ["GpuLost"]
    again.manager.close(PATIENCE)
    house.file.wait(PATIENCE)
    again.file.wait(PATIENCE)


async def test_a_driver_that_hangs_fires_in_the_pass_that_finds_it(house: House) -> None:
    await house.run(5)
    house.library.now = HANGS
    await house.run(0)
    assert house.firing == {"GpuDriverUnavailable"}
    assert house.memory.forecasts.get() is None


async def test_an_interval_that_is_met_is_no_gap(house: House) -> None:
    house.library.now = replace(COOL, temperature_celsius=86.0, clock_events=("hw_thermal_slowdown",))
    await house.run(10)
    assert "GpuHardwareThrottling" in house.firing


async def test_baselines_are_written_at_the_end_and_read_at_the_start(house: House, tmp_path: Path) -> None:
    await house.run(300)
    house.file.wait(PATIENCE)
    again = House(house.clock, tmp_path)
    await again.run(2)
    assert again.memory.memory.baselines[UUID].keys() == {"assumed/10"}


async def test_baselines_are_written_every_ten_minutes(house: House) -> None:
    async with anyio.create_task_group() as group:
        heartbeat = Heartbeat(house.clock, WorkerStatus("thermal"), anyio.Event())
        group.start_soon(house.worker().run, heartbeat)
        await settle()
        await house.clock.advance(605)
        house.file.wait(PATIENCE)
        assert house.file.load()
        group.cancel_scope.cancel()
    house.file.wait(PATIENCE)


async def test_a_damaged_file_is_published_once(house: House, tmp_path: Path) -> None:
    (tmp_path / "baselines.json").write_text("{")
    await house.run(30)
    house.file.wait(PATIENCE)
    assert [event.kind for event in house.events].count("gpu.baselines_failed") == 1


async def test_a_forecast_is_served_as_long_as_it_is_current(house: House) -> None:
    known = {UUID: {"assumed/10": Baseline(Operation(35.0, 200.0, 0.5), 1e6)}}
    house.memory.memory = replace(house.memory.memory, baselines=known)
    house.memory.loaded = True
    await house.run(200)
    registry = build_registry({"forecast": ForecastCollector(house.memory.forecasts)})

    def served() -> dict[str, float]:
        return {
            sample.name: sample.value
            for family in registry.collect()
            for sample in family.samples
            if sample.name.startswith("aiidpd_gpu")
        }

    assert served() == {
        "aiidpd_gpu_heating_celsius_per_second": 0,
        "aiidpd_gpu_thermal_resistance_celsius_per_watt": pytest.approx(0.175),
        "aiidpd_gpu_thermal_resistance_baseline_celsius_per_watt": pytest.approx(0.175),
        "aiidpd_gpu_thermal_resistance_drift_ratio": pytest.approx(1.0),
    }
    for second in range(40):
        house.library.now = replace(COOL, temperature_celsius=60.0 + 0.5 * second)
        await house.run(1)
    assert served()["aiidpd_gpu_predicted_seconds_to_threshold"] == pytest.approx(11, abs=2)
    await house.clock.advance(4)
    assert served() == {}
    house.file.wait(PATIENCE)
