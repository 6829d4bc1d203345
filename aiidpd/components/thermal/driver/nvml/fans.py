"""The fans of one GPU."""

from __future__ import annotations

from ctypes import byref

import pynvml

from aiidpd.components.thermal.driver.nvml.ask import ABSENT, Failed, Handle, Json, ask
from aiidpd.components.thermal.driver.nvml.notes import Notes

_RPM = "nvmlDeviceGetFanSpeedRPM"


def read_fans(handle: Handle, notes: Notes) -> tuple[Json, list[Json]]:
    """Return the intended speed of every fan, in turns a minute too where the driver tells it."""
    if notes.fan_count is None:
        notes.fan_count = ask("nvmlDeviceGetNumFans", pynvml.nvmlDeviceGetNumFans, handle)
    if not notes.fan_count:
        raise Failed("nvmlDeviceGetNumFans", pynvml.NVML_ERROR_NOT_SUPPORTED)
    fans: list[Json] = []
    for index in range(notes.fan_count):
        fan = {"index": index, "speed_ratio": pynvml.nvmlDeviceGetFanSpeed_v2(handle, index) / 100}
        fans.append(fan | _turns(handle, index, notes))
    return {"fans": fans, "fan_ratio": max(fan["speed_ratio"] for fan in fans)}, []


def _turns(handle: Handle, index: int, notes: Notes) -> Json:
    if notes.lacks_rpm:
        return {}
    try:
        return {"speed_rpm": ask(_RPM, _rpm, handle, index)}
    except Failed as error:
        if error.code not in ABSENT:
            raise
        notes.lacks_rpm = True
        return {}


def _rpm(handle: Handle, index: int) -> int:
    # As pynvml.nvmlDeviceGetFanSpeedRPM, which asks for fan 0 alone.
    info = pynvml.c_nvmlFanSpeedInfo_t(version=pynvml.nvmlFanSpeedInfo_v1, fan=index)
    function = pynvml._nvmlGetFunctionPointer(_RPM)  # noqa: SLF001
    pynvml._nvmlCheckReturn(function(handle, byref(info)))  # noqa: SLF001
    return int(info.speed)
