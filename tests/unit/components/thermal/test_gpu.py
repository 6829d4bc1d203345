from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.thermal.driver.nvml.invoke import signed
from aiidpd.components.thermal.faults import IMPLAUSIBLE
from aiidpd.components.thermal.figures import BOUNDS
from aiidpd.components.thermal.gpu import GpuReading, Limit, clock_event_names, degrees_left
from aiidpd.components.thermal.signals.bounds import drop_implausible


def reading(**figures: float) -> GpuReading:
    return GpuReading(0, "GPU-0", "card", **figures)


def test_an_absolute_limit_is_the_distance_to_it() -> None:
    gpu = reading(temperature_celsius=61.0, slowdown_celsius=95.0)

    assert degrees_left(gpu, Limit.SLOWDOWN) == 34.0
    assert degrees_left(gpu, Limit.SHUTDOWN) is None


def test_the_cards_own_margin_goes_before_an_absolute_limit() -> None:
    gpu = reading(
        temperature_celsius=61.0,
        slowdown_celsius=95.0,
        temperature_margin_celsius=27.0,
        slowdown_margin_celsius=-2.0,
    )

    assert degrees_left(gpu, Limit.SLOWDOWN) == 29.0


def test_a_margin_alone_or_an_offset_alone_says_nothing() -> None:
    assert degrees_left(reading(temperature_margin_celsius=27.0), Limit.SLOWDOWN) is None
    assert (
        degrees_left(reading(slowdown_margin_celsius=-2.0, temperature_celsius=50.0), Limit.SLOWDOWN) is None
    )


def test_the_memorys_limit_is_measured_by_the_memorys_temperature_alone() -> None:
    gpu = reading(
        temperature_celsius=61.0,
        temperature_margin_celsius=27.0,
        memory_max_margin_celsius=0.0,
        memory_temperature_celsius=90.0,
        memory_max_celsius=105.0,
    )

    assert degrees_left(gpu, Limit.MEMORY_MAX) == 15.0


def test_the_bandwidth_is_two_transfers_a_cycle_over_the_bus() -> None:
    gddr6x = reading(memory_clock_max_hertz=9.751e9, memory_bus_width_bits=384.0)

    assert gddr6x.theoretical_bandwidth_bytes_per_second == pytest.approx(936e9, rel=1e-3)
    assert reading(memory_clock_max_hertz=9.751e9).theoretical_bandwidth_bytes_per_second is None


@pytest.mark.parametrize(
    ("figure", "value"),
    [
        ("temperature_celsius", 0.0),
        ("temperature_celsius", -5.0),
        ("temperature_celsius", float(2**32 - 1)),
        ("memory_temperature_celsius", 255.0),
        ("power_watts", (2**32 - 1) / 1000),
        ("power_watts", -1.0),
        ("fan_ratio", (2**32 - 1) / 100),
        ("utilisation_ratio", 1.01),
        ("memory_used_bytes", float(2**64 - 1)),
        ("graphics_clock_hertz", (2**32 - 1) * 1e6),
        ("pcie_replay_count", float(2**32 - 1)),
        ("temperature_margin_celsius", float(2**31)),
        ("pcie_generation_max", float(2**32 - 1)),
    ],
)
def test_what_can_not_be_true_is_left_out_with_a_fault(figure: str, value: float) -> None:
    true, (fault,) = drop_implausible(3, {figure: value, "sm_clock_hertz": 2.6e9})

    assert true == {"sm_clock_hertz": 2.6e9}
    assert (fault.index, fault.name) == (3, IMPLAUSIBLE)
    assert str(fault).startswith(f"{figure} of ")
    assert fault.remedy


@given(st.sampled_from(sorted(BOUNDS)))
def test_every_figure_has_bounds_that_a_lost_value_does_not_meet(figure: str) -> None:
    least, most = BOUNDS[figure]

    assert least <= 0.1
    assert 1 <= most < 2**64 - 1


@given(st.integers(-(2**31), 2**31 - 1))
def test_a_negative_value_that_came_unsigned_is_negative_again(value: int) -> None:
    assert signed(value % 2**32) == value


def test_clock_events_have_nvml_names_and_new_bits_a_number() -> None:
    assert clock_event_names(0) == ()
    assert clock_event_names(0x4 | 0x40) == ("sw_power_cap", "hw_thermal_slowdown")
    assert clock_event_names(1 << 40) == ("bit_40",)
