"""Incidents on disk: a folder each, written whole or not at all, bounded in number and size. Calls block."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from aiidpd.components.thermal.gpu import clock_event_names
from aiidpd.incidents.incident import IDENTITY, thin
from aiidpd.incidents.ring_buffer import FIGURES, Row
from aiidpd.kernel.errors import NotFound, Unavailable
from aiidpd.platform.atomic import fsync_directory, write_atomic

DOCUMENT: Final = "incident.json"
COLUMNS: Final = ("timestamp", *FIGURES, "clock_events")
_PLACES = {"celsius": 1, "watts": 2, "ratio": 3, "bytes": 0, "hertz": 0}
_AND: Final = "|"  # between two clock events in one cell


@dataclass(frozen=True, slots=True)
class Series:
    """The readings of one GPU: ``offset`` added to a row's seconds gives Unix seconds."""

    file: str
    rows: Iterable[Row]
    offset: float


class IncidentStore:
    """The incidents in ``folder``: at most ``keep``, and ``max_bytes`` in all. The newest always stays."""

    def __init__(self, folder: Path, *, keep: int = 50, max_bytes: int = 100 * 2**20) -> None:
        self.folder = folder
        self.keep = keep
        self.max_bytes = max_bytes

    def recover(self) -> None:
        """Clear up after a daemon that ended in the middle: what it was recording is told as interrupted."""
        if not self.folder.is_dir():
            return
        for entry in self.folder.iterdir():
            if entry.name.startswith("."):
                shutil.rmtree(entry, ignore_errors=True)
        for identity in self.identities():
            with suppress(Unavailable):
                document = self._document(identity)
                if document.get("state") == "recording":
                    self._put(identity, document | {"state": "interrupted"})

    def free(self, identity: str) -> str:
        """Return ``identity``, or with a number behind it where there is such an incident already."""
        name, number = identity, 2
        while (self.folder / name).exists():
            name, number = f"{identity}-{number}", number + 1
        return name

    def write(self, identity: str, document: Mapping[str, Any], tables: Sequence[Series]) -> None:
        """Write an incident, or write it anew; raises :class:`OSError`, and then what was there still is."""
        self.folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        final = self.folder / identity
        if final.is_dir():
            for table in tables:
                write_atomic(final / table.file, _csv(table), mode=0o640)
            self._put(identity, document)
        else:
            # Made aside and moved into place, so that nobody finds half of one.
            aside = self.folder / f".{identity}.tmp"
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(mode=0o750)
            try:
                for table in tables:
                    write_atomic(aside / table.file, _csv(table), mode=0o640)
                write_atomic(aside / DOCUMENT, _json(document), mode=0o640)
                aside.rename(final)
            except BaseException:
                shutil.rmtree(aside, ignore_errors=True)
                raise
            fsync_directory(self.folder)
        self.prune(but=identity)

    def prune(self, *, but: str = "") -> list[str]:
        """Remove the oldest incidents beyond the bounds, but never ``but``; return which.

        An incident that a wrong clock named for the future is no reason to remove the one just written.
        """
        known = self.identities()
        known.sort(key=lambda identity: identity == but)
        sizes = {identity: self._size(identity) for identity in known}
        gone: list[str] = []
        while len(known) > 1 and (len(known) > self.keep or sum(sizes.values()) > self.max_bytes):
            oldest = known.pop(0)
            del sizes[oldest]
            grave = self.folder / f".{oldest}.gone"
            (self.folder / oldest).rename(grave)
            shutil.rmtree(grave, ignore_errors=True)
            gone.append(oldest)
        return gone

    def identities(self) -> list[str]:
        """Return the ids, the oldest first: each begins with its time."""
        if not self.folder.is_dir():
            return []
        return sorted(entry.name for entry in self.folder.iterdir() if IDENTITY.fullmatch(entry.name))

    def summaries(self) -> list[dict[str, Any]]:
        """Return what there is to tell of each incident in a line, the oldest first."""
        found = []
        for identity in self.identities():
            try:
                document = self._document(identity)
            except (NotFound, Unavailable) as error:
                document = {"id": identity, "state": "broken", "reason": str(error)}
            found.append(document | {"bytes": self._size(identity)})
        return found

    def read(self, identity: str, points: int) -> dict[str, Any]:
        """Return an incident with its readings, at most ``points`` of each GPU.

        Raises :class:`NotFound`, or :class:`Unavailable` where the files can't be read.
        """
        document = self._document(identity)
        gpus = []
        for gpu in document.get("gpus", ()):
            try:
                rows = _rows((self.folder / identity / str(gpu["file"])).read_bytes())
            except (OSError, ValueError, LookupError) as error:
                raise self._unreadable(identity, error) from error
            shown = thin(rows, points, by=1)
            gpus.append({**gpu, "columns": ["time", *COLUMNS[1:]], "data": shown})
        folder = str(self.folder / identity)
        return {**document, "folder": folder, "bytes": self._size(identity), "gpus": gpus}

    def _document(self, identity: str) -> dict[str, Any]:
        path = self.folder / identity / DOCUMENT
        if not IDENTITY.fullmatch(identity) or not path.is_file():
            raise NotFound(
                "find incident",
                identity,
                reason="there is no such incident",
                remedy="aiidpctl incidents list",
            )
        try:
            document = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise self._unreadable(identity, error) from error
        if not isinstance(document, dict):
            raise self._unreadable(identity, ValueError("it holds no object"))
        return document | {"id": identity}

    def _unreadable(self, identity: str, error: Exception) -> Unavailable:
        remedy = f"see the folder {self.folder / identity}, and remove it where it is of no use"
        return Unavailable("read incident", identity, reason=str(error), remedy=remedy)

    def _put(self, identity: str, document: Mapping[str, Any]) -> None:
        write_atomic(self.folder / identity / DOCUMENT, _json(document), mode=0o640)

    def _size(self, identity: str) -> int:
        total = 0
        with suppress(OSError), os.scandir(self.folder / identity) as entries:
            for entry in entries:
                total += entry.stat(follow_symlinks=False).st_size
        return total


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, indent=1, allow_nan=False).encode() + b"\n"


def _csv(table: Series) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text)  # RFC 4180: CRLF, quotes where they are needed
    writer.writerow(COLUMNS)
    places = [_PLACES[figure.rpartition("_")[2]] for figure in FIGURES]
    for row in table.rows:
        cells = (
            "" if value is None else f"{value:.{digits}f}"
            for value, digits in zip(row.figures, places, strict=True)
        )
        bits = row.clock_event_bits
        events = "" if bits is None else _AND.join(clock_event_names(bits)) or "none"
        writer.writerow((_iso(row.at + table.offset), *cells, events))
    return text.getvalue().encode()


def _rows(data: bytes) -> list[list[Any]]:
    """Return time (Unix seconds), figures and clock events of each line; raises :class:`ValueError`."""
    lines = csv.reader(io.StringIO(data.decode(), newline=""))
    if tuple(next(lines, ())) != COLUMNS:
        raise ValueError("its columns are not those of an incident")
    return [list(_row(cells)) for cells in lines]


def _row(cells: Sequence[str]) -> Iterator[Any]:
    if len(cells) != len(COLUMNS):
        raise ValueError(f"a line has {len(cells)} columns, not {len(COLUMNS)}")
    yield datetime.fromisoformat(cells[0]).timestamp()
    for cell in cells[1:-1]:
        yield float(cell) if cell else None
    yield cells[-1] or None


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
