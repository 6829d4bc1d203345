"""Evidence about one container as an incident has it, bounded and without secrets (pure)."""

from __future__ import annotations

import json
import math
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final

from aiidpd.components.containers.actions import LogTail
from aiidpd.components.containers.logs.failures import LastFailure, name_failure
from aiidpd.components.containers.logs.lines import EARLY_LINES, LogLine, clean, parse
from aiidpd.components.containers.runtime import ContainerReading
from aiidpd.contracts.containers import ContainerUse
from aiidpd.contracts.engines import EngineState
from aiidpd.contracts.gpus import GpuUse
from aiidpd.kernel.events import Scalar
from aiidpd.platform.redaction import Redactor

LOG_LINES: Final = 500
_LOG_BYTES: Final = 2**20  # of a log that are stored
_LINE: Final = 4096  # characters of a line
_NAMED_BY: Final = 200  # last lines that may name the failure
_TEXT: Final = 2000  # characters of a text of a description
_MANY: Final = 200  # entries of a list or mapping in a description
_DEEPEST: Final = 16  # levels of a description
_CHECKS: Final = 3  # results of the health check
_DESCRIPTION: Final = 256 * 1024  # characters
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")
_DOCKER_TIME: Final = "%Y-%m-%dT%H:%M:%S"


@dataclass(frozen=True, slots=True)
class Gathered:
    """Everything that was read about a container; None is what was not, and ``missing`` says why."""

    container: ContainerReading
    described: Mapping[str, Any] | None = None
    tail: LogTail | None = None
    engine: EngineState | None = None
    use: ContainerUse | None = None
    gpus: Sequence[GpuUse] = ()
    failure: LastFailure | None = None
    missing: Mapping[str, str] = field(default_factory=dict)


def redactor(container: ContainerReading, described: Mapping[str, Any] | None) -> Redactor:
    """Return what knows the secrets of a container."""
    config = _mapping(_mapping(described).get("Config"))
    environment = dict(container.environment)
    for each in _list(config.get("Env")):
        name, _, value = str(each).partition("=")
        environment[name] = value
    environment |= {f"label.{key}": str(value) for key, value in _mapping(config.get("Labels")).items()}
    return Redactor.of(environment, container.arguments)


def log_text(tail: LogTail, redact: Redactor) -> str:
    """Return the lines of ``tail`` with their times, the newest of them where they are too long together."""
    raw: deque[bytes] = deque()
    size = 0
    for each in reversed(tail.lines):
        size += len(each)
        if size > _LOG_BYTES:
            break
        raw.appendleft(each)
    lines = parse(raw)
    held: deque[str] = deque()
    size = 0
    for line, text in zip(lines, redact.lines(each.text for each in lines), strict=True):
        shown = f"{_stamp(line)}{text[:_LINE]}\n"
        held.append(shown)
        size += len(shown.encode())
        while size > _LOG_BYTES:
            size -= len(held.popleft().encode())
    return "".join(held)


def description(described: Mapping[str, Any], redact: Redactor) -> str:
    """Return the runtime's description of a container as JSON."""
    shown = redact.document(_bounded(described))
    text = json.dumps(shown, indent=1, default=str)
    if len(text) > _DESCRIPTION:
        parts = {key: shown.get(key) for key in ("Id", "Name", "Created", "State", "Image", "RestartCount")}
        text = json.dumps({**parts, "left_out": "it was too long"}, indent=1, default=str)[:_DESCRIPTION]
    return f"{text}\n"


def health_checks(described: Mapping[str, Any] | None, redact: Redactor) -> list[dict[str, Any]]:
    """Return the last results of the health check, the newest last."""
    health = _mapping(_mapping(_mapping(described).get("State")).get("Health"))
    return [
        {
            "ended_at": str(each.get("End") or ""),
            "exit_code": each.get("ExitCode") if isinstance(each.get("ExitCode"), int) else None,
            "output": _output(str(each.get("Output") or ""), redact),
        }
        for each in map(_mapping, _list(health.get("Log"))[-_CHECKS:])
    ]


def _output(text: str, redact: Redactor) -> str:
    lines = text.strip()[:_TEXT].encode(errors="replace").splitlines()
    return " | ".join(redact.lines(map(clean, lines)))[:_TEXT]


