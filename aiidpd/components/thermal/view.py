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
    )
