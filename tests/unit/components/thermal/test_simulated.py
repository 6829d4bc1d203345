from __future__ import annotations

from dataclasses import asdict
from itertools import pairwise

from aiidpd.components.thermal.commands import LockClocks, ResetClocks, ResetPowerLimit, SetPowerLimit
from aiidpd.components.thermal.figures import BOUNDS
from aiidpd.components.thermal.gpu import GpuReading, GpuSnapshot
from aiidpd.components.thermal.rc_model import Card
from aiidpd.components.thermal.simulated import SimulatedGpus
from tests.fakes.clock import FakeClock


async def record(library: SimulatedGpus, clock: FakeClock, seconds: int) -> list[GpuSnapshot]:
    snapshots = []
    for _ in range(seconds):
        snapshots.append(await library.read())
        await clock.advance(1.0)
    return snapshots


async def curve(seconds: int, **options: object) -> list[GpuReading]:
    clock = FakeClock()
    return [s.gpus[0] for s in await record(SimulatedGpus(clock, **options), clock, seconds)]


async def test_the_same_seed_gives_the_same_curve_and_another_seed_another() -> None:
    first = await curve(200, seed=1)

    assert first == await curve(200, seed=1)
    assert first != await curve(200, seed=2)


async def test_gpus_differ_from_each_other_and_have_every_figure() -> None:
    clock = FakeClock()
    last = (await record(SimulatedGpus(clock, count=3), clock, 120))[-1]

    assert [gpu.index for gpu in last.gpus] == [0, 1, 2]
    assert len({gpu.temperature_celsius for gpu in last.gpus}) > 1
    # By its absolute thresholds a simulated card is one of before T.Limit; throughput is opt-in.
    lacks = {figure for figure in BOUNDS if "margin" in figure or figure.endswith("per_second")}
    known = {figure for gpu in last.gpus for figure in BOUNDS if asdict(gpu)[figure] is not None}
    assert known == set(BOUNDS) - lacks


async def test_a_curve_has_rest_and_work_and_never_jumps() -> None:
    readings = await curve(900)
    temperatures = [gpu.temperature_celsius or 0.0 for gpu in readings]

    assert max(temperatures) - min(temperatures) > 15
    assert all(abs(b - a) <= 2 for a, b in pairwise(temperatures))
    assert {gpu.clock_events for gpu in readings} >= {("gpu_idle",), ("sw_power_cap",)}


async def test_a_card_without_a_fan_says_that_it_throttles() -> None:
    readings = await curve(900, card=Card(fan_limit=0.0))
    throttled = [gpu for gpu in readings if "sw_thermal_slowdown" in (gpu.clock_events or ())]

    assert throttled
    assert all((gpu.temperature_celsius or 0) >= 88 for gpu in throttled)


async def test_a_day_between_two_readings_costs_no_more_than_ten_minutes() -> None:
    clock = FakeClock()
    library = SimulatedGpus(clock)
    await clock.advance(86_400.0)

    assert (await library.read()).gpus[0].temperature_celsius


async def test_what_is_set_is_obeyed_and_what_is_out_of_range_is_refused() -> None:
    clock = FakeClock()
    library = SimulatedGpus(clock, count=2)
    uuid = "GPU-SIMULATED-0"

    assert await library.apply(SetPowerLimit(uuid, 200.0)) is None
    readings = [snapshot.gpus for snapshot in await record(library, clock, 300)]
    assert max(first.power_watts or 0 for first, _ in readings) <= 201
    assert max(second.power_watts or 0 for _, second in readings) > 250
    assert readings[-1][0].power_limit_set_watts == 200.0

    refusal = await library.apply(SetPowerLimit(uuid, 20.0))
    assert refusal is not None
    assert refusal.name == "INVALID_ARGUMENT"
    assert (await library.read()).gpus[0].power_limit_watts == 200.0

    assert await library.apply(ResetPowerLimit(uuid)) is None
    assert (await library.read()).gpus[0].power_limit_watts == 300.0
    lost = await library.apply(ResetPowerLimit("GPU-other"))
    assert lost is not None
    assert lost.name == "NOT_FOUND"


async def test_locked_clocks_bound_the_clock_and_the_power() -> None:
    clock = FakeClock()
    library = SimulatedGpus(clock)
    assert await library.apply(LockClocks("GPU-SIMULATED-0", 2.1e8, 1.3e9)) is None
    readings = [snapshot.gpus[0] for snapshot in await record(library, clock, 300)]
    readings = readings[1:]  # the first is of the moment before
    assert max(gpu.graphics_clock_hertz or 0 for gpu in readings) <= 1.35e9
    assert max(gpu.power_watts or 0 for gpu in readings) < 60

    assert await library.apply(ResetClocks("GPU-SIMULATED-0")) is None
    readings = [snapshot.gpus[0] for snapshot in await record(library, clock, 300)]
    assert max(gpu.power_watts or 0 for gpu in readings) > 250
