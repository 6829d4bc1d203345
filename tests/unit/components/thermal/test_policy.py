from __future__ import annotations

import pytest

from aiidpd.components.thermal.faults import GpuFault
from aiidpd.components.thermal.gpu import GpuReading, clock_event_names
from aiidpd.components.thermal.policy import (
    Effect,
    GpuAppeared,
    GpuDisappeared,
    ThermalPolicy,
    ThermalState,
    step,
)
from aiidpd.components.thermal.signals.checked import CheckedSnapshot
from tests.believed import believed


def snapshot(*temperatures: float | None, faults: tuple[GpuFault, ...] = ()) -> CheckedSnapshot:
    """One GPU a temperature; its name tells its index."""
    gpus = tuple(
        GpuReading(index, f"GPU-{index}", f"card {index}", temperature_celsius=temperature)
        for index, temperature in enumerate(temperatures)
    )
    return believed(gpus, faults=faults)


def effects_of(snapshots: list[CheckedSnapshot]) -> list[Effect]:
    """Step through ``snapshots``; return what was told after the first."""
    state, _ = step(ThermalState(), snapshots[0])
    told: list[Effect] = []
    for reading in snapshots[1:]:
        state, effects = step(state, reading)
        told += effects
    return told


def test_the_first_reading_of_a_gpu_tells_that_it_is_there() -> None:
    _, told = step(ThermalState(), snapshot(60.0, 91.0))

    assert [type(effect) for effect in told] == [GpuAppeared, GpuAppeared]


def test_a_gpu_that_goes_is_told_once_with_the_reason_that_is_known() -> None:
    lost = GpuFault(1, "nvmlDeviceGetUUID", 15, "GPU_IS_LOST")
    without = snapshot(50.0, faults=(lost,))
    told = effects_of([snapshot(50.0, 50.0), without, without, snapshot(50.0, 50.0), snapshot(50.0)])

    assert [(type(effect), effect.reason) for effect in told] == [
        (
            GpuDisappeared,
            "GPU 1 (card 1) can't be read: nvmlDeviceGetUUID says GPU_IS_LOST (NVML error 15)",
        ),
        (GpuAppeared, "GPU 1 (card 1) is read now"),
        (GpuDisappeared, "GPU 1 (card 1) can't be read: the driver no longer lists it"),
    ]


@pytest.mark.parametrize("wrong", [{"interval": 0.0}, {"retry_interval": -1.0}])
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        ThermalPolicy(**wrong)


def test_clock_events_have_nvml_names_and_new_bits_a_number() -> None:
    assert clock_event_names(0) == ()
    assert clock_event_names(0x4 | 0x40) == ("sw_power_cap", "hw_thermal_slowdown")
    assert clock_event_names(1 << 40) == ("bit_40",)