def entry(
    gathered: Gathered,
    redact: Redactor,
    *,
    fault: str,
    reason: str,
    evidence: Mapping[str, Scalar],
    at: float,
) -> dict[str, Any]:
    """Return the part of an incident about one heal, without the names of its files."""
    container = gathered.container
    tail = gathered.tail
    return {
        "container": container.name,
        "id": container.id,
        "image": container.image,
        "fault": fault,
        "reason": redact.text(reason)[:_TEXT],
        "evidence": scalars(evidence, redact),
        "collected_at": at,
        "state": container.state,
        "health": container.health,
        "exit_code": container.exit_code,
        "restart_count": container.restart_count,
        "started_at": container.started_at,
        "health_checks": health_checks(gathered.described, redact),
        "failure": _failure(gathered, redact),
        "engine": None if gathered.engine is None else flat(gathered.engine, redact),
        "use": None if gathered.use is None else flat(gathered.use, redact),
        "gpus": [_gpu(each, container.id, redact) for each in gathered.gpus],
        "log_lines": None if tail is None else len(tail.lines),
        "missing": dict(gathered.missing),
    }


def scalars(evidence: Mapping[str, Scalar], redact: Redactor) -> dict[str, Scalar]:
    """Return ``evidence`` without secrets, bounded in length."""
    return {name: _scalar(value, redact) for name, value in evidence.items()}


def flat(view: object, redact: Redactor) -> dict[str, Scalar]:
    """Return the fields of a dataclass that are single values; of a set of numbers how many there are."""
    found: dict[str, Scalar] = {}
    for each in fields(view):  # type: ignore[arg-type]
        value = getattr(view, each.name)
        if isinstance(value, Enum):
            found[each.name] = str(value.value)
        elif value is None or isinstance(value, str | bool | int | float):
            found[each.name] = _scalar(value, redact)
        elif isinstance(value, frozenset | set):
            found[each.name] = len(value)
    return found


def file_name(prefix: str, container: ContainerReading, ending: str, taken: Callable[[str], bool]) -> str:
    """Return a name for a file about ``container`` that is not ``taken``."""
    name = _UNSAFE.sub("-", container.name)[:60].strip("-.") or "container"
    stem = f"{prefix}-{name}-{container.id[:12]}"
    number, found = 2, f"{stem}.{ending}"
    while taken(found):
        found, number = f"{stem}-{number}.{ending}", number + 1
    return found


def _scalar(value: Scalar, redact: Redactor) -> Scalar:
    if isinstance(value, str):
        return redact.text(clean(value[:_TEXT].encode(errors="replace")))
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _failure(gathered: Gathered, redact: Redactor) -> dict[str, Any] | None:
    container = gathered.container
    lines = parse(gathered.tail.lines[-_NAMED_BY:]) if gathered.tail is not None else ()
    run = container.started_at or 0.0
    begin = run - EARLY_LINES
    if container.running and container.finished_at is not None:
        begin = max(begin, min(run, container.finished_at))
    of_run = [each.text for each in lines if each.time is None or each.time >= begin]
    named = name_failure(of_run, exit_code=container.exit_code, out_of_memory=container.oom_killed)
    line = ""
    if named is not None:
        line = redact.text(named.line)[:_TEXT]
    elif gathered.failure is not None and gathered.failure.at >= run:
        named, line = gathered.failure.named, gathered.failure.line
    if named is None:
        return None
    return {
        "name": named.failure.name,
        "title": named.failure.title,
        "remedy": named.failure.remedy,
        "line": line,
    }


def _gpu(gpu: GpuUse, identity: str, redact: Redactor) -> dict[str, Scalar]:
    own = [each for each in gpu.processes or () if each.container == identity]
    held = [each.bytes for each in own if each.bytes is not None]
    known = gpu.processes is not None
    return {
        **flat(gpu, redact),
        "own_processes": len(own) if known else None,
        "own_memory_bytes": sum(held) if known else None,
    }


def _stamp(line: LogLine) -> str:
    if line.time is None:
        return ""
    milliseconds = int(line.time % 1 * 1000)
    return f"{datetime.fromtimestamp(line.time, UTC):{_DOCKER_TIME}}.{milliseconds:03d}Z "


def _bounded(value: Any, depth: int = 0) -> Any:
    """Return a JSON document with at most so many entries and levels, and texts of at most such a length."""
    if depth > _DEEPEST:
        return "..."
    if isinstance(value, Mapping):
        items = list(value.items())[:_MANY]
        return {str(key)[:_TEXT]: _bounded(each, depth + 1) for key, each in items}
    if isinstance(value, list | tuple):
        return [_bounded(each, depth + 1) for each in value[:_MANY]]
    return value[:_TEXT] if isinstance(value, str) else value


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []
