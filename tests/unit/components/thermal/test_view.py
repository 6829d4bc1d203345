"""View of the GPUs for other components."""

from __future__ import annotations

from aiidpd.components.thermal.gpu import GpuReading, GpuSnapshot
from aiidpd.components.thermal.view import gpus_view


def test_it_has_heat_clocks_throttling_and_link() -> None:
    reading = GpuReading(
        0,
        "u0",
        "H100",
        temperature_celsius=61.0,
        sm_clock_hertz=1980e6,
        memory_clock_hertz=2619e6,
        clock_events=("sw_power_cap",),
        sw_thermal_throttle_seconds=1.5,
        hw_thermal_throttle_seconds=2.0,
        hw_power_brake_throttle_seconds=0.5,
        pcie_generation=5.0,
        pcie_width_lanes=16.0,
    )
    view = gpus_view(GpuSnapshot((reading,), "570.1", simulated=False))
    (gpu,) = view.gpus
    assert (view.driver_version, gpu.temperature_celsius, gpu.sm_clock_hertz) == ("570.1", 61.0, 1980e6)
    assert (gpu.thermal_throttle_seconds, gpu.brake_throttle_seconds) == (3.5, 0.5)
    assert (gpu.clock_events, gpu.pcie_generation, gpu.pcie_width_lanes) == (("sw_power_cap",), 5.0, 16.0)


def test_what_a_card_does_not_report_is_not_known() -> None:
    (gpu,) = gpus_view(GpuSnapshot((GpuReading(0, "u0", "H100"),), "", simulated=False)).gpus
    assert (gpu.thermal_throttle_seconds, gpu.clock_events, gpu.sm_clock_hertz) == (None, None, None)
