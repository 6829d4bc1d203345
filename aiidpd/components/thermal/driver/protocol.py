"""Protocol of the NVML process (pure): a response line becomes a snapshot or an error, never half of one."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiidpd.components.thermal.faults import LIBRARY_NOT_FOUND, GpuFault
from aiidpd.components.thermal.figures import BOUNDS, FLAGS
from aiidpd.components.thermal.gpu import (
    Fan,
    GpuProcess,
    GpuReading,
    GpuSnapshot,
    MigInstance,
    XidCount,
    clock_event_names,
)
from aiidpd.components.thermal.signals.bounds import drop_implausible
from aiidpd.components.thermal.xid import XidEvent, XidLedger
from aiidpd.kernel.errors import NotInstalled, Unavailable, describe


class Malformed(ValueError):
    """A line that is no answer to the request."""


def decode(line: bytes, identity: int, ledger: XidLedger) -> GpuSnapshot:
    """Return the snapshot in ``line``, the answer to the request ``identity``.

    Xid events are recorded in ``ledger``, in either case.

    Raises:
        Unavailable: the process could read no GPU, and why; NotInstalled where there is no driver.
        Malformed: the line is not an answer, or not to this request.
    """
    with _malformed():
        answer = _mine(line, identity)
        xids = [XidEvent(_text(event["uuid"]), _count(event["code"])) for event in answer["xids"]]
        error = _fault(answer["error"]) if "error" in answer else None
        faults = [] if error else [_fault(fault) for fault in answer["faults"]]
        gpus = [] if error else [_reading(gpu, faults) for gpu in answer["gpus"]]
        driver = "" if error else _text(answer["driver_version"])
    for event in xids:
        ledger.record(event)
    if error:
        if error.name == LIBRARY_NOT_FOUND:
            reason = f"there is no NVIDIA driver on this machine ({error})"
            raise NotInstalled("read", error.subject, reason=reason, remedy=error.remedy)
        raise Unavailable("read", error.subject, reason=str(error), remedy=error.remedy)
    return GpuSnapshot(
        gpus=tuple(
            GpuReading(**gpu, xids=_counts(ledger, gpu["uuid"]) if reports else None) for gpu, reports in gpus
        ),
        driver_version=driver,
        simulated=False,
        faults=tuple(faults),
        xids=ledger.take(),
    )


def decode_applied(line: bytes, identity: int) -> GpuFault | None:
    """Return the refusal in ``line``, the answer to the request ``identity``, or None: it was done.

    Raises:
        Malformed: the line is not an answer, or not to this request.
    """
    with _malformed():
        fault = _mine(line, identity)["fault"]
        return None if fault is None else _fault(fault)


@contextmanager
def _malformed() -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError) as error:
        raise Malformed(describe(error)) from error


def _mine(line: bytes, identity: int) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(line)
    if answer["id"] != identity:
        raise ValueError(f"it answers request {answer['id']!r}, not {identity}")
    return answer


def _reading(gpu: dict[str, Any], faults: list[GpuFault]) -> tuple[dict[str, Any], bool]:
    """Return the fields of a reading, but for the Xids, and whether the card reports those."""
    index = _count(gpu["index"])
    bits = gpu.get("clock_event_bits")
    figures, dropped = drop_implausible(
        index, {figure: _number(gpu[figure]) for figure in BOUNDS if figure in gpu}
    )
    faults += dropped
    processes = gpu.get("processes")
    known: dict[str, Any] = {
        "index": index,
        "uuid": _text(gpu["uuid"]),
        "name": _text(gpu["name"]),
        "clock_event_bits": None if bits is None else _count(bits),
        "clock_events": None if bits is None else clock_event_names(_count(bits)),
        "fans": tuple(_fan(fan) for fan in gpu.get("fans", ())),
        "processes": None if processes is None else tuple(_process(process) for process in processes),
        "mig_instances": tuple(_instance(part) for part in gpu.get("mig_instances", ())),
        **figures,
        **{flag: _flag(gpu[flag]) for flag in FLAGS if flag in gpu},
    }
    return known, _flag(gpu.get("reports_xids", False))


def _counts(ledger: XidLedger, uuid: str) -> tuple[XidCount, ...]:
    return tuple(XidCount(code, count) for code, count in ledger.counts(uuid))


def _fan(fan: dict[str, Any]) -> Fan:
    return Fan(_count(fan["index"]), _maybe(fan.get("speed_ratio")), _maybe(fan.get("speed_rpm")))


def _process(process: dict[str, Any]) -> GpuProcess:
    container = process["container_id"]
    return GpuProcess(
        pid=_count(process["pid"]),
        kind=_text(process["kind"]),
        name=_text(process["name"]),
        used_memory_bytes=_maybe(process["used_memory_bytes"]),
        container_id=None if container is None else _text(container),
    )


def _instance(part: dict[str, Any]) -> MigInstance:
    return MigInstance(
        uuid=_text(part["uuid"]),
        gpu_instance=_count(part["gpu_instance"]),
        compute_instance=_count(part["compute_instance"]),
        memory_used_bytes=_maybe(part.get("memory_used_bytes")),
        memory_total_bytes=_maybe(part.get("memory_total_bytes")),
    )


def _fault(fault: dict[str, Any]) -> GpuFault:
    index, code = fault["index"], fault["code"]
    return GpuFault(
        index=None if index is None else _count(index),
        call=_text(fault["call"]),
        code=None if code is None else _count(code),
        name=_text(fault["name"]),
    )


def _maybe(value: object) -> float | None:
    return None if value is None else _number(value)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} where true or false belongs")
    return value


def _number(value: object) -> float:
    if type(value) is float and math.isfinite(value):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError(f"{value!r} where a finite number belongs")
    return float(value)


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise TypeError(f"{value!r} where a whole number belongs")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} where text belongs")
    return value
