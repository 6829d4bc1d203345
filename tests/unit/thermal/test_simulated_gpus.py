from __future__ import annotations

from dataclasses import asdict
from itertools import pairwise

from aiidpd.workers.thermal.gpu import FIGURES, GpuReading, GpuSnapshot
from aiidpd.workers.thermal.rc_model import Card
from aiidpd.workers.thermal.simulated import SimulatedGpus
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
    assert all(asdict(gpu)[figure] is not None for gpu in last.gpus for figure in FIGURES)


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
