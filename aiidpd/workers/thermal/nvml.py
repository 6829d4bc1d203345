"""The child process that talks to NVML: the one module that imports pynvml, and a program of its own.

NVML can hang inside the kernel or crash, so it never runs in the daemon. :mod:`.child` starts this
file by its path. It imports the standard library and pynvml alone, so it stays small and quick to start.

It reads one JSON object a line, ``{"id": 7, "call": "read"}``, and answers each with one line:
``{"id": 7, "driver_version": ..., "gpus": [...], "faults": [...]}``, where the GPUs have the fields of
``GpuReading`` in base units and the faults those of ``GpuFault``; or ``{"id": 7, "error": FAULT}`` where
no GPU could be read. Whoever gets an error starts a fresh child, because only that loads a new driver's
library. The program ends when its input does.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NamedTuple, TypeAlias

import pynvml

Handle: TypeAlias = Any  # an opaque pointer that pynvml gives and takes
Fields: TypeAlias = dict[str, int | float]
Json: TypeAlias = dict[str, Any]

_PR_SET_PDEATHSIG = 1
_NAMES = {
    code: name.removeprefix("NVML_ERROR_")
    for name, code in vars(pynvml).items()
    if name.startswith("NVML_ERROR_")
}
_ABSENT = {
    pynvml.NVML_ERROR_NOT_SUPPORTED,
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,  # a library older than the call
    pynvml.NVML_ERROR_DEPRECATED,
}
_LOST = {pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED}


class Failed(Exception):
    """An NVML call that failed. ``fault`` is what the parent gets: the fields of ``GpuFault``."""

    def __init__(self, call: str, code: int | None, name: str) -> None:
        self.code = code
        self.fault: Json = {"index": None, "call": call, "code": code, "name": name}
        super().__init__(self.fault)


class Call(NamedTuple):
    """One NVML call for one GPU: its name in NVML, and how its answer becomes fields in base units."""

    name: str
    fields: Callable[[Handle], Fields]
    once: bool = False  # the answer never changes while a GPU is there


def _memory(handle: Handle) -> Fields:
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    return {"memory_used_bytes": memory.used, "memory_total_bytes": memory.total}


def _utilisation(handle: Handle) -> Fields:
    rates = pynvml.nvmlDeviceGetUtilizationRates(handle)
    return {
        "utilisation_ratio": rates.gpu / 100,
        "memory_controller_utilisation_ratio": rates.memory / 100,
    }


def _threshold(field_name: str, kind: int) -> Call:
    def fields(handle: Handle) -> Fields:
        return {field_name: pynvml.nvmlDeviceGetTemperatureThreshold(handle, kind)}

    return Call("nvmlDeviceGetTemperatureThreshold", fields, once=True)


def _clock(field_name: str, kind: int) -> Call:
    def fields(handle: Handle) -> Fields:
        return {field_name: pynvml.nvmlDeviceGetClockInfo(handle, kind) * 1_000_000}

    return Call("nvmlDeviceGetClockInfo", fields)


CALLS = (
    Call(
        "nvmlDeviceGetTemperature",
        lambda handle: {
            "temperature_celsius": pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)
        },
    ),
    Call(
        "nvmlDeviceGetPowerUsage",
        lambda handle: {"power_watts": pynvml.nvmlDeviceGetPowerUsage(handle) / 1000},
    ),
    Call(
        "nvmlDeviceGetEnforcedPowerLimit",
        lambda handle: {"power_limit_watts": pynvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000},
    ),
    Call(
        "nvmlDeviceGetFanSpeed",
        lambda handle: {"fan_ratio": pynvml.nvmlDeviceGetFanSpeed(handle) / 100},
    ),
    Call("nvmlDeviceGetUtilizationRates", _utilisation),
    Call("nvmlDeviceGetMemoryInfo", _memory),
    _clock("graphics_clock_hertz", pynvml.NVML_CLOCK_GRAPHICS),
    _clock("memory_clock_hertz", pynvml.NVML_CLOCK_MEM),
    Call(
        # The call's older name: it works with every driver.
        "nvmlDeviceGetCurrentClocksThrottleReasons",
        lambda handle: {"clock_event_bits": pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)},
    ),
    _threshold("slowdown_celsius", pynvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN),
    _threshold("shutdown_celsius", pynvml.NVML_TEMPERATURE_THRESHOLD_SHUTDOWN),
)


def ask(name: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what an NVML call gives; raise :class:`Failed` where it gives an error."""
    try:
        return function(*arguments)
    except pynvml.NVMLError as error:
        code = int(error.value)
        raise Failed(name, code, _NAMES.get(code, f"ERROR_{code}")) from None


