"""One NVML call, and what its error means for those that come after it."""

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
"""This card or driver has no such figure: it is asked for no more."""

LOST = {pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED}
"""Nothing that this GPU says now is worth a thing."""

GONE = {
    pynvml.NVML_ERROR_UNINITIALIZED,
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
}
"""The library no longer fits the driver: only a fresh process helps."""


class Failed(Exception):
    """An NVML call that failed. ``fault`` is what the parent gets: the fields of ``GpuFault``."""

    def __init__(self, call: str, code: int | None, name: str | None = None) -> None:
        self.code = code
        name = name or _NAMES.get(code, f"ERROR_{code}")
        self.fault: Json = {"index": None, "call": call, "code": code, "name": name}
        super().__init__(self.fault)


def ask(name: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what an NVML call gives; raise :class:`Failed` where it gives an error."""
    try:
        return function(*arguments)
    except pynvml.NVMLError as error:
        raise Failed(name, int(error.value)) from None


def address(handle: Handle) -> int:
    """Return what two handles of one GPU have in common."""
    return ctypes.cast(handle, ctypes.c_void_p).value or 0


def signed(value: int) -> int:
    """Return a C ``unsigned int`` as what the driver meant by it: what is negative comes wrapped round."""
    return value - (1 << 32) if value >= 1 << 31 else value
