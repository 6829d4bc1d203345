from __future__ import annotations

from collections.abc import Mapping

from aiidpd.components.thermal.alerts.presence import (
    GpuAppeared,
    GpuDisappeared,
    Known,
    PresenceChange,
    changes,
)
from aiidpd.components.thermal.faults import GpuFault
from aiidpd.components.thermal.gpu import GpuReading
from aiidpd.components.thermal.signals.checked import CheckedSnapshot
from tests.believed import believed


def snapshot(*temperatures: float | None, faults: tuple[GpuFault, ...] = ()) -> CheckedSnapshot:
    """One GPU a temperature; its name has its index."""
    gpus = tuple(
        GpuReading(index, f"GPU-{index}", f"card {index}", temperature_celsius=temperature)
        for index, temperature in enumerate(temperatures)
    )
    return believed(gpus, faults=faults)


def changes_in(snapshots: list[CheckedSnapshot]) -> list[PresenceChange]:
    """Return what changed after the first of ``snapshots``."""
    known, _ = changes({}, snapshots[0])
    found: list[PresenceChange] = []
    for each in snapshots[1:]:
        known, changed = changes(known, each)
        found += changed
    return found


def test_the_first_reading_of_a_gpu_tells_that_it_is_there() -> None:
    nothing: Mapping[str, Known] = {}
    _, found = changes(nothing, snapshot(60.0, 91.0))

    assert [type(change) for change in found] == [GpuAppeared, GpuAppeared]


def test_a_gpu_that_goes_is_published_once_with_the_reason_that_is_known() -> None:
    lost = GpuFault(1, "nvmlDeviceGetUUID", 15, "GPU_IS_LOST")
    without = snapshot(50.0, faults=(lost,))
    found = changes_in([snapshot(50.0, 50.0), without, without, snapshot(50.0, 50.0), snapshot(50.0)])

    assert [(type(change), change.reason) for change in found] == [
        (
            GpuDisappeared,
            "GPU 1 (card 1) can't be read: nvmlDeviceGetUUID says GPU_IS_LOST (NVML error 15)",
        ),
        (GpuAppeared, "GPU 1 (card 1) is read now"),
        (GpuDisappeared, "GPU 1 (card 1) can't be read: the driver no longer lists it"),
    ]
