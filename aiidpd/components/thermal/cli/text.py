"""GPUs as text for people."""

from __future__ import annotations

from aiidpd.cli.text import UNKNOWN, Document, Paint, number, plain, size, table


def gpu_table(document: Document, paint: Paint) -> list[str]:
    """Return the table of GPUs, and a line for each driver call that failed."""
    rows = [
        (
            str(gpu["index"]),
            gpu["name"],
            number(gpu["temperature_celsius"], "°C"),
            _of(gpu["power_watts"], gpu["power_limit_watts"], "W"),
            _percent(gpu["fan_ratio"]),
            _percent(gpu["utilisation_ratio"]),
            _memory(gpu["memory_used_bytes"], gpu["memory_total_bytes"]),
            number(_scaled(gpu["graphics_clock_hertz"], 1e-6), "MHz"),
            UNKNOWN if gpu["clock_events"] is None else ", ".join(gpu["clock_events"]) or "nothing",
        )
        for gpu in document["gpus"]
    ]
    head = ("GPU", "NAME", "TEMP", "POWER", "FAN", "LOAD", "MEMORY", "CLOCK", "SLOWED BY")
    lines = table(head, rows, paint, right="rlrrrrrr") if rows else []
    for fault in document["faults"]:
        where = "driver" if fault["index"] is None else f"GPU {fault['index']}"
        lines.append(paint.bad(plain(f"{where}: {fault['call']} says {fault['name']}")))
    return lines


def _of(value: float | None, limit: float | None, unit: str) -> str:
    return number(value, unit) if limit is None else f"{number(value)}/{number(limit, unit)}"


def _memory(used: float | None, total: float | None) -> str:
    if total is None:
        return size(used)
    value, _, unit = size(used).partition(" ")
    return f"{value if size(total).endswith(f' {unit}') else size(used)}/{size(total)}"


def _percent(ratio: float | None) -> str:
    return number(_scaled(ratio, 100), "%")


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor
