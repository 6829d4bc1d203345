"""The endpoint that is made up."""

from __future__ import annotations

import anyio
import pytest

from aiidpd.components.bench.schedule import request
from aiidpd.components.bench.settings import BenchSettings
from aiidpd.components.bench.stats import BenchSample, measure
from aiidpd.engines.simulated import SimulatedTarget
from aiidpd.kernel.errors import Unavailable
from tests.fakes.clock import FakeClock
from tests.tables import made


async def sample(seed: int) -> BenchSample:
    clock = FakeClock()
    found: list[BenchSample] = []

    async def probe() -> None:
        timeline = await SimulatedTarget(clock, seed).probe(request(BenchSettings(), "n"))
        found.append(measure(timeline))

    async with anyio.create_task_group() as group:
        group.start_soon(probe)
        await clock.advance(30)
    return found[0]


async def test_its_figures_are_plausible():
    for seed in range(20):
        figures = await sample(seed)
        assert figures.withheld == ()
        assert figures.ttft_seconds is not None
        assert 0.05 < figures.ttft_seconds < 0.3
        assert figures.output_tokens_per_second is not None
        assert 70 < figures.output_tokens_per_second < 90
        assert figures.output_tokens == BenchSettings().max_tokens


async def test_the_same_seed_gives_the_same_figures():
    assert await sample(7) == await sample(7)
    assert await sample(7) != await sample(8)


async def test_it_keeps_the_bounds_of_the_request(clock: FakeClock):
    long_prompt = request(made(BenchSettings, first_token_timeout=1.0), "n", prompt_tokens=100_000)
    long_answer = request(made(BenchSettings, max_tokens=4096, timeout=5.0), "n")
    target = SimulatedTarget(clock)
    async with anyio.create_task_group() as group:
        group.start_soon(clock.advance, 20)
        with pytest.raises(Unavailable, match="no token within 1 s"):
            await target.probe(long_prompt)
        assert clock.monotonic() == 1.0
        with pytest.raises(Unavailable, match="did not end within 5 s"):
            await target.probe(long_answer)
        assert clock.monotonic() < 6.1
