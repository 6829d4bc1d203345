from __future__ import annotations

from aiidpd.cli.text import Paint
from aiidpd.components.thermal.api.gpus import GpusDocument
from aiidpd.components.thermal.cli.text import gpu_table
from aiidpd.components.thermal.faults import GpuFault
from tests.documents import empty, unknown_gpu

PLAIN = Paint()


def test_a_gpu_that_says_little_shows_dashes_never_zeros() -> None:
    lines = gpu_table(empty(GpusDocument, gpus=[unknown_gpu()]), PLAIN)
    assert lines[1].split() == ["0", "L4", "-", "-", "-", "-", "-", "-", "-"]


def test_a_gpu_with_everything() -> None:
    gpu = unknown_gpu(
        temperature_celsius=61.4,
        power_watts=55.2,
        power_limit_watts=72.0,
        fan_ratio=0.3,
        utilisation_ratio=0.93,
        memory_used_bytes=2**34,
        memory_total_bytes=3 * 2**33,
        graphics_clock_hertz=2.04e9,
        clock_events=["sw_power_cap"],
    )
    fault = GpuFault(index=1, call="nvmlDeviceGetName", code=15, name="GPU_IS_LOST")
    lines = gpu_table(empty(GpusDocument, gpus=[gpu], faults=[fault]), PLAIN)
    assert lines[0] == "GPU  NAME   TEMP    POWER   FAN  LOAD         MEMORY     CLOCK  SLOWED BY"
    assert lines[1] == "  0  L4    61 °C  55/72 W  30 %  93 %  16.0/24.0 GiB  2040 MHz  sw_power_cap"
    assert lines[2] == "GPU 1: nvmlDeviceGetName says GPU_IS_LOST"
