"""An incident as text for people: what happened, what ran, and the curves of each GPU."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from aiidpd.cli.chart import Frame, Line, chart
from aiidpd.cli.engine_text import requests_at
from aiidpd.cli.text import (
    SIMULATED,
    UNKNOWN,
    Document,
    Paint,
    counted,
    moment,
    number,
    plain,
    since,
    size,
    span,
    table,
)
from aiidpd.history.cli import event_line

_MARKS = 20
_EVENTS = 30
_ENDPOINTS = 4
_APART = 90.0  # seconds between two answers of an engine that are still joined: its longest period and a half
_CURVES = (
    (
        "temperature_celsius",
        "temperature °C",
        1.0,
        (("slowdown", "slowdown_celsius"), ("shutdown", "shutdown_celsius")),
    ),
    ("power_watts", "power W", 1.0, (("most", "power_limit_max_watts"),)),
    ("graphics_clock_hertz", "graphics clock MHz", 1e-6, ()),
)


def incident_table(incidents: Iterable[Document], now: float, paint: Paint) -> list[str]:
    """Return the table of incidents, the newest last."""
    rows = [
        (
            each["id"],
            each["state"],
            since(each["started_at"], now),
            size(each["bytes"]),
            "  ".join(filter(None, (SIMULATED if each["simulated"] else "", each["reason"]))),
        )
        for each in incidents
    ]
    return table(("INCIDENT", "STATE", "BEGAN", "SIZE", ""), rows, paint, right="lllr") if rows else []


def incident_lines(document: Document, paint: Paint, *, width: int = 100, braille: bool = True) -> list[str]:
    """Return everything about an incident, ``width`` characters wide."""
    blocks = [_head(document, paint)]
    blocks += (_gpu(gpu, document, paint, width, braille=braille) for gpu in document["gpus"])
    blocks += (_heal(each, document["folder"], paint) for each in document.get("heals", ()))
    blocks += [_containers(document["containers"], paint), _requests(document, paint)]
    blocks.append(_curves_of_requests(document, width, braille=braille))
    blocks.append(_events(document, paint))
    lines: list[str] = []
    for block in filter(None, blocks):
        lines += [*([""] if lines else []), *block]
    return lines


def _head(document: Document, paint: Paint) -> list[str]:
    state = document["state"]
    words = paint.bad(state) if state in ("interrupted", "broken") else paint.good(state)
    lines = [f"{paint.bold(plain(document['id']))}  {words}"]
    if document["simulated"]:
        lines[0] += f"  {paint.warn(SIMULATED)}"
    lines.append(plain(document["reason"]))
    if document["started_at"] is not None:
        lasted = (document["last_trigger_at"] or document["started_at"]) - document["started_at"]
        went = f", went on for {span(lasted)}" if lasted > 0 else ""
        triggers = counted(len(document["triggers"]), "trigger")
        lines.append(f"began {moment(document['started_at'])}{went}; {triggers}")
    lines.append(plain(f"all readings: {document['folder']}"))
    return lines


def _gpu(gpu: Document, document: Document, paint: Paint, width: int, *, braille: bool) -> list[str]:
    index = UNKNOWN if gpu["index"] is None else gpu["index"]
    lines = [paint.bold(plain(f"GPU {index}  {gpu['name']}  {gpu['uuid']}"))]
    rows = gpu["data"]
    if not rows:
        return [*lines, "no reading"]
    marks = sorted(trigger["time"] for trigger in document["triggers"])[:_MARKS]
    first = document["started_at"]
    ends = [row[0] for row in rows] + ([] if first is None else [first])
    start, end = min(ends), max(ends)
    frame = Frame(start, max(end, start + 10), width, marks=tuple(marks), braille=braille)
    for figure, title, factor, limits in _CURVES:
        if figure not in gpu["columns"]:
            continue
        place = gpu["columns"].index(figure)
        points = [(row[0], None if row[place] is None else row[place] * factor) for row in rows]
        levels = [
            Line(gpu["limits"][key] * factor, name)
            for name, key in limits
            if gpu["limits"].get(key) is not None
        ]
        lines += chart(points, frame, title=title, lines=levels)
    lines += _slowed(gpu, rows)
    last = gpu["last_read_at"]
    if last is not None and last < end - 10:
        lines.append(paint.bad(f"not read any more from {moment(last)} on"))
    lines += _processes(gpu["processes"])
    return lines


def _slowed(gpu: Document, rows: Sequence[Sequence[Any]]) -> list[str]:
    if "clock_events" not in gpu["columns"]:
        return []
    place = gpu["columns"].index("clock_events")
    seen: dict[str, int] = {}
    for row in rows:
        for name in (row[place] or "").split("|"):
            if name and name not in ("none", "gpu_idle"):
                seen[name] = seen.get(name, 0) + 1
    shown = ", ".join(f"{name} in {count} of {len(rows)} readings" for name, count in seen.items())
    return [plain(f"slowed by: {shown}")] if shown else []


def _processes(processes: Sequence[Document] | None) -> list[str]:
    if processes is None:
        return ["processes: not known"]
    held = ", ".join(
        f"{each['name'] or each['pid']} ({size(each['used_memory_bytes'])}"
        + (f", container {each['container_id'][:12]})" if each["container_id"] else ")")
        for each in processes
    )
    return [plain(f"processes: {held or 'none'}")]


def _heal(heal: Document, folder: str, paint: Paint) -> list[str]:
    """Return what was collected before a container was healed."""
    lines = [
        paint.bold(plain(f"Before the heal of {heal['container']}")) + f"  {moment(heal['collected_at'])}",
        plain(f"{heal['fault']}: {heal['reason']}"),
    ]
    failure, engine = heal["failure"], heal["engine"]
    if failure is not None:
        said = f": {failure['line']}" if failure["line"] else ""
        lines += [plain(f"{failure['title']}{said}"), plain(failure["remedy"])]
    for check in heal["health_checks"][-1:]:
        output = check["output"] or "it said nothing"
        lines.append(plain(f"health check, exit code {check['exit_code']}: {output}"))
    if engine is not None:
        running, waiting = engine.get("requests_running"), engine.get("requests_waiting")
        counts = "" if running is None else f", {running} running, {waiting or 0} waiting"
        lines.append(plain(f"engine {engine.get('name')}: {engine.get('verdict')}{counts}"))
    if heal["log_file"]:
        last = f"last {counted(heal['log_lines'], 'line')} of its log"
        lines.append(plain(f"{last}: {folder}/{heal['log_file']}"))
    if heal["inspect_file"]:
        lines.append(plain(f"its description: {folder}/{heal['inspect_file']}"))
    lines += [plain(f"not known: {name}: {reason}") for name, reason in heal["missing"].items()]
    return lines


def _containers(known: Document, paint: Paint) -> list[str]:
    lines = [paint.bold("Containers that ran")]
    if known["reason"]:
        lines.append(plain(known["reason"]))
    rows = [
        (each["name"], each["state"], each["health"] or UNKNOWN, "yes" if each["gpu"] else "", each["image"])
        for each in known["containers"]
    ]
    if rows:
        return [*lines, *table(("CONTAINER", "STATE", "HEALTH", "GPU", "IMAGE"), rows, paint)]
    return lines if known["reason"] else [*lines, "none"]


def _requests(document: Document, paint: Paint) -> list[str]:
    known, ended = document["requests"], document["requests_at_end"]
    lines = [f"{paint.bold('Requests that ran')}  {_in_all(known)}"]
    if known["reason"]:
        lines.append(plain(known["reason"]))
    lines += requests_at(known, document["started_at"])
    for each in known["endpoints"]:
        if each["measured_at"] is not None or each["error"]:
            speed = number(each["output_tokens_per_second"], "tokens/s", 1)
            measured = UNKNOWN if each["measured_at"] is None else moment(each["measured_at"])
            lines.append(plain(f"{each['name']}: {speed}, measured {measured}  {each['error']}".rstrip()))
    if ended is not None:
        lines += [f"at the end  {_in_all(ended)}", *requests_at(ended, None)]
    return lines


def _in_all(known: Document) -> str:
    if known["running"] is None:
        return "not known"
    waiting = f", {known['waiting']} waiting" if known["waiting"] else ""
    return f"{known['running']}{waiting}"


def _curves_of_requests(document: Document, width: int, *, braille: bool) -> list[str]:
    """Return a curve of the requests that ran, for each endpoint that had any."""
    track = document["requests_track"]["data"]
    first = document["started_at"]
    if not track or first is None:
        return []
    ends = [row[0] for gpu in document["gpus"] for row in gpu["data"]] + [row[0] for row in track] + [first]
    marks = sorted(trigger["time"] for trigger in document["triggers"])[:_MARKS]
    frame = Frame(min(ends), max(ends) + 1, width, marks=tuple(marks), braille=braille, longest_gap=_APART)
    lines: list[str] = []
    for name in list(dict.fromkeys(row[1] for row in track))[:_ENDPOINTS]:
        points = [(row[0], None if row[2] is None else float(row[2])) for row in track if row[1] == name]
        if any(value for _, value in points):
            lines += chart(points, frame, title=plain(f"requests that {name} ran"))
    return lines


def _events(document: Document, paint: Paint) -> list[str]:
    events = document["events"]
    lines = [paint.bold("What happened around it")]
    if len(events) > _EVENTS:
        lines.append(f"the last {_EVENTS} of {len(events)}; all are in incident.json")
    return lines + [event_line(event, paint) for event in events[-_EVENTS:]]
