"""Records of what was measured on the disk: a file each in one folder, the newest stay."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, Generic, Protocol, TypeVar

from aiidpd.kernel.errors import NotFound
from aiidpd.platform.statefile import StateFile, StateUnreadable, Versioned

KEPT: Final = 50
"""Newest records of a folder that stay."""

_LIMIT: Final = 4 << 20  # bytes of one
_NAME: Final = re.compile(r"[0-9]{8}T[0-9]{6}Z(-[0-9]{1,4})?")


class Record(Versioned, Protocol):
    """A document with an ``id`` that :meth:`RecordStore.new_id` gave."""

    @property
    def id(self) -> str:
        """Time at which it began, in UTC."""


T = TypeVar("T", bound=Record)


class RecordStore(Generic[T]):
    """Folder of records of one ``kind``, which messages call ``name``. Every method blocks.

    ``command`` lists them, for a remedy.
    """

    def __init__(self, folder: Path, kind: type[T], *, name: str, command: str) -> None:
        self._folder = folder
        self._kind = kind
        self._record = name
        self._command = command

    def new_id(self, at: float) -> str:
        """Return the id of a record that begins ``at`` (Unix seconds); no other has it."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at))
        taken = set(self._ids())
        numbered = (f"{stamp}-{number}" for number in range(2, 1000))
        return next((each for each in (stamp, *numbered) if each not in taken), stamp)

    def save(self, record: T) -> None:
        """Write ``record``, and remove the oldest of too many; raises :class:`OSError`."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._file(record.id).save(record)
        for old in self._ids()[:-KEPT]:
            with suppress(OSError):
                self._path(old).unlink()

    def load(self, identity: str) -> T:
        """Return the record ``identity``; raises :class:`NotFound` or :class:`StateUnreadable`."""
        found = self._file(identity).load() if _NAME.fullmatch(identity) else None
        if found is None:
            action, remedy = f"read {self._record}", f"`{self._command}` lists those there are"
            raise NotFound(action, identity[:100], reason="there is none of this id", remedy=remedy)
        return found

    def all(self) -> tuple[list[T], list[str]]:
        """Return the records that can be read, the newest last, and why others can't be."""
        found, problems = [], []
        for identity in self._ids():
            try:
                found.append(self.load(identity))
            except StateUnreadable as error:
                problems.append(str(error))
            except NotFound:  # removed meanwhile
                continue
        return found, problems

    def _ids(self) -> list[str]:
        with suppress(OSError):
            names = (path.name.removesuffix(".json") for path in self._folder.glob("*.json"))
            return sorted((name for name in names if _NAME.fullmatch(name)), key=_order)
        return []

    def _path(self, identity: str) -> Path:
        return self._folder / f"{identity}.json"

    def _file(self, identity: str) -> StateFile[T]:
        return StateFile(self._path(identity), self._kind, remedy="remove it", limit=_LIMIT)


def _order(identity: str) -> tuple[str, int]:
    stamp, _, number = identity.partition("-")
    return stamp, int(number or 1)