@dataclass(slots=True)
class Card:
    """What is known of one GPU for good: answers that never change, and calls that it does not support."""

    name: str
    fixed: dict[Call, Fields] = field(default_factory=dict)
    absent: set[Call] = field(default_factory=set)

    def fields(self, call: Call, handle: Handle) -> Fields:
        """Return what ``call`` gives, nothing where this card has no such figure."""
        if call in self.absent:
            return {}
        if call in self.fixed:
            return self.fixed[call]
        try:
            fields: Fields = ask(call.name, call.fields, handle)
        except Failed as error:
            if error.code not in _ABSENT:
                raise
            self.absent.add(call)
            return {}
        if call.once:
            self.fixed[call] = fields
        return fields


class Reader:
    """NVML, initialised at the first reading."""

    def __init__(self) -> None:
        self._driver: str | None = None
        self._cards: dict[str, Card] = {}

    def read(self) -> Json:
        """Return the readings of all GPUs; raise :class:`Failed` where not one could be read."""
        if self._driver is None:
            ask("nvmlInit", pynvml.nvmlInit)
            self._driver = ask("nvmlSystemGetDriverVersion", pynvml.nvmlSystemGetDriverVersion)
        count: int = ask("nvmlDeviceGetCount", pynvml.nvmlDeviceGetCount)
        if count == 0:
            raise Failed("nvmlDeviceGetCount", None, "NO_GPUS")
        gpus: list[Json] = []
        faults: list[Json] = []
        lost: list[Failed] = []
        for index in range(count):
            try:
                gpus.append(self._gpu(index, faults))
            except Failed as error:
                error.fault["index"] = index
                lost.append(error)
        if not gpus:
            raise lost[0]
        faults += (error.fault for error in lost)
        return {"driver_version": self._driver, "gpus": gpus, "faults": faults}

    def _gpu(self, index: int, faults: list[Json]) -> Json:
        # Handle and UUID are asked for each time: once a GPU was lost, its index can name another card.
        handle = ask("nvmlDeviceGetHandleByIndex", pynvml.nvmlDeviceGetHandleByIndex, index)
        uuid = ask("nvmlDeviceGetUUID", pynvml.nvmlDeviceGetUUID, handle)
        card = self._cards.get(uuid)
        if card is None:
            card = self._cards[uuid] = Card(ask("nvmlDeviceGetName", pynvml.nvmlDeviceGetName, handle))
        gpu: Json = {"index": index, "uuid": uuid, "name": card.name}
        for call in CALLS:
            try:
                gpu |= card.fields(call, handle)
            except Failed as error:
                if error.code in _LOST:
                    raise
                error.fault["index"] = index
                faults.append(error.fault)
        return gpu


def private_stdout() -> BinaryIO:
    """Return standard output for the answers alone; what a library prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers


def main() -> None:
    """Answer until the input ends."""
    # A call that hangs never sees its input end, so the kernel is asked to end us with the daemon.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    answers = private_stdout()
    reader = Reader()
    for line in sys.stdin.buffer:
        request = json.loads(line)
        try:
            answer = {"read": reader.read}[request["call"]]()
        except Failed as error:
            answer = {"error": error.fault}
        answers.write(json.dumps({"id": request["id"], **answer}).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    main()
