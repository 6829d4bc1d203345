"""Members of the archive: where each comes from. What can't be read is left out, with the reason."""

from __future__ import annotations

import http.client
import json
import os
import platform
import stat
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from aiidpd import __version__
from aiidpd.api.client import ControlClient, ControlError
from aiidpd.config.load import describe, load
from aiidpd.config.problems import InvalidConfiguration
from aiidpd.daemon.checks.libraries import versions
from aiidpd.daemon.doctor import UNIT, doctor, document
from aiidpd.daemon.folders import HISTORY, INCIDENTS
from aiidpd.daemon.schema import SCHEMA
from aiidpd.history.reader import EventQuery, events
from aiidpd.incidents.store import IncidentStore
from aiidpd.platform.unit_file import read_unit
from aiidpd.platform.unix_http import UnixConnection

_PATIENCE: Final = 10.0
_EVENTS: Final = 1000
_INCIDENTS: Final = 200
_LINES: Final = 2000
_MOST_FILES: Final = 2000
_LARGEST: Final = 8 << 20  # bytes that are taken from one source, before it is cut


class LeftOut(Exception):
    """A source that gives nothing, and why."""


@dataclass(frozen=True, slots=True)
class Source:
    """One member: its name in the archive, a sentence on it, and what makes it.

    ``make`` returns lines of text, or a document of JSON; it raises :class:`LeftOut`.
    """

    name: str
    about: str
    make: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Given:
    """Places that a bundle is made of."""

    config: Path | None
    environ: Mapping[str, str]
    socket: str
    metrics: str
    state: Path


def sources(given: Given) -> tuple[Source, ...]:
    """Return all members, whether a daemon runs or not."""
    live = (
        ("status", "/v1/status", "tasks, and what is wrong now"),
        ("alerts", "/v1/alerts", "alerts that fire or are about to"),
        ("jobs", "/v1/jobs", "work that was requested"),
        ("gpus", "/v1/gpus", "last readings of the GPUs"),
        ("containers", "/v1/containers", "containers"),
        ("engines", "/v1/engines", "inference engines"),
        ("models", "/v1/models", "models on this machine"),
        ("snapshots", "/v1/backup/snapshots", "snapshots of the backup"),
        ("bench", "/v1/bench/results", "last measurements"),
        ("audit", "/v1/audit", "findings of the audit"),
    )
    return (
        Source("versions.json", "versions of aiidpd, its libraries, Python and the system", _versions),
        Source(
            "doctor.json", "what aiidpd doctor finds", lambda: document(doctor(given.config, given.environ))
        ),
        Source("config.json", "each setting and what set it", lambda: _config(given)),
        Source("unit.txt", "the systemd unit and its drop-ins", _unit),
        Source("state.json", "files of the state folder: sizes, modes, owners", lambda: _state(given.state)),
        Source("events.jsonl", "the newest events", lambda: _events(given)),
        Source("incidents.json", "headers of the incidents", lambda: _incidents(given)),
        Source("journal.txt", "the end of the log in systemd's journal", _journal),
        Source("exposition.txt", "the metrics", lambda: _metrics(given.metrics)),
        *(Source(f"{name}.json", about, partial(_live, given.socket, path)) for name, path, about in live),
    )


def _versions() -> dict[str, Any]:
    system = {}
    with suppress(OSError):
        system = platform.freedesktop_os_release()
    return {
        "aiidpd": __version__,
        "python": platform.python_version(),
        "libraries": versions(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "system": system.get("PRETTY_NAME", ""),
        "user": os.geteuid(),
        "made_at": round(time.time()),
    }


def _config(given: Given) -> Any:
    try:
        loaded = load(SCHEMA, given.config, given.environ)
    except InvalidConfiguration as error:
        return {"problems": [str(each) for each in error.problems]}
    return [
        {"setting": key, "value": value, "origin": str(origin)} for key, value, origin in describe(loaded)
    ]


def _unit() -> Iterator[str]:
    unit = read_unit(UNIT)
    if unit is None:
        raise LeftOut("no unit of aiidpd is installed")
    for each in (unit.path, *unit.drop_ins):
        yield f"# {each}"
        yield from _text(each).splitlines()


def _state(folder: Path) -> list[dict[str, Any]]:
    found = []
    if not folder.is_dir():
        raise LeftOut(f"{folder} does not exist")
    for path in (
        folder,
        *sorted(folder.glob("*"))[:_MOST_FILES],
        *sorted(folder.glob("incidents/*"))[:_MOST_FILES],
    ):
        with suppress(OSError):
            facts = path.lstat()
            entry = {"path": str(path), "mode": stat.filemode(facts.st_mode), "uid": facts.st_uid}
            found.append(
                entry | {"gid": facts.st_gid, "bytes": facts.st_size, "changed_at": int(facts.st_mtime)}
            )
    return found


def _events(given: Given) -> Iterator[str]:
    try:
        found = _live(given.socket, f"/v1/events?limit={_EVENTS}")["events"]
    except LeftOut:
        path = given.state / HISTORY
        if not path.exists():
            raise LeftOut(f"no daemon answers, and there is no {path}") from None
        for event in events(path, EventQuery(limit=_EVENTS)):
            entry = {"id": event.id, "time": event.time, "kind": event.kind, "source": event.source}
            entry |= {
                "severity": event.severity.name.lower(),
                "subject": event.subject,
                "reason": event.reason,
            }
            yield json.dumps(entry | {"evidence": dict(event.evidence)})
    else:
        yield from map(json.dumps, found)


def _incidents(given: Given) -> list[dict[str, Any]]:
    folder = given.state / INCIDENTS
    if not folder.is_dir():
        found: Any = _live(given.socket, "/v1/incidents")["incidents"]
    else:
        found = IncidentStore(folder).summaries()
    headers = [
        {key: value for key, value in each.items() if isinstance(value, str | int | float | bool | None)}
        for each in found
    ]
    return headers[-_INCIDENTS:]


def _journal() -> Iterator[str]:
    command = ["journalctl", "-u", "aiidpd", "-n", str(_LINES), "--no-pager", "-o", "short-iso"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_PATIENCE, check=False)  # noqa: S603
    except FileNotFoundError:
        raise LeftOut("there is no journalctl here") from None
    except subprocess.TimeoutExpired:
        raise LeftOut(f"journalctl did not end within {_PATIENCE:g} s") from None
    if done.returncode:
        raise LeftOut(done.stderr.decode(errors="replace").strip()[:200] or "journalctl failed")
    yield from done.stdout.decode(errors="replace").splitlines()


def _metrics(path: str) -> Sequence[str]:
    with closing(UnixConnection(Path(path), timeout=_PATIENCE)) as connection:
        try:
            connection.request("GET", "/metrics")
            return connection.getresponse().read(_LARGEST).decode(errors="replace").splitlines()
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise LeftOut(f"{path} does not answer: {reason.lower()}") from None


def _live(path: str, target: str) -> Any:
    try:
        with ControlClient(path, timeout=_PATIENCE) as client:
            return client.get(target)
    except ControlError as error:
        raise LeftOut(str(error)) from None


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST).decode(errors="replace")
    except OSError as error:
        raise LeftOut(f"{path}: {(error.strerror or 'error').lower()}") from None
