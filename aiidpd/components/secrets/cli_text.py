"""Tables and lines that ``aiidpctl secrets`` shows; none of them holds a key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from aiidpd.cli.text import Paint, plain, since, table


def key_table(keys: Iterable[Mapping[str, Any]], now: float, paint: Paint) -> list[str]:
    """Return the table of keys."""
    rows = [
        (
            key["name"],
            key["file"],
            since(key["created_at"], now),
            key["mode"] or "missing",
            f"{key['uid']}:{key['gid']}",
            _strength(key),
            _used_by(key),
        )
        for key in keys
    ]
    head = ("NAME", "FILE", "CREATED", "MODE", "OWNER", "STRENGTH", "ACCEPTED AND SENT BY")
    return table(head, rows, paint) if rows else []


def _strength(key: Mapping[str, Any]) -> str:
    if key["weaknesses"]:
        return f"weak: {', '.join(key['weaknesses'])}"
    if key["bits"]:
        return f"{key['bits']} bits"
    return "unknown" if key["weaknesses"] is None else "brought"


def _used_by(key: Mapping[str, Any]) -> str:
    server = " at ".join(part for part in (key["engine"], key["url"]) if part) or "-"
    rotation = f"; rotation at phase {key['rotation']}" if key["rotation"] else ""
    return f"{server}; {', '.join(key['users']) or 'hand'}{rotation}"


def check_lines(checks: Mapping[str, Iterable[Mapping[str, Any]]], paint: Paint) -> list[str]:
    """Return the lines of checks, those of each key together."""
    marks = {"ok": paint.good, "failed": paint.bad, "unknown": paint.bad, "skipped": paint.dim}
    lines = []
    for name, found in checks.items():
        lines.append(paint.bold(plain(name)))
        for check in found:
            reason = f": {check['reason']}" if check["reason"] else ""
            remedy = f"; {check['remedy']}" if check["remedy"] else ""
            mark = marks[check["outcome"]](f"{check['outcome']:<7}")
            lines.append(f"  {mark}  {plain(check['about'])}{plain(reason)}{plain(remedy)}")
    return lines
