"""Parts of a GPU that are read one by one: its fans, and its MIG instances (Multi-Instance GPU)."""

from __future__ import annotations

from ctypes import byref

import pynvml

from aiidpd.components.thermal.driver.nvml.invoke import ABSENT, Capabilities, Failed, Handle, Json, invoke

_RPM = "nvmlDeviceGetFanSpeedRPM"
_EMPTY = ABSENT | {pynvml.NVML_ERROR_NOT_FOUND, pynvml.NVML_ERROR_INVALID_ARGUMENT}


def read_fans(handle: Handle, capabilities: Capabilities) -> tuple[Json, list[Json]]:
    """Return the intended speed of every fan, in turns a minute too where the driver has them."""
    if capabilities.fan_count is None:
        capabilities.fan_count = invoke("nvmlDeviceGetNumFans", pynvml.nvmlDeviceGetNumFans, handle)
    if not capabilities.fan_count:
        raise Failed("nvmlDeviceGetNumFans", pynvml.NVML_ERROR_NOT_SUPPORTED)
    fans: list[Json] = []
    for index in range(capabilities.fan_count):
        fan = {"index": index, "speed_ratio": pynvml.nvmlDeviceGetFanSpeed_v2(handle, index) / 100}
        fans.append(fan | _turns(handle, index, capabilities))
    return {"fans": fans, "fan_ratio": max(fan["speed_ratio"] for fan in fans)}, []


def _turns(handle: Handle, index: int, capabilities: Capabilities) -> Json:
    if capabilities.lacks_rpm:
        return {}
    try:
        return {"speed_rpm": invoke(_RPM, _rpm, handle, index)}
    except Failed as error:
        if error.code not in ABSENT:
            raise
        capabilities.lacks_rpm = True
        return {}


def _rpm(handle: Handle, index: int) -> int:
    # As pynvml.nvmlDeviceGetFanSpeedRPM, which asks for fan 0 alone.
    info = pynvml.c_nvmlFanSpeedInfo_t(version=pynvml.nvmlFanSpeedInfo_v1, fan=index)
    function = pynvml._nvmlGetFunctionPointer(_RPM)  # noqa: SLF001
    pynvml._nvmlCheckReturn(function(handle, byref(info)))  # noqa: SLF001
    return int(info.speed)


def read_mig(handle: Handle, _capabilities: Capabilities) -> tuple[Json, list[Json]]:
    """Return whether the GPU is divided now, and its MIG instances."""
    current, _pending = invoke("nvmlDeviceGetMigMode", pynvml.nvmlDeviceGetMigMode, handle)
    if current != pynvml.NVML_DEVICE_MIG_ENABLE:
        return {"mig_enabled": False, "mig_instances": []}, []
    places = invoke("nvmlDeviceGetMaxMigDeviceCount", pynvml.nvmlDeviceGetMaxMigDeviceCount, handle)
    found = [_instance(handle, place) for place in range(places)]
    return {"mig_enabled": True, "mig_instances": [part for part in found if part]}, []


def _instance(handle: Handle, place: int) -> Json | None:
    try:
        part = invoke(
            "nvmlDeviceGetMigDeviceHandleByIndex", pynvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, place
        )
    except Failed as error:
        if error.code not in _EMPTY:
            raise
        return None  # places are numbered, and not each is taken
    instance: Json = {
        "uuid": invoke("nvmlDeviceGetUUID", pynvml.nvmlDeviceGetUUID, part),
        "gpu_instance": invoke("nvmlDeviceGetGpuInstanceId", pynvml.nvmlDeviceGetGpuInstanceId, part),
        "compute_instance": invoke(
            "nvmlDeviceGetComputeInstanceId", pynvml.nvmlDeviceGetComputeInstanceId, part
        ),
    }
    try:
        memory = invoke("nvmlDeviceGetMemoryInfo", pynvml.nvmlDeviceGetMemoryInfo, part)
    except Failed as error:
        if error.code not in ABSENT:
            raise
        return instance
    return instance | {"memory_used_bytes": memory.used, "memory_total_bytes": memory.total}
