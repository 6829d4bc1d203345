"""Readings of real cards' shapes, how few calls they take, and a setter that cools a card which obeys."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from aiidpd.components.thermal.commands import LockClocks, ResetClocks, SetPowerLimit
from aiidpd.components.thermal.driver.client import NvmlLibrary
from aiidpd.components.thermal.driver.nvml.card import SLOW_EVERY
from aiidpd.components.thermal.gpu import Fan, GpuReading, Limit, degrees_left
from aiidpd.components.thermal.rc_model import Card
from tests.contract.gpu_machine import UNHURRIED
from tests.fakes.nvml import FakeNvml, gpu, shape, uuid
from tests.fakes.nvml.live import LiveGpu

ALL_SHAPES = ["rtx_3090", "rtx_5070_ti", "h200", "h200_mig"]


@pytest.fixture
async def library(fake_nvml: FakeNvml) -> AsyncIterator[NvmlLibrary]:
    fake_nvml.note_calls()
    library = NvmlLibrary(env=fake_nvml.env, **UNHURRIED)
    yield library
    await library.aclose()


async def read(library: NvmlLibrary, fake: FakeNvml, name: str) -> GpuReading:
    fake.install(shape(name))
    snapshot = await library.read()
    assert snapshot.faults == ()
    return snapshot.gpus[0]


async def test_a_card_with_absolute_thresholds(library: NvmlLibrary, fake_nvml: FakeNvml) -> None:
    card = await read(library, fake_nvml, "rtx_3090")

    assert (card.gpu_max_celsius, card.slowdown_celsius, card.shutdown_celsius) == (93, 95, 98)
    assert (card.target_celsius, card.temperature_margin_celsius, card.slowdown_margin_celsius) == (
        83,
        None,
        None,
    )
    assert degrees_left(card, Limit.SLOWDOWN) == 34
    assert card.fans == (Fan(0, 0.45), Fan(1, 0.46))
    assert card.fan_ratio == 0.46
    assert card.theoretical_bandwidth_bytes_per_second == pytest.approx(936e9, rel=1e-3)
    assert (card.memory_temperature_celsius, card.hotspot_temperature_celsius, card.ecc_enabled) == (
        None,
    ) * 3
    assert (card.power_watts, card.power_instant_watts) == (280.5, 301.2)
    assert (card.power_limit_min_watts, card.power_limit_max_watts) == (100, 350)
    assert card.energy_joules == 9_876_543.21
    assert card.power_cap_throttle_seconds == 123


async def test_a_card_with_offsets(library: NvmlLibrary, fake_nvml: FakeNvml) -> None:
    card = await read(library, fake_nvml, "rtx_5070_ti")

    assert (card.gpu_max_celsius, card.slowdown_celsius, card.shutdown_celsius) == (None, None, None)
    assert card.temperature_margin_celsius == 27
    assert (card.gpu_max_margin_celsius, card.slowdown_margin_celsius, card.shutdown_margin_celsius) == (
        0,
        -2,
        -5,
    )
    assert [degrees_left(card, limit) for limit in Limit] == [27, 29, 32, None]
    assert card.hotspot_temperature_celsius == 72
    assert card.fans == (Fan(0, 0.45, 1460), Fan(1, 0.47, 1525))
    assert card.theoretical_bandwidth_bytes_per_second == pytest.approx(896e9, rel=1e-3)


async def test_a_datacenter_card(library: NvmlLibrary, fake_nvml: FakeNvml) -> None:
    card = await read(library, fake_nvml, "h200")

    assert (card.memory_temperature_celsius, card.fans, card.fan_ratio) == (57, (), None)
    assert (card.ecc_enabled, card.ecc_corrected_count, card.ecc_aggregate_uncorrected_count) == (True, 2, 1)
    assert (card.remapped_rows_corrected_count, card.remapped_rows_failed) == (1, False)
    assert (card.retired_pages_corrected_count, card.retired_pages_pending) == (None, None)
    assert (card.mig_enabled, card.mig_instances) == (False, ())


async def test_a_card_that_is_divided(library: NvmlLibrary, fake_nvml: FakeNvml) -> None:
    card = await read(library, fake_nvml, "h200_mig")

    assert (card.mig_enabled, card.utilisation_ratio) == (True, None)
    assert [(part.gpu_instance, part.compute_instance) for part in card.mig_instances] == [(1, 0), (2, 0)]
    assert card.mig_instances[0].memory_used_bytes == 60 * 1024**3
    assert card.mig_instances[1].uuid.startswith("MIG-")


async def test_whether_a_card_is_divided_is_asked_before_what_depends_on_it(
    library: NvmlLibrary, fake_nvml: FakeNvml
) -> None:
    await read(library, fake_nvml, "h200")
    calls = [name for gpu, name in fake_nvml.calls() if gpu == 0]

    assert calls.index("nvmlDeviceGetMigMode") < calls.index("nvmlDeviceGetFieldValues")
    assert calls.index("nvmlDeviceGetMigMode") < calls.index("nvmlDeviceGetUtilizationRates")


@pytest.mark.parametrize("name", ALL_SHAPES)
async def test_a_fast_reading_asks_each_gpu_at_most_four_things(
    library: NvmlLibrary, fake_nvml: FakeNvml, name: str
) -> None:
    fake_nvml.install(shape(name, 0), gpu(1))
    await library.read()
    fake_nvml.calls()
    await library.read(fast=True)
    calls = fake_nvml.calls()

    assert max(Counter(gpu for gpu, _ in calls).values()) <= 4
    assert {gpu for gpu, _ in calls} == {0, 1}  # and the library itself nothing


async def test_a_fast_reading_brings_what_changes_fast_and_repeats_the_rest(
    library: NvmlLibrary, fake_nvml: FakeNvml
) -> None:
    before = await read(library, fake_nvml, "rtx_5070_ti")
    fake_nvml.install(
        shape(
            "rtx_5070_ti",
            temperature=88,
            margin=1,
            field__186=111_000,
            utilisation_percent=1,
            clock_event_bits=0x20,
        )
    )
    after = (await library.read(fast=True)).gpus[0]

    assert (after.temperature_celsius, after.temperature_margin_celsius) == (88, 1)
    assert (after.power_instant_watts, after.clock_events) == (111, ("sw_thermal_slowdown",))
    assert after.utilisation_ratio == before.utilisation_ratio
    assert (await library.read()).gpus[0].utilisation_ratio == 0.01


async def test_slow_figures_take_turns_so_that_no_reading_is_slow(
    library: NvmlLibrary, fake_nvml: FakeNvml
) -> None:
    await read(library, fake_nvml, "rtx_5070_ti")
    first = len(fake_nvml.calls())
    each = []
    for _ in range(SLOW_EVERY):
        await library.read()
        each.append(Counter(fake_nvml.calls()))

    assert max(sum(calls.values()) for calls in each) < 0.6 * first
    total = sum(each, Counter())
    assert total[0, "nvmlDeviceGetCurrPcieLinkWidth"] == 1
    assert total[0, "nvmlDeviceGetMemoryBusWidth"] == 0  # never changes
    assert total[0, "nvmlDeviceGetTemperature"] == SLOW_EVERY


@pytest.mark.parametrize("name", ALL_SHAPES)
async def test_what_a_card_lacks_is_asked_for_once(
    library: NvmlLibrary, fake_nvml: FakeNvml, name: str
) -> None:
    card = await read(library, fake_nvml, name)
    fake_nvml.calls()
    for _ in range(2 * SLOW_EVERY):
        await library.read()
    names = {call for _, call in fake_nvml.calls()}

    assert ("nvmlDeviceGetFanSpeed_v2" in names) == bool(card.fans)
    assert ("nvmlDeviceGetMarginTemperature" in names) == (card.temperature_margin_celsius is not None)
    assert ("nvmlDeviceGetUtilizationRates" in names) == (card.utilisation_ratio is not None)
    assert "nvmlDeviceGetPowerUsage" not in names  # the batch has it


async def test_pcie_throughput_is_asked_for_only_where_somebody_wants_it(fake_nvml: FakeNvml) -> None:
    fake_nvml.install(shape("rtx_5070_ti"))
    for wanted in (False, True):
        library = NvmlLibrary(pcie_throughput=wanted, env=fake_nvml.env, **UNHURRIED)
        card = (await library.read()).gpus[0]
        await library.aclose()
        assert card.pcie_transmit_bytes_per_second == (61_000 * 1024 if wanted else None)
        assert card.pcie_receive_bytes_per_second == (240_000 * 1024 if wanted else None)


async def test_processes_are_told_with_their_name_and_memory(
    library: NvmlLibrary, fake_nvml: FakeNvml
) -> None:
    own, gone = os.getpid(), 2**22 + 1
    lines = {
        "process__0": f"graphics {own} 1000",
        "process__1": f"compute {own} 1000",
        "process__2": f"compute {gone} 5000",
        "process__3": "compute 1 -",
    }
    fake_nvml.install(shape("rtx_5070_ti", **lines))
    processes = (await library.read()).gpus[0].processes
    assert processes is not None

    assert [process.pid for process in processes] == [gone, own, 1]
    assert (processes[1].kind, processes[1].used_memory_bytes) == ("compute", 1000)
    assert processes[1].name
    assert (processes[0].name, processes[0].container_id) == ("", None)
    assert processes[2].used_memory_bytes is None


async def test_sixteen_gpus_are_read_and_keep_apart(library: NvmlLibrary, fake_nvml: FakeNvml) -> None:
    fake_nvml.install(*(shape(ALL_SHAPES[n % 4], n, temperature=40 + n) for n in range(16)))
    for _ in range(2):
        snapshot = await library.read()
        assert [gpu.temperature_celsius for gpu in snapshot.gpus] == [40 + n for n in range(16)]
        assert [gpu.uuid for gpu in snapshot.gpus] == [uuid(n) for n in range(16)]
        assert snapshot.faults == ()


async def test_a_live_gpu_cools_when_its_limit_or_its_clocks_are_lowered(
    library: NvmlLibrary, fake_nvml: FakeNvml
) -> None:
    fake_nvml.install(shape("rtx_3090"))
    live = LiveGpu(fake_nvml, Card(power_limit_watts=350.0, full_watts=350.0))

    async def settled(command: SetPowerLimit | LockClocks | ResetClocks | None) -> GpuReading:
        if command is not None:
            assert await library.apply(command) is None
        for _ in range(300):
            live.advance(1.0)
        return (await library.read()).gpus[0]

    free = await settled(None)
    capped = await settled(SetPowerLimit(uuid(0), 200.0))
    locked = await settled(LockClocks(uuid(0), 2.1e8, 1.3e9))
    unlocked = await settled(ResetClocks(uuid(0)))

    temperatures = [card.temperature_celsius or 0 for card in (free, capped, locked, unlocked)]
    assert temperatures[0] > temperatures[1] + 5 > temperatures[2] + 10
    assert temperatures[3] == temperatures[1]
    assert (capped.power_watts, capped.power_limit_watts) == (200, 200)
    assert capped.clock_events == ("sw_power_cap",)
    assert (locked.power_watts or 0) < 80
    assert (locked.energy_joules or 0) > (capped.energy_joules or 0)


async def test_a_live_gpu_with_a_blocked_fan_throttles_and_counts_it(
    library: NvmlLibrary, fake_nvml: FakeNvml
) -> None:
    fake_nvml.install(shape("rtx_3090"))
    live = LiveGpu(fake_nvml, Card(fan_limit=0.0))
    for _ in range(600):
        live.advance(1.0)
    card = (await library.read()).gpus[0]

    assert card.sw_thermal_throttle_seconds == live.state.throttled_seconds
    assert (card.sw_thermal_throttle_seconds or 0) > 60
