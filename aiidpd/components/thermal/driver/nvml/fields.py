"""Figures that NVML gives by number, many in one call; each carries a return code of its own.

The numbers are those of nvml.h (``NVML_FI_DEV_*``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pynvml

from aiidpd.components.thermal.driver.nvml.invoke import ABSENT, GONE, LOST, Failed, Handle, Json, invoke

CALL = "nvmlDeviceGetFieldValues"
_MEMBERS = {
    pynvml.NVML_VALUE_TYPE_DOUBLE: "dVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_INT: "uiVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG: "ulVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG: "ullVal",
    pynvml.NVML_VALUE_TYPE_SIGNED_LONG_LONG: "sllVal",
    pynvml.NVML_VALUE_TYPE_SIGNED_INT: "siVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_SHORT: "usVal",
}
# A driver calls a number that it does not know yet an invalid argument.
_LACKING = ABSENT | {pynvml.NVML_ERROR_INVALID_ARGUMENT}


def _same(value: float) -> float:
    return value


def _milli(value: float) -> float:
    return value / 1000


def _nano(value: float) -> float:
    return value / 1e9


class Field(NamedTuple):
    """One figure: its number, its name in ``GpuReading``, and how the value gets into base units."""

    number: int
    figure: str
    convert: Callable[[float], float | bool] = _same


FAST = (
    Field(82, "memory_temperature_celsius"),
    Field(83, "energy_joules", _milli),
    Field(185, "power_watts", _milli),
    Field(186, "power_instant_watts", _milli),
    Field(190, "power_limit_watts", _milli),
    Field(192, "power_limit_set_watts", _milli),  # the governor reads back what it set
    Field(74, "power_cap_throttle_seconds", _nano),
    Field(76, "sync_boost_throttle_seconds", _nano),
    Field(269, "sw_thermal_throttle_seconds", _nano),
    Field(270, "hw_thermal_throttle_seconds", _nano),
    Field(271, "hw_power_brake_throttle_seconds", _nano),
)
SLOW = (
    Field(187, "power_limit_min_watts", _milli),
    Field(188, "power_limit_max_watts", _milli),
    Field(189, "power_limit_default_watts", _milli),
    Field(94, "pcie_replay_count"),
    Field(1, "ecc_enabled", bool),
    Field(3, "ecc_corrected_count"),
    Field(4, "ecc_uncorrected_count"),
    Field(5, "ecc_aggregate_corrected_count"),
    Field(6, "ecc_aggregate_uncorrected_count"),
    Field(29, "retired_pages_corrected_count"),
    Field(30, "retired_pages_uncorrected_count"),
    Field(31, "retired_pages_pending", bool),
    Field(142, "remapped_rows_corrected_count"),
    Field(143, "remapped_rows_uncorrected_count"),
    Field(144, "remapped_rows_pending", bool),
    Field(145, "remapped_rows_failed", bool),
)
OFFSETS = (
    Field(193, "shutdown_margin_celsius"),
    Field(194, "slowdown_margin_celsius"),
    Field(195, "memory_max_margin_celsius"),
    Field(196, "gpu_max_margin_celsius"),
)


def read(fields: tuple[Field, ...], handle: Handle, lacks: set[int]) -> tuple[Json, list[Json]]:
    """Return what ``fields`` say, and the faults of those that failed.

    ``lacks`` has the numbers that this card does not know; what is found out is added to it.
    """
    wanted = [field for field in fields if field.number not in lacks]
    if not wanted:
        raise Failed(CALL, pynvml.NVML_ERROR_NOT_SUPPORTED)
    values = invoke(CALL, pynvml.nvmlDeviceGetFieldValues, handle, [field.number for field in wanted])
    figures: Json = {}
    faults: list[Json] = []
    for field, value in zip(wanted, values, strict=True):
        code = value.nvmlReturn
        if code in _LACKING:
            lacks.add(field.number)
        elif code == pynvml.NVML_SUCCESS:
            figures[field.figure] = field.convert(getattr(value.value, _MEMBERS[value.valueType]))
        elif code != pynvml.NVML_ERROR_NO_DATA:  # that is: not yet
            failed = Failed(f"{CALL}[{field.number}]", code)
            if code in LOST | GONE:
                raise failed
            faults.append(failed.fault)
    if not figures.get("memory_temperature_celsius", 1):
        del figures["memory_temperature_celsius"]  # the value of memory without a sensor
    return figures, faults
