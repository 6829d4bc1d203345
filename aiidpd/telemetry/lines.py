"""Log entries as lines: for people, for the journal, for machines (pure)."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any

_SYSLOG = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_COLOURS = ((logging.ERROR, "\x1b[31m"), (logging.WARNING, "\x1b[33m"))


def console(entry: Mapping[str, Any], *, coloured: bool = False) -> str:
    """Return time, level and the words of ``entry``."""
    level = logging.getLevelName(entry["level"])
    colour = next((code for least, code in _COLOURS if entry["level"] >= least), "") if coloured else ""
    shown = f"{colour}{level:<7}\x1b[0m" if colour else f"{level:<7}"
    return f"{_iso(entry['time'])} {shown} {_words(entry)}"


def journal(entry: Mapping[str, Any]) -> str:
    """Return the words of ``entry`` behind the mark that gives ``journalctl -p`` the level.

    Without time: the journal has its own. A traceback's lines carry the mark too, as each is an entry.
    """
    mark = f"<{_syslog(entry['level'])}>"
    return "\n".join(mark + line for line in _words(entry).split("\n"))


def as_json(entry: Mapping[str, Any], *, marked: bool = False) -> str:
    """Return ``entry`` as one JSON object; ``marked`` puts the journal's level mark before it."""
    fields: MutableMapping[str, Any] = {
        "time": _iso(entry["time"]),
        "level": logging.getLevelName(entry["level"]).lower(),
        **{key: value for key, value in entry.items() if key not in ("time", "level")},
    }
    mark = f"<{_syslog(entry['level'])}>" if marked else ""
    return mark + json.dumps(fields, default=str)


def _words(entry: Mapping[str, Any]) -> str:
    head = [entry["source"], entry["kind"], entry["subject"], "SIMULATED" if entry["simulated"] else ""]
    line = f"{' '.join(printable(part) for part in head if part)}: {printable(entry['reason'])}"
    if evidence := [f"{printable(str(k))}={_value(v)}" for k, v in entry["evidence"].items() if v != ""]:
        line += f" ({', '.join(evidence)})"
    for row in entry.get("traceback", "").splitlines():
        line += f"\n    {printable(row)}"
    return line


def _value(value: object) -> str:
    return printable(str(round(value, 6) if isinstance(value, float) else value))


def printable(text: str) -> str:
    """Return ``text`` with every control character written out: a name from outside can't forge a line."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in text)


def _syslog(level: int) -> int:
    return next((code for least, code in _SYSLOG if level >= least), 7)


def _iso(time: float) -> str:
    try:
        moment = datetime.fromtimestamp(time, UTC)
    except (ValueError, OverflowError, OSError):
        return str(time)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
