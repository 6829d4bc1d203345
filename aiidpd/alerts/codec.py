"""The file in which alerts outlive the daemon, as bytes (pure)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from aiidpd.alerts.record import AlertRecord
from aiidpd.alerts.state import Stage
from aiidpd.kernel.events import Severity

VERSION: Final = 1
LARGEST: Final = 1 << 20  # bytes


def encode(alerts: Iterable[AlertRecord]) -> bytes:
    """Return the content of the file, at most :data:`LARGEST` bytes: what is missed least is left out."""
    order = sorted(alerts, key=lambda each: (each.stage is Stage.PENDING, -each.severity, each.since))
    rows = [_row(each) for each in order]
    while True:
        content = {"version": VERSION, "alerts": rows}
        data = json.dumps(content, allow_nan=False).encode() + b"\n"
        if len(data) <= LARGEST:
            return data
        rows = rows[: len(rows) // 2]


def decode(data: bytes) -> tuple[AlertRecord, ...]:
    """Return what is in ``data``; raises ValueError, TypeError, LookupError or AttributeError."""
    content: dict[str, Any] = json.loads(data)
    if content["version"] != VERSION:
        raise ValueError(f"it has version {content['version']!r}, not {VERSION}")
    alerts = tuple(_alert(row) for row in content["alerts"])
    if len({(each.source, each.alert, each.subject) for each in alerts}) < len(alerts):
        raise ValueError("it has an alert twice")
    return alerts


def _row(kept: AlertRecord) -> dict[str, Any]:
    names = (
        "source",
        "alert",
        "subject",
        "since",
        "known",
        "held",
        "unknown",
        "summary",
        "remedy",
        "simulated",
        "boot",
    )
    row = {name: getattr(kept, name) for name in names}
    evidence = {name: None if _wild(value) else value for name, value in kept.evidence.items()}
    row |= {"stage": kept.stage.value, "severity": kept.severity.name, "evidence": evidence}
    return row


def _alert(row: Mapping[str, Any]) -> AlertRecord:
    stage = Stage(row["stage"])
    if stage is Stage.INACTIVE:
        raise ValueError("it has an alert that does not stand")
    evidence = row["evidence"]
    for value in evidence.values():
        _scalar(value)
    since, known = _figure(row["since"]), _figure(row["known"])
    held, unknown = max(0.0, _figure(row["held"])), max(0.0, _figure(row["unknown"]))
    return AlertRecord(
        source=_text(row["source"]),
        alert=_text(row["alert"]),
        subject=_text(row["subject"]),
        stage=stage,
        since=since,
        known=known,
        held=held,
        unknown=unknown,
        severity=Severity[row["severity"]],
        summary=_text(row["summary"]),
        remedy=_text(row["remedy"]),
        evidence={_text(name): value for name, value in evidence.items()},
        simulated=bool(row["simulated"]),
        boot=_text(row["boot"]),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} where text belongs")
    return value


def _figure(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} where a time belongs")
    return float(value)


def _scalar(value: object) -> None:
    if value is not None and not isinstance(value, str | int | float):
        raise TypeError(f"{value!r} as evidence")
    if _wild(value):
        raise ValueError(f"{value!r} as evidence")


def _wild(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
