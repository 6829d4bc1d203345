"""One container as text for people: everything that is known of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from aiidpd.cli.text import (
    UNKNOWN,
    Document,
    Paint,
    counted,
    cut,
    moment,
    number,
    plain,
    since,
    size,
    span,
)
from aiidpd.components.containers.cli_text import is_calm
from aiidpd.history.cli import event_line

_LABEL = 10  # columns before what is known
_EVENTS = 6
_DEATHS = 3
_FIRST_SIGNAL_CODE, _LAST_SIGNAL_CODE = 128, 192


def container_lines(document: Document, now: float, paint: Paint) -> list[str]:
    """Return everything that is known of one container; nothing where there is no current reading."""
    container = document["container"]
    if container is None:
        return []
    lines = [f"{paint.bold(plain(container['name']))}  {_state(document, now, paint)}"]
    for label, text in _known(document, now):
        lines += _labelled(label, text, paint)
    if document["conditions"]:
        lines += ["", paint.bold("Wrong now")]
        for each in document["conditions"]:
            text = f"{each['type']}: {each['reason']} (for {span(now - each['since'])})"
            lines += _wrapped(text, paint, paint.bad if each["severity"] == "error" else paint.warn)
            lines += _wrapped(each["remedy"], paint, indent="  ") if each["remedy"] else []
    shown = {each["id"] for each in document["events"][-_EVENTS:]}
    ends = [each for each in document["deaths"][-_DEATHS:] if each["id"] not in shown]
    if ends:
        lines += ["", paint.bold("Ends before")]
        lines += [_when(each, paint) for each in ends]
    if document["events"]:
        lines += ["", paint.bold("Last events")]
        lines += [cut(event_line(each, paint), paint.width) for each in document["events"][-_EVENTS:]]
    if document["events_reason"]:
        lines += _labelled("events", f"not known: {document['events_reason']}", paint)
    return lines


def _state(document: Document, now: float, paint: Paint) -> str:
    """Return the state of a container in words."""
    container = document["container"]
    state, health, code = container["state"], container["health"], container["exit_code"]
    if container["pause"]:
        return paint.warn(plain(f"paused by aiidpd: {container['pause']['reason']}"))
    words = state
    if code is not None:
        killed = _FIRST_SIGNAL_CODE < code <= _LAST_SIGNAL_CODE
        by = f", killed by signal {code - _FIRST_SIGNAL_CODE}" if killed else ""
        memory = "; Docker says for lack of memory" if container["oom_killed"] else ""
        words += f", ended with code {code}{by}{memory}, {since(container['finished_at'], now)}"
    elif container["started_at"] is not None:
        words += f" for {span(max(0.0, now - container['started_at']))}"
    words += f", {health}" if health else (", no health check speaks" if state == "running" else "")
    colour = paint.good if is_calm(container) else paint.bad
    return colour(plain(words))


def _known(document: Document, now: float) -> Iterator[tuple[str, str]]:
    """Yield a label and a text for each thing that is known of a container."""
    container = document["container"]
    yield "image", f"{container['image']}  (id {container['id'][:12]})"
    policy = f"policy {container['restart_policy']}, {counted(container['restart_count'], 'restart')} by it"
    compose = f", {container['project']}/{container['service']} of compose" if container["service"] else ""
    yield "restarts", f"{policy}{compose}"
    if document["error"]:
        yield "error", document["error"]
    if document["engine"] is not None:
        yield "engine", _engine(document["engine"], now)
    if document["use"] is not None:
        yield "use", _use(document["use"])
    if container["gpu"] or document["gpus"]:
        yield "GPUs", _gpus(document["gpus"])
    for key, value in document["labels"].items():
        yield "label", f"{key}={value}"
    if document["heal"]:
        yield "healing", ", ".join(f"{key} {value}" for key, value in document["heal"].items())
    yield from _said(document, now)


def _said(document: Document, now: float) -> Iterator[tuple[str, str]]:
    """Yield likewise what its health check and its log said."""
    for each in document["health_checks"][-1:]:
        code = UNKNOWN if each["exit_code"] is None else each["exit_code"]
        yield "check", f"exit code {code}: {each['output'] or 'it said nothing'}"
    if document["health_reason"]:
        yield "check", f"not known: {document['health_reason']}"
    if document["log_reason"]:
        yield "log", f"can't be read: {document['log_reason']}"
    failure = document["failure"]
    if failure is not None:
        said = f": {failure['line']}" if failure["line"] else ""
        yield "failed", f"{since(failure['at'], now)}, {failure['title']}{said}"
        yield "", failure["remedy"]


def _engine(engine: Document, now: float) -> str:
    parts = [f"{engine['engine'] or 'engine'} {engine['model']}: {engine['verdict']}"]
    if engine["verdict_since"] is not None:
        parts[0] += f" for {span(max(0.0, now - engine['verdict_since']))}"
    if engine["verdict_reason"]:
        parts.append(engine["verdict_reason"])
    if engine["requests_running"] is not None:
        parts.append(f"{engine['requests_running']} running, {engine['requests_waiting'] or 0} waiting")
    if engine["generated_tokens_per_second"] is not None:
        parts.append(number(engine["generated_tokens_per_second"], "tokens/s", 1))
    return "; ".join([*parts, *filter(None, [engine["reason"]])])


def _use(use: Document) -> str:
    limit = "" if use["memory_limit_bytes"] is None else f" of {size(use['memory_limit_bytes'])}"
    parts = [_processes(use["processes"]), f"{size(use['memory_bytes'])}{limit} memory"]
    if use["blocked"]:
        parts.append(f"{use['blocked']} in state D")
    if use["oom_kills"]:
        parts.append(f"{counted(use['oom_kills'], 'kill')} for lack of memory")
    return ", ".join(parts)


def _gpus(gpus: list[Document] | None) -> str:
    if gpus is None:
        return "its processes there are not known"
    held = [
        f"GPU {each['index']} {each['name']}: {_processes(each['processes'])}, {size(each['memory_bytes'])}"
        for each in gpus
    ]
    return "; ".join(held) or "it asked for one, and none of its processes is on any"


def _processes(count: int) -> str:
    return f"{count} process{'' if count == 1 else 'es'}"


def _when(event: Document, paint: Paint) -> str:
    return cut(f"{paint.dim(moment(event['time']))}  {plain(event['reason'])}", paint.width)


def _labelled(label: str, text: str, paint: Paint) -> list[str]:
    """Return ``text`` behind ``label``, in as many lines as it takes."""
    lines = _wrapped(text, paint, indent=" " * _LABEL)
    return [paint.dim(f"{label:<{_LABEL}}") + lines[0].removeprefix(" " * _LABEL), *lines[1:]]


def _wrapped(text: object, paint: Paint, colour: Callable[[str], str] = str, indent: str = "") -> list[str]:
    """Return ``text`` in lines no wider than ``paint`` allows."""
    whole = plain(text)
    room = max(20, paint.width - len(indent)) if paint.width else len(whole) + 1
    lines: list[str] = []
    while len(whole) > room:
        at = whole.rfind(" ", 0, room + 1)
        at = at if at > room // 2 else room
        lines.append(indent + colour(whole[:at].rstrip()))
        whole = whole[at:].lstrip()
    return [*lines, indent + colour(whole)]
