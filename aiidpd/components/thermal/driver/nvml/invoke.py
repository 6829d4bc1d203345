"""An NVML call: its error, what that means for the calls after it, and what the card turned out to lack."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, TypeAlias

import pynvml

Handle: TypeAlias = Any  # an opaque pointer that pynvml gives and takes
Json: TypeAlias = dict[str, Any]

_NAMES = {
    code: name.removeprefix("NVML_ERROR_")
    for name, code in vars(pynvml).items()
    if name.startswith("NVML_ERROR_")
}

ABSENT = {
    pynvml.NVML_ERROR_NOT_SUPPORTED,
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,  # a library older than the call
    pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,  # a library that knows an older form of it
    pynvml.NVML_ERROR_DEPRECATED,
}
"""This card or driver has no such figure: the call is not made again."""

LOST = {pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED}
"""A GPU that is unusable: no figure that it gives now counts."""

GONE = {
    pynvml.NVML_ERROR_UNINITIALIZED,
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
}
"""A library that no longer fits the driver: only a fresh process helps."""


class Failed(Exception):
    """An NVML call that failed. ``fault`` goes to the daemon: the fields of ``GpuFault``."""

    def __init__(self, call: str, code: int | None, name: str | None = None) -> None:
        self.code = code
        name = name or _NAMES.get(code, f"ERROR_{code}")
        self.fault: Json = {"index": None, "call": call, "code": code, "name": name}
        super().__init__(self.fault)


def invoke(name: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Return the result of the NVML call ``name``; raise :class:`Failed` where it returns an error code."""
    try:
        return function(*arguments)
    except pynvml.NVMLError as error:
        raise Failed(name, int(error.value)) from None


class Capabilities:
    """Facts about one card that are found out once and hold for good.

    ``lacks`` has the field numbers that the card does not know, ``fan_count`` how many fans it has.
    """

    # No dataclass: that would cost the process a megabyte.
    def __init__(self) -> None:
        self.lacks: set[int] = set()
        self.fan_count: int | None = None
        self.lacks_rpm = False


def address(handle: Handle) -> int:
    """Return what two handles of one GPU have in common."""
    return ctypes.cast(handle, ctypes.c_void_p).value or 0


def signed(value: int) -> int:
    """Return a C ``unsigned int`` as what the driver meant by it: what is negative comes wrapped round."""
    return value - (1 << 32) if value >= 1 << 31 else value
