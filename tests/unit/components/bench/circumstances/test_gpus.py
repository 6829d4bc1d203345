"""Circumstances of GPUs over a measurement."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.bench.circumstances.gpus import GpuMoment, of_gpus, throttled
from aiidpd.contracts.gpus import GpusView, GpuUse

BEGAN, ENDED = 10.0, 12.0


def moment(at: float, *gpus: GpuUse, **more: Any) -> GpuMoment:
    return GpuMoment(at, GpusView(gpus or (GpuUse(0, "u0", "H100", **more),), "570.1"))


def everything(view: GpusView) -> tuple[GpuUse, ...]:
    return view.gpus


def found(*moments: GpuMoment) -> dict[str, Any]:
    return of_gpus(moments, everything, BEGAN, ENDED)


def test_nothing_is_known_without_a_reading():
    assert found() == {}
    assert throttled((), everything, BEGAN, ENDED) == ""


def test_clocks_and_power_are_those_under_load_and_heat_is_that_around_it():
    known = found(
        moment(9.0, temperature_celsius=40.0, sm_clock_hertz=210e6, power_watts=30.0, pcie_generation=1.0),
        moment(10.5, temperature_celsius=61.0, sm_clock_hertz=1980e6, power_watts=312.4, pcie_generation=5.0),
        moment(11.5, temperature_celsius=66.0, sm_clock_hertz=1755e6, power_watts=300.0, pcie_generation=5.0),
        moment(
            12.5, temperature_celsius=67.0, sm_clock_hertz=345e6, pcie_generation=1.0, pcie_width_lanes=16.0
        ),
    )
    assert known["hottest GPU in C"] == 67.0
    assert known["lowest SM clock in MHz"] == 1755
    assert known["highest power of a GPU in W"] == 312
    assert (known["PCIe generation of GPU 0"], known["PCIe lanes of GPU 0"]) == (5.0, 16.0)
    assert (known["driver"], known["throttled"]) == ("570.1", "no")


def test_clocks_between_two_readings_are_not_known():
    known = found(moment(9.0, sm_clock_hertz=210e6), moment(13.0, sm_clock_hertz=210e6))
    assert known["lowest SM clock in MHz"] is None
    assert known["clock events"] is None


@pytest.mark.parametrize(
    ("event", "slows"),
    [
        ("hw_thermal_slowdown", True),
        ("sw_thermal_slowdown", True),
        ("hw_slowdown", True),
        ("hw_power_brake_slowdown", True),
        ("sw_power_cap", False),
        ("gpu_idle", False),
    ],
)
def test_heat_and_power_brake_throttle_and_a_power_cap_is_normal_operation(event: str, slows: bool):
    during = moment(11.0, clock_events=(event,))
    assert bool(throttled((during,), everything, BEGAN, ENDED)) is slows
    assert not throttled((moment(9.0, clock_events=(event,)),), everything, BEGAN, ENDED)


def test_the_driver_s_counters_show_what_no_reading_saw():
    before, after = moment(9.5, thermal_throttle_seconds=100.0), moment(12.5, thermal_throttle_seconds=100.3)
    reason = throttled((before, after), everything, BEGAN, ENDED)
    assert reason == "GPU 0: it lowered its clocks because of heat"
    assert found(before, after)["throttled"] == reason
    assert not throttled((before, moment(12.5, thermal_throttle_seconds=100.0)), everything, BEGAN, ENDED)
    assert not throttled((before, moment(12.5)), everything, BEGAN, ENDED)
    braked = moment(9.5, brake_throttle_seconds=0.0), moment(12.5, brake_throttle_seconds=1.0)
    assert "power brake" in throttled(braked, everything, BEGAN, ENDED)


@given(
    st.lists(
        st.tuples(
            st.floats(0, 20),
            st.lists(
                st.builds(
                    GpuUse,
                    st.integers(0, 3),
                    st.sampled_from("ab"),
                    st.just("H100"),
                    temperature_celsius=st.none() | st.floats(0, 120),
                    sm_clock_hertz=st.none() | st.floats(0, 3e9),
                    clock_events=st.none()
                    | st.lists(st.sampled_from(["gpu_idle", "hw_slowdown"])).map(tuple),
                    thermal_throttle_seconds=st.none() | st.floats(0, 1e6),
                ),
                max_size=3,
            ),
        ),
        max_size=6,
    )
)
def test_whatever_is_read_the_words_and_the_figures_agree(readings: list[tuple[float, list[GpuUse]]]):
    moments = [
        GpuMoment(at, GpusView(tuple(gpus))) for at, gpus in sorted(readings, key=lambda each: each[0])
    ]
    known = of_gpus(moments, everything, BEGAN, ENDED)
    reason = throttled(moments, everything, BEGAN, ENDED)
    if "throttled" in known:
        assert known["throttled"] == (reason or "no")
    clock = known.get("lowest SM clock in MHz")
    assert clock is None or 0 <= clock <= 3000
