"""Copies of big files that were cut short, and can be resumed: each with a record of what of it is right."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from aiidpd.components.backup.process.faults import SourceChanged, SourceUnreadable, target_fault
from aiidpd.components.backup.process.opened import finish
from aiidpd.components.backup.process.plan import Entry

_OPEN: Final = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_RECORD: Final = ".json"
_NEW: Final = ".new"
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_LARGEST: Final = 65536  # bytes of a record; a path has 4096 at most, each six in JSON
_UNIT: Final = 512  # bytes, of st_blocks


@dataclass(frozen=True, slots=True)
class Record:
    """State of a copy: the first ``bytes`` of it were on the disk with this hash.

    The rest is its source's: a copy is of no use for another version of that.
    """

    path: str
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: tuple[int, int]
    bytes: int
    sha256: str

    def fits(self, entry: Entry) -> bool:
        """Return whether it is of this version of this file."""
        mine = (self.path, self.size, self.mtime_ns, self.ctime_ns, self.inode)
        return mine == (entry.path, entry.size, entry.mtime_ns, entry.ctime_ns, entry.inode)


def load_record(text: bytes) -> Record:
    """Read a record; raises :class:`ValueError`."""
    try:
        body = json.loads(text)
        found = Record(**{**body, "inode": tuple(body["inode"])})
    except (RecursionError, KeyError, TypeError) as error:
        raise ValueError(f"the record is incomplete: {error}") from error
    numbers = (found.size, found.mtime_ns, found.ctime_ns, found.bytes, *found.inode)
    right = all(type(number) is int for number in numbers) and 0 < found.bytes <= found.size
    if not (right and isinstance(found.path, str) and isinstance(found.sha256, str)):
        raise ValueError("the record holds values of the wrong type")
    if not _DIGEST.fullmatch(found.sha256):
        raise ValueError("the record holds no hash")
    return found


def dump_record(record: Record) -> bytes:
    """Return ``record`` as :func:`load_record` reads it."""
    return json.dumps(asdict(record)).encode("ascii")


class Draft:
    """Copy of a big file in the making, in the folder of such.

    A record vouches for its first ``done`` bytes; ``sha256`` is their hash, to be compared with the disk's.
    """

    def __init__(self, folder: Path, entry: Entry) -> None:
        self._entry = entry
        self.path = folder / _name(entry.path)
        self._record = self.path.with_suffix(_RECORD)
        record = _read(self._record)
        fits = record is not None and record.fits(entry) and self.path.is_file()
        self.done, self.sha256 = (record.bytes, record.sha256) if record is not None and fits else (0, "")

    def note(self, count: int, sha256: str) -> None:
        """Record that ``count`` bytes with this hash are on the disk; raises :class:`Unavailable`.

        It need not reach the disk itself: without it the copy begins anew, and with an older one earlier.
        """
        entry = self._entry
        record = Record(entry.path, entry.size, entry.mtime_ns, entry.ctime_ns, entry.inode, count, sha256)
        new = self._record.with_suffix(_NEW)
        try:
            new.write_bytes(dump_record(record))
            new.replace(self._record)
        except OSError as error:
            raise target_fault(entry.path, error) from error

    def forget(self) -> None:
        """Begin anew: nothing vouches for any bytes; raises :class:`OSError`."""
        self._record.unlink(missing_ok=True)
        self.done, self.sha256 = 0, ""

    def remove(self) -> None:
        """Remove the copy and its record; raises :class:`OSError`."""
        self.forget()
        self.path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def opened(self, destination: Path) -> Iterator[int]:
        """Yield the copy, for reading and writing; it becomes ``destination`` after the block.

        It stays where the target fails or the work is cancelled, if any of it is recorded; it is removed
        where the source has changed or can't be read. Raises :class:`Unavailable`.
        """
        try:
            if self.done == 0:
                self.remove()
            descriptor = os.open(self.path, _OPEN, 0o600)
        except OSError as error:
            raise target_fault(self._entry.path, error) from error
        try:
            yield descriptor
            finish(descriptor, self._entry)
            self.path.rename(destination)
            self.forget()
        except (SourceChanged, SourceUnreadable):
            with contextlib.suppress(OSError):  # the first error is the one to raise
                self.remove()
            raise
        except BaseException as error:
            if not self._record.exists():  # nothing of it can be resumed
                with contextlib.suppress(OSError):
                    self.remove()
            if isinstance(error, OSError):
                raise target_fault(self._entry.path, error) from error
            raise
        finally:
            os.close(descriptor)


def clean_partials(folder: Path, entries: Iterable[Entry]) -> int:
    """Remove what is of no use for a copy of ``entries``; return the room that the rest takes, in bytes.

    Raises :class:`OSError`.
    """
    versions = {_name(entry.path): entry for entry in entries}
    room = 0
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.is_dir() and not path.is_symlink():
            continue  # none of ours
        entry = versions.get(path.stem)
        record = _read(path.with_suffix(_RECORD))
        known = path.suffix in ("", _RECORD) and path.with_suffix("").is_file()
        if entry is not None and record is not None and known and record.fits(entry):
            room += path.lstat().st_blocks * _UNIT
        else:
            path.unlink(missing_ok=True)
    return room


def _name(path: str) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:32]


def _read(path: Path) -> Record | None:
    try:
        with path.open("rb") as file:
            return load_record(file.read(_LARGEST))
    except (OSError, ValueError):
        return None
