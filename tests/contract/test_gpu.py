"""Promises of every GPU library: the simulated one, and the real one on the fake NVML and on a card."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from aiidpd.components.thermal.commands import ResetClocks
from aiidpd.components.thermal.driver.client import NvmlLibrary
from aiidpd.components.thermal.figures import BOUNDS
from aiidpd.components.thermal.gpu import GpuLibrary
from aiidpd.components.thermal.simulated import SimulatedGpus
from aiidpd.kernel.clock import SystemClock
from tests.contract.gpu_machine import UNHURRIED
from tests.fakes.nvml import FakeNvml, gpu, shape

SHAPES = ["rtx_3090", "rtx_5070_ti", "h200", "h200_mig"]
HARDWARE = ["hardware"] if Path("/dev/nvidiactl").exists() else []


@pytest.fixture(params=["simulated", *(f"nvml {name}" for name in SHAPES), *HARDWARE])
async def library(request: pytest.FixtureRequest) -> AsyncIterator[GpuLibrary]:
    library: GpuLibrary
    if request.param == "simulated":
        library = SimulatedGpus(SystemClock(), count=2)
    elif request.param.startswith("nvml"):
        fake: FakeNvml = request.getfixturevalue("fake_nvml")
        fake.install(gpu(0), shape(request.param.removeprefix("nvml "), 1))
        library = NvmlLibrary(env=fake.env, **UNHURRIED)
    else:
        library = NvmlLibrary(**UNHURRIED)
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
    "energy_joules": (1, 1e12),
    "fan_ratio": (0, 1.5),
    "memory_total_bytes": (1e9, 1e12),
    "graphics_clock_hertz": (1e7, 1e10),
    "memory_clock_hertz": (1e7, 3e10),
    "memory_bus_width_bits": (32, 16_384),
    "pcie_generation": (1, 8),
    "theoretical_bandwidth_bytes_per_second": (1e10, 2e13),
}


async def test_every_figure_is_in_its_unit_or_absent(library: GpuLibrary) -> None:
    for reading in (await library.read()).gpus:
        for figure in (*BOUNDS, "theoretical_bandwidth_bytes_per_second"):
            low, high = PLAUSIBLE.get(figure) or BOUNDS[figure]
            value = getattr(reading, figure)
            assert value is None or (isinstance(value, float) and low <= value <= high), figure


async def test_a_fast_reading_says_as_much_as_a_full_one(library: GpuLibrary) -> None:
    full = (await library.read()).gpus
    fast = (await library.read(fast=True)).gpus

    assert [gpu.uuid for gpu in fast] == [gpu.uuid for gpu in full]
    for before, after in zip(full, fast, strict=True):
        for figure in BOUNDS:
            assert (getattr(before, figure) is None) == (getattr(after, figure) is None)


async def test_a_gpu_that_is_not_there_can_not_be_set(library: GpuLibrary) -> None:
    fault = await library.apply(ResetClocks("GPU-of-another-machine"))

    assert fault is not None
    assert fault.name == "NOT_FOUND"


async def test_a_library_that_was_closed_holds_nothing(library: GpuLibrary) -> None:
    await library.read()
    await library.aclose()

    assert not library.holding


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
