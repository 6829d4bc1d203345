"""Incidents on disk: a folder each, written whole or not at all, bounded in number and size. Calls block."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from aiidpd.incidents.incident import FORMAT, IDENTITY, thin
from aiidpd.incidents.series import Series, decode, encode
from aiidpd.incidents.settings import IncidentSettings
from aiidpd.kernel.errors import NotFound, Unavailable
from aiidpd.platform.atomic import fsync_directory, write_atomic

DOCUMENT: Final = "incident.json"
TEXT_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}\.(?:txt|json)", re.ASCII)
"""Form of the name of a file of text, which is never that of the document."""

NO_TEXTS: Final[Mapping[str, str]] = MappingProxyType({})


class IncidentStore:
    """Incidents in ``folder``, within the bounds of ``settings``. The newest always stays.

    ``settings`` is called in a thread whenever an incident is written: a reload takes effect with the next.
    """

    def __init__(self, folder: Path, settings: Callable[[], IncidentSettings] = IncidentSettings) -> None:
        self.folder = folder
        self._settings = settings

    def recover(self) -> None:
        """Remove what a killed daemon left half written, and mark what it was recording as interrupted."""
        if not self.folder.is_dir():
            return
        for entry in self.folder.iterdir():
            if entry.name.startswith("."):
                shutil.rmtree(entry, ignore_errors=True)
        for identity in self.identities():
            with suppress(NotFound, Unavailable):
                document = self._document(identity)
                if document.get("state") == "recording":
                    self._put(identity, document | {"state": "interrupted"})

    def free(self, identity: str) -> str:
        """Return ``identity``, or with a number behind it where there is such an incident already."""
        name, number = identity, 2
        while (self.folder / name).exists():
            name, number = f"{identity}-{number}", number + 1
        return name

    def write(
        self,
        identity: str,
        document: Mapping[str, Any],
        files: Sequence[Series],
        texts: Mapping[str, str] = NO_TEXTS,
    ) -> None:
        """Write an incident, or write it anew; raises :class:`OSError`, and then what was there still is.

        ``texts`` are added to the files of text that it has.
        """
        self.folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        final = self.folder / identity
        if final.is_dir():
            _write_files(final, files, texts)
            self._put(identity, document)
        else:
            # Made aside and moved into place, so that nobody finds half of one.
            aside = self.folder / f".{identity}.tmp"
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(mode=0o750)
            try:
                _write_files(aside, files, texts)
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
        settings = self._settings()
        known = self.identities()
        known.sort(key=lambda identity: identity == but)
        sizes = {identity: self._size(identity) for identity in known}
        gone: list[str] = []
        while len(known) > 1 and (len(known) > settings.keep or sum(sizes.values()) > settings.max_size):
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
        """Return each incident's document and size, the oldest first; a broken one has the reason."""
        found = []
        for identity in self.identities():
            try:
                document = self._document(identity)
            except (NotFound, Unavailable) as error:
                document = {"id": identity, "state": "broken", "reason": str(error)}
            found.append(document | {"bytes": self._size(identity)})
        return found

    def read(self, identity: str, points: int) -> dict[str, Any]:
        """Return an incident with its rows, at most ``points`` of each file: of each stretch the highest.

        A list of entries with a ``file`` each has the rows of those files, under the columns that each
        file's header names. Raises :class:`NotFound`, or :class:`Unavailable` where files can't be read.
        """
        document = self._document(identity)
        for key, entries in document.items():
            if isinstance(entries, list) and any(isinstance(one, dict) and "file" in one for one in entries):
                document[key] = [self._with_rows(identity, entry, points) for entry in entries]
        folder = str(self.folder / identity)
        return {**document, "folder": folder, "bytes": self._size(identity)}

    def _with_rows(self, identity: str, entry: Any, points: int) -> dict[str, Any]:
        try:
            file = str(entry["file"])
            if Path(file).name != file:
                raise ValueError(f"{file} is no name of a file in it")  # noqa: TRY301 -- as damaged as the rest
            found = decode((self.folder / identity / file).read_bytes())
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise self._unreadable(identity, error) from error
        shown = thin(found.rows, points, by=found.peak)
        return {**entry, "columns": list(found.columns), "data": shown}

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
        form = document.get("format", FORMAT)
        if not isinstance(form, int) or form > FORMAT:
            raise Unavailable(
                "read incident",
                identity,
                reason=f"its format is {form!r}, and this aiidpd reads {FORMAT}",
                remedy="a newer aiidpd wrote it: install that again",
            )
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


def _write_files(folder: Path, files: Sequence[Series], texts: Mapping[str, str]) -> None:
    for series in files:
        write_atomic(folder / series.file, encode(series), mode=0o640)
    for name, text in texts.items():
        write_atomic(folder / name, text.encode(errors="replace"), mode=0o640)


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, indent=1, allow_nan=False).encode() + b"\n"
