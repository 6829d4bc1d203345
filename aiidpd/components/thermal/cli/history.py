"""History of a GPU as CSV (RFC 4180), with the columns that nvidia-smi users know (pure)."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

COLUMNS: Final = (
    "timestamp",
    "temp_c",
    "power_w",
    "util_pct",
    "mem_used_mb",
    "mem_total_mb",
    "fan_pct",
    "throttle_reason",
)
NOTHING: Final = "none"
"""What ``throttle_reason`` says where nothing throttled; an empty field is what nobody knows, everywhere."""

_FIGURES = (
    ("temperature_celsius", 1.0, 1),
    ("power_watts", 1.0, 2),
    ("utilisation_ratio", 100.0, 1),
    ("memory_used_bytes", 1 / 2**20, 0),  # nvidia-smi's MB are MiB
    ("memory_total_bytes", 1 / 2**20, 0),
    ("fan_ratio", 100.0, 1),
)


def head() -> str:
    """Return the line of column names, its CRLF included."""
    return _line(COLUMNS)


def line(row: Mapping[str, Any]) -> str:
    """Return the line of a row of ``GET /v1/gpus/history``, its CRLF included."""
    figures = [_figure(row[name], factor, digits) for name, factor, digits in _FIGURES]
    reason = row["throttle_reason"]
    return _line([timestamp(row["time"]), *figures, "" if reason is None else reason or NOTHING])


def timestamp(at: float) -> str:
    """Return ``at`` (Unix seconds) as ISO 8601 in UTC, to the millisecond."""
    moment = datetime.fromtimestamp(round(at, 3), UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _figure(value: float | None, factor: float, digits: int) -> str:
    if value is None:
        return ""
    text = f"{value * factor:.{digits}f}"
    return text.rstrip("0").rstrip(".") if digits else text


def _line(cells: Any) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerow(cells)
    return text.getvalue()
