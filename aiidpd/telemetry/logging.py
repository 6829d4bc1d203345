"""Log: every event of the bus as one line. The only module that imports structlog."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, TextIO

import structlog

from aiidpd.kernel.events import Event
from aiidpd.telemetry import lines
from aiidpd.telemetry.log_writer import LogWriter

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "console", "json"]
Render = Callable[[Mapping[str, Any]], str]

_LEVELS: dict[Level, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def configure(
    level: Level = "info",
    format: Format = "auto",  # noqa: A002 -- the configuration's own word
    stream: TextIO | None = None,
    environ: Mapping[str, str] = os.environ,
) -> LogWriter:
    """Send the log to ``stream`` (standard error by default) and return its outlet, to be closed at the end.

    ``auto`` is what the journal likes where ``stream`` goes to the journal (no time of its own, a mark for
    ``journalctl -p``), and lines for people elsewhere. What other libraries log through the standard
    library is written too, from warning on. A second call replaces the first.
    """
    stream = sys.stderr if stream is None else stream
    render = _renderer(format, stream, environ)
    outlet = LogWriter(stream, lambda lost: render(_lost(lost)))
    atexit.register(outlet.close)
    structlog.configure(
        processors=[partial(_render, render)],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=lambda *_: _Lines(outlet),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for handler in [known for known in root.handlers if isinstance(known, _Foreign)]:
        root.removeHandler(handler)
    root.addHandler(_Foreign(level=logging.WARNING))
    return outlet


def set_level(level: Level) -> None:
    """Change from which level on lines are written (a reload)."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]))


def log_event(event: Event) -> None:
    """Write ``event`` (a sink of the event bus)."""
    structlog.get_logger().log(
        int(event.severity),
        None,
        entry={
            "time": event.time,
            "level": int(event.severity),
            "id": event.id,
            "source": event.source,
            "kind": event.kind,
            "subject": event.subject,
            "simulated": event.simulated,
            "reason": event.reason,
            "evidence": dict(event.evidence),
        },
    )


class _Lines:
    """Receiver of the lines that structlog renders."""

    def __init__(self, outlet: LogWriter) -> None:
        self._outlet = outlet

    def msg(self, line: str) -> None:
        self._outlet.write(line)

    debug = info = warning = error = critical = log = msg


class _Foreign(logging.Handler):
    """Takes what libraries log through the standard library."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            reason = record.getMessage()
        except (TypeError, ValueError):
            reason = str(record.msg)  # a library's mistake in its own format string
        entry = _entry(record.created, record.levelno, record.name, reason)
        if record.exc_info and record.exc_info[1] is not None:
            entry["traceback"] = "".join(traceback.format_exception(record.exc_info[1]))
        structlog.get_logger().log(record.levelno, None, entry=entry)


def _entry(at: float, level: int, source: str, reason: str) -> dict[str, Any]:
    about = {"source": source, "kind": "log", "subject": "", "simulated": False}
    return {"time": at, "level": level, **about, "reason": reason, "evidence": {}}


def _lost(count: int) -> dict[str, Any]:
    return _entry(time.time(), logging.WARNING, "log", f"{count} lines were lost, because nobody read them")


def _render(render: Render, _logger: object, _method: str, fields: Mapping[str, Any]) -> str:
    return render(fields["entry"])


def _renderer(format: Format, stream: TextIO, environ: Mapping[str, str]) -> Render:  # noqa: A002 -- as above
    to_journal = _is_journal(stream, environ)
    if format == "json":
        return partial(lines.as_json, marked=to_journal)
    if format == "auto" and to_journal:
        return lines.journal
    coloured = stream.isatty() and environ.get("TERM") != "dumb" and not environ.get("NO_COLOR")
    return partial(lines.console, coloured=coloured)


def _is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Return whether ``stream`` is the socket that the service manager connected to the journal."""
    try:
        about = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{about.st_dev}:{about.st_ino}"
