from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.workers.thermal.faults import GpuFault
from aiidpd.workers.thermal.gpu import GpuReading, GpuSnapshot, clock_event_names
from aiidpd.workers.thermal.policy import (
    Effect,
    GpuAppeared,
    GpuDisappeared,
    Level,
    LevelChanged,
    ThermalPolicy,
    ThermalState,
    step,
)

POLICY = ThermalPolicy()


def snapshot(*temperatures: float | None, faults: tuple[GpuFault, ...] = ()) -> GpuSnapshot:
    """One GPU a temperature; its name tells its index."""
    gpus = tuple(
        GpuReading(index, f"GPU-{index}", f"card {index}", temperature_celsius=temperature)
        for index, temperature in enumerate(temperatures)
    )
    return GpuSnapshot(gpus, "580", simulated=False, faults=faults)


def effects_of(snapshots: list[GpuSnapshot], policy: ThermalPolicy = POLICY) -> list[Effect]:
    """Step through ``snapshots``, a second apart; return what was told after the first."""
    state, _ = step(ThermalState(), snapshots[0], 0.0, policy)
    told: list[Effect] = []
    for second, reading in enumerate(snapshots[1:], start=1):
        state, effects = step(state, reading, float(second), policy)
        told += effects
    return told


def levels(*temperatures: float | None) -> list[tuple[Level, Level]]:
    told = effects_of([snapshot(50.0), *map(snapshot, temperatures)])
    return [(effect.before, effect.after) for effect in told if isinstance(effect, LevelChanged)]


@pytest.mark.parametrize(
    ("temperatures", "expected"),
    [
        ((84.9,), []),
        ((85.0,), [(Level.NORMAL, Level.WARNING)]),
        ((90.0,), [(Level.NORMAL, Level.CRITICAL)]),
        ((85.0, 82.1), [(Level.NORMAL, Level.WARNING)]),
        ((85.0, 82.0), [(Level.NORMAL, Level.WARNING), (Level.WARNING, Level.NORMAL)]),
        ((90.0, 87.0), [(Level.NORMAL, Level.CRITICAL), (Level.CRITICAL, Level.WARNING)]),
        ((90.0, 50.0), [(Level.NORMAL, Level.CRITICAL), (Level.CRITICAL, Level.NORMAL)]),
        ((90.0, 83.0), [(Level.NORMAL, Level.CRITICAL), (Level.CRITICAL, Level.WARNING)]),
        ((85.0, None, 84.0), [(Level.NORMAL, Level.WARNING)]),
    ],
)
def test_a_level_is_entered_at_its_threshold_and_left_below_it(
    temperatures: tuple[float | None, ...], expected: list[tuple[Level, Level]]
) -> None:
    assert levels(*temperatures) == expected


def test_a_change_tells_why_and_how_long_the_level_before_lasted() -> None:
    told = effects_of([snapshot(50.0), snapshot(50.0), snapshot(86.0), snapshot(86.0), snapshot(81.0)])

    assert told == [
        LevelChanged(
            0,
            "GPU-0",
            "GPU 0 (card 0) is at 86 °C and reached the warning threshold of 85 °C",
            Level.NORMAL,
            Level.WARNING,
            86.0,
            held=2.0,
        ),
        LevelChanged(
            0,
            "GPU-0",
            "GPU 0 (card 0) is at 81 °C and fell to 82 °C or below, where warning ends",
            Level.WARNING,
            Level.NORMAL,
            81.0,
            held=2.0,
        ),
    ]


def test_the_first_reading_of_a_gpu_tells_that_it_is_there_and_how_hot() -> None:
    _, told = step(ThermalState(), snapshot(60.0, 91.0), 0.0, POLICY)

    assert [type(effect) for effect in told] == [GpuAppeared, GpuAppeared, LevelChanged]


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


@given(
    threshold=st.sampled_from([85.0, 90.0]),
    start=st.floats(-40, 10),
    noise=st.lists(st.floats(-2.99, 2.99), min_size=1, max_size=100),
)
def test_noise_within_the_hysteresis_makes_no_second_transition(
    threshold: float, start: float, noise: list[float]
) -> None:
    told = effects_of([snapshot(threshold + start), *(snapshot(threshold + degrees) for degrees in noise)])
    entered = [effect.after for effect in told if isinstance(effect, LevelChanged)]

    assert len(entered) == len(set(entered))


@given(st.lists(st.floats(0, 120) | st.none(), min_size=2, max_size=50))
def test_told_changes_chain_and_agree_with_the_temperature(temperatures: list[float | None]) -> None:
    told = [
        e for e in effects_of([snapshot(20.0), *map(snapshot, temperatures)]) if isinstance(e, LevelChanged)
    ]

    assert all(first.after == second.before for first, second in itertools.pairwise(told))
    assert all(effect.before != effect.after for effect in told)
    for effect in told:
        if effect.after > effect.before:
            assert effect.temperature_celsius >= POLICY.threshold(effect.after)
        else:
            left = Level(effect.after + 1)
            assert effect.temperature_celsius <= POLICY.threshold(left) - POLICY.clear_below


@pytest.mark.parametrize(
    "wrong",
    [{"interval": 0.0}, {"retry_interval": -1.0}, {"clear_below": -1.0}, {"warning_celsius": 90.0}],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        ThermalPolicy(**wrong)


def test_clock_events_have_nvml_names_and_new_bits_a_number() -> None:
    assert clock_event_names(0) == ()
    assert clock_event_names(0x4 | 0x40) == ("sw_power_cap", "hw_thermal_slowdown")
    assert clock_event_names(1 << 40) == ("bit_40",)
