"""View of the GPUs for other components, from a snapshot (pure)."""

from __future__ import annotations

from aiidpd.components.thermal.gpu import GpuReading, GpuSnapshot
from aiidpd.contracts.gpus import GpuMemoryUse, GpusView, GpuUse


def gpus_view(snapshot: GpuSnapshot) -> GpusView:
    """Return what other components may know of ``snapshot``."""
    return GpusView(tuple(map(_use, snapshot.gpus)), snapshot.driver_version, snapshot.simulated)


def _use(gpu: GpuReading) -> GpuUse:
    processes = None
    if gpu.processes is not None:
        processes = tuple(
            GpuMemoryUse(each.pid, each.container_id, each.used_memory_bytes) for each in gpu.processes
        )
    return GpuUse(
        gpu.index,
        gpu.uuid,
        gpu.name,
        gpu.utilisation_ratio,
        gpu.power_watts,
        gpu.power_limit_watts,
        gpu.memory_used_bytes,
        processes,
        temperature_celsius=gpu.temperature_celsius,
        memory_temperature_celsius=gpu.memory_temperature_celsius,
        sm_clock_hertz=gpu.sm_clock_hertz,
        memory_clock_hertz=gpu.memory_clock_hertz,
        clock_events=gpu.clock_events,
        thermal_throttle_seconds=_sum(gpu.sw_thermal_throttle_seconds, gpu.hw_thermal_throttle_seconds),
        brake_throttle_seconds=gpu.hw_power_brake_throttle_seconds,
        pcie_generation=gpu.pcie_generation,
        pcie_width_lanes=gpu.pcie_width_lanes,
    )


def _sum(*seconds: float | None) -> float | None:
    """Return the sum of those that are known, None where none is."""
    known = [each for each in seconds if each is not None]
    return sum(known) if known else None
