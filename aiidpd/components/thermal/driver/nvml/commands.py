"""Settings of a GPU: the only calls that change anything."""

from __future__ import annotations

from collections.abc import Callable

import pynvml

from aiidpd.components.thermal.driver.nvml.invoke import Failed, Handle, Json, invoke

_MEGA = 1_000_000


def _set_power_limit(handle: Handle, command: Json) -> None:
    milliwatts = round(command["watts"] * 1000)
    invoke("nvmlDeviceSetPowerManagementLimit", pynvml.nvmlDeviceSetPowerManagementLimit, handle, milliwatts)


def _reset_power_limit(handle: Handle, _command: Json) -> None:
    name = "nvmlDeviceGetPowerManagementDefaultLimit"
    milliwatts = invoke(name, pynvml.nvmlDeviceGetPowerManagementDefaultLimit, handle)
    invoke("nvmlDeviceSetPowerManagementLimit", pynvml.nvmlDeviceSetPowerManagementLimit, handle, milliwatts)


def _lock_clocks(handle: Handle, command: Json) -> None:
    low, high = round(command["min_hertz"] / _MEGA), round(command["max_hertz"] / _MEGA)
    invoke("nvmlDeviceSetGpuLockedClocks", pynvml.nvmlDeviceSetGpuLockedClocks, handle, low, high)


def _reset_clocks(handle: Handle, _command: Json) -> None:
    invoke("nvmlDeviceResetGpuLockedClocks", pynvml.nvmlDeviceResetGpuLockedClocks, handle)


_COMMANDS: dict[str, Callable[[Handle, Json], None]] = {
    "SetPowerLimit": _set_power_limit,
    "ResetPowerLimit": _reset_power_limit,
    "LockClocks": _lock_clocks,
    "ResetClocks": _reset_clocks,
}


def apply(command: Json) -> Json | None:
    """Carry out ``command``; return the fault of a refusal."""
    try:
        handle = invoke("nvmlDeviceGetHandleByUUID", pynvml.nvmlDeviceGetHandleByUUID, command["uuid"])
        _COMMANDS[command["command"]](handle, command)
    except Failed as error:
        return error.fault
    return None
