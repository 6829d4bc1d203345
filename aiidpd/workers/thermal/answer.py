"""What the NVML child's answers mean (pure): a line becomes a snapshot or an error, never half of one."""

from __future__ import annotations

import json
import math
from typing import Any

from aiidpd.kernel.errors import Unavailable, describe
from aiidpd.workers.thermal.faults import GpuFault
from aiidpd.workers.thermal.gpu import FIGURES, GpuReading, GpuSnapshot, clock_event_names


class Malformed(ValueError):
    """A line that is no answer to the request."""


def decode(line: bytes, identity: int) -> GpuSnapshot:
    """Return the snapshot in ``line``, the answer to the request ``identity``.

    Raises:
        Unavailable: the child could read no GPU and says why.
        Malformed: the line is not an answer, or not to this request.
    """
    try:
        answer = _answer(json.loads(line), identity)
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError) as error:
        raise Malformed(describe(error)) from error
    if isinstance(answer, GpuFault):
        raise Unavailable("read", answer.subject, reason=str(answer), remedy=answer.remedy)
    return answer


def _answer(answer: dict[str, Any], identity: int) -> GpuSnapshot | GpuFault:
    if answer["id"] != identity:
        raise ValueError(f"it answers request {answer['id']!r}, not {identity}")
    if "error" in answer:
        return _fault(answer["error"])
    return GpuSnapshot(
        gpus=tuple(_reading(gpu) for gpu in answer["gpus"]),
        driver_version=_text(answer["driver_version"]),
        simulated=False,
        faults=tuple(_fault(fault) for fault in answer["faults"]),
    )


def _reading(gpu: dict[str, Any]) -> GpuReading:
    bits = gpu.get("clock_event_bits")
    figures: dict[str, Any] = {figure: _number(gpu[figure]) for figure in FIGURES if figure in gpu}
    return GpuReading(
        index=_count(gpu["index"]),
        uuid=_text(gpu["uuid"]),
        name=_text(gpu["name"]),
        clock_event_bits=None if bits is None else _count(bits),
        clock_events=None if bits is None else clock_event_names(_count(bits)),
        **figures,
    )


def _fault(fault: dict[str, Any]) -> GpuFault:
    index, code = fault["index"], fault["code"]
    return GpuFault(
        index=None if index is None else _count(index),
        call=_text(fault["call"]),
        code=None if code is None else _count(code),
        name=_text(fault["name"]),
    )


def _number(value: object) -> float:
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
