"""What every GPU library keeps to: the simulated one, and the real one on the fake NVML and on a card."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from aiidpd.kernel.clock import SystemClock
from aiidpd.workers.thermal.child import NvmlLibrary
from aiidpd.workers.thermal.gpu import FIGURES, GpuLibrary
from aiidpd.workers.thermal.simulated import SimulatedGpus
from tests.fakes.nvml import FakeNvml, gpu

HARDWARE = ["hardware"] if Path("/dev/nvidiactl").exists() else []


@pytest.fixture(params=["simulated", "nvml", *HARDWARE])
async def library(request: pytest.FixtureRequest) -> AsyncIterator[GpuLibrary]:
    library: GpuLibrary
    if request.param == "simulated":
        library = SimulatedGpus(SystemClock(), count=2)
    elif request.param == "nvml":
        fake: FakeNvml = request.getfixturevalue("fake_nvml")
        fake.install(gpu(0), gpu(1))
        library = NvmlLibrary(env=fake.env)
    else:
        library = NvmlLibrary()
    yield library
    await library.aclose()


async def test_each_gpu_says_what_it_is(library: GpuLibrary) -> None:
    snapshot = await library.read()

    assert snapshot.gpus
    assert snapshot.driver_version
    assert snapshot.faults == ()
    assert [gpu.index for gpu in snapshot.gpus] == list(range(len(snapshot.gpus)))
    assert len({gpu.uuid for gpu in snapshot.gpus}) == len(snapshot.gpus)
    assert all(gpu.uuid and gpu.name for gpu in snapshot.gpus)


async def test_what_is_simulated_says_so(library: GpuLibrary) -> None:
    snapshot = await library.read()

    assert snapshot.simulated == library.simulated
    assert all(("SIMULATED" in gpu.name) == library.simulated for gpu in snapshot.gpus)
    assert all(("SIMULATED" in gpu.uuid) == library.simulated for gpu in snapshot.gpus)


PLAUSIBLE = {
    "temperature_celsius": (1, 120),
    "slowdown_celsius": (60, 120),
    "shutdown_celsius": (60, 130),
    "power_watts": (1, 2000),
    "power_limit_watts": (10, 2000),
    "fan_ratio": (0, 1.5),
    "utilisation_ratio": (0, 1),
    "memory_controller_utilisation_ratio": (0, 1),
    "memory_used_bytes": (0, 1e12),
    "memory_total_bytes": (1e9, 1e12),
    "graphics_clock_hertz": (1e7, 1e10),
    "memory_clock_hertz": (1e7, 3e10),
}


@pytest.mark.parametrize("figure", FIGURES)
async def test_a_figure_is_in_its_unit_or_absent(library: GpuLibrary, figure: str) -> None:
    low, high = PLAUSIBLE[figure]
    for reading in (await library.read()).gpus:
        value = getattr(reading, figure)
        assert value is None or (isinstance(value, float) and low <= value <= high)


async def test_the_next_reading_is_of_the_same_gpus(library: GpuLibrary) -> None:
    first, second = await library.read(), await library.read()

    assert [gpu.uuid for gpu in first.gpus] == [gpu.uuid for gpu in second.gpus]
    assert first.driver_version == second.driver_version


async def test_closing_lets_go_and_reading_takes_hold_again(library: GpuLibrary) -> None:
    await library.aclose()
    await library.read()
    await library.aclose()
    await library.aclose()

    assert (await library.read()).gpus


async def test_a_reading_that_was_cancelled_harms_no_later_one(library: GpuLibrary) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await library.read()

    assert (await library.read()).gpus
