"""The parts of a GPU that is divided (Multi-Instance GPU)."""

from __future__ import annotations

import pynvml

from aiidpd.components.thermal.driver.nvml.ask import ABSENT, Failed, Handle, Json, ask
from aiidpd.components.thermal.driver.nvml.notes import Notes

_EMPTY = ABSENT | {pynvml.NVML_ERROR_NOT_FOUND, pynvml.NVML_ERROR_INVALID_ARGUMENT}


def read_mig(handle: Handle, _notes: Notes) -> tuple[Json, list[Json]]:
    """Return whether the GPU is divided now, and its parts."""
    current, _pending = ask("nvmlDeviceGetMigMode", pynvml.nvmlDeviceGetMigMode, handle)
    if current != pynvml.NVML_DEVICE_MIG_ENABLE:
        return {"mig_enabled": False, "mig_instances": []}, []
    places = ask("nvmlDeviceGetMaxMigDeviceCount", pynvml.nvmlDeviceGetMaxMigDeviceCount, handle)
    found = [_instance(handle, place) for place in range(places)]
    return {"mig_enabled": True, "mig_instances": [part for part in found if part]}, []


def _instance(handle: Handle, place: int) -> Json | None:
    try:
        part = ask(
            "nvmlDeviceGetMigDeviceHandleByIndex", pynvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, place
        )
    except Failed as error:
        if error.code not in _EMPTY:
            raise
        return None  # places are numbered, and not each is taken
    instance: Json = {
        "uuid": ask("nvmlDeviceGetUUID", pynvml.nvmlDeviceGetUUID, part),
        "gpu_instance": ask("nvmlDeviceGetGpuInstanceId", pynvml.nvmlDeviceGetGpuInstanceId, part),
        "compute_instance": ask(
            "nvmlDeviceGetComputeInstanceId", pynvml.nvmlDeviceGetComputeInstanceId, part
        ),
    }
    try:
        memory = ask("nvmlDeviceGetMemoryInfo", pynvml.nvmlDeviceGetMemoryInfo, part)
    except Failed as error:
        if error.code not in ABSENT:
            raise
        return instance
    return instance | {"memory_used_bytes": memory.used, "memory_total_bytes": memory.total}
