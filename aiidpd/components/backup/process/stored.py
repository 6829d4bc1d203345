"""Stored contents, for whoever restores: each from the first of its places where it is still right."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
import time
from collections import defaultdict
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from threading import Lock
from typing import Final

from aiidpd.components.backup.process.control import Control
from aiidpd.components.backup.process.copy import Copier
from aiidpd.components.backup.process.faults import SourceChanged, SourceUnreadable
from aiidpd.components.backup.process.manifest import FILES, FileEntry
from aiidpd.components.backup.process.names import shown
from aiidpd.components.backup.process.store import Store
from aiidpd.kernel.errors import Conflict, Unavailable

_SMALL: Final = (
    1024 * 1024
)  # bytes up to which a file is read at once: threads would cost more than they save
_DENSE: Final = 64 * 1024  # bytes up to which holes are not worth a call of the system
_PAGE: Final = 4096  # bytes that a file's content takes at least
_BLOCK: Final = 512  # the unit of st_blocks
_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_ZEROS: Final = bytes(_SMALL)


class Damaged(Exception):
    """No place of a content has it as it was; the text says why, for each."""


class Contents:
    """Contents of ``wanted`` (their hashes) on a target, as the snapshot ``identity`` names them."""

    def __init__(self, store: Store, identity: str, wanted: AbstractSet[str]) -> None:
        self._store = store
        self._files = self._folder(identity)
        self._wanted = wanted
        self._lock = Lock()
        self._elsewhere: dict[str, list[str]] | None = None

    def write(self, entry: FileEntry, writing: int, copier: Copier, pace: Pace) -> tuple[str, str]:
        """Write a content to a new file; return its place, and what was wrong with those tried before.

        Raises :class:`Damaged`, :class:`Unavailable` where ``writing`` fails.
        """
        faults = []
        tried: set[tuple[int, int]] = set()
        for place in self._places(entry):
            try:
                reading = os.open(place, _READ)
            except OSError as error:
                faults.append(f"{self._name(place)}: {os.strerror(error.errno or 0)}")
                continue
            try:
                status = os.fstat(reading)
                if (status.st_dev, status.st_ino) in tried:
                    continue
                tried.add((status.st_dev, status.st_ino))
                fault = _write(entry, reading, status, writing, copier=copier, pace=pace)
            finally:
                os.close(reading)
            if not fault:
                return place, "; ".join(faults)
            faults.append(f"{self._name(place)}: {fault}")
        raise Damaged("; ".join(faults))

    def place(self, entry: FileEntry) -> str:
        """Return where the snapshot has ``entry``."""
        return self._files + entry.path

    def _folder(self, identity: str) -> str:
        return f"{self._store.snapshots / identity / FILES}/"

    def room(self, entry: FileEntry) -> int:
        """Return the bytes that a file takes; a large one that has holes takes what it is stored with."""
        whole = -(-entry.size // _PAGE) * _PAGE
        if entry.size <= _DENSE:
            return whole
        try:
            status = os.lstat(self.place(entry))
        except OSError:
            return whole
        return min(whole, status.st_blocks * _BLOCK) if status.st_size == entry.size else whole

    def _places(self, entry: FileEntry) -> Iterator[str]:
        yield self.place(entry)
        yield os.fspath(self._store.object_path(entry.sha256))
        with self._lock:
            if self._elsewhere is None:
                self._elsewhere = self._find_elsewhere()
        yield from self._elsewhere.get(entry.sha256, ())

    def _find_elsewhere(self) -> dict[str, list[str]]:
        """Return the places of all that is wanted in every other snapshot, and elsewhere in this one."""
        found = defaultdict(list)
        for listed in self._store.all():
            for file in listed.manifest.files if listed.manifest is not None else ():
                if file.sha256 in self._wanted:
                    found[file.sha256].append(self._folder(listed.id) + file.path)
        return found

    def _name(self, place: str) -> str:
        return shown(place.removeprefix(f"{self._store.target}/"))


class Pace:
    """Bound on what is read beside the copier, by ``rate`` bytes a second (0: none)."""

    def __init__(self, control: Control, rate: int) -> None:
        self._control = control
        self._rate = rate

    def step(self, count: int) -> None:
        """Count bytes, and wait as long as they may take."""
        self._control.step(count)
        if self._rate:
            self._control.sleep(count / self._rate)


def _write(
    entry: FileEntry, reading: int, status: os.stat_result, writing: int, *, copier: Copier, pace: Pace
) -> str:
    """Write what is in ``reading``; return what is wrong with it, and leave nothing of it then."""
    if not stat.S_ISREG(status.st_mode):
        return "it is no regular file"
    if status.st_size != entry.size:
        return f"it has {status.st_size} bytes in place of {entry.size}"
    try:
        if status.st_blocks * _BLOCK < status.st_size:
            sha256 = _write_by_parts(reading, writing, status.st_size, pace)
        elif status.st_size <= _SMALL:
            block = _read(reading, status.st_size, 0)
            _write_all(writing, block, 0)
            pace.step(len(block))
            sha256 = hashlib.sha256(block).hexdigest()
        else:
            sha256 = copier.pump(reading, writing, entry.path, entry.size)[0]
        fault = "" if sha256 == entry.sha256 else "it reads otherwise than it was stored"
    except SourceUnreadable as error:
        fault = error.reason
    except SourceChanged as error:
        fault = str(error)
    except Unavailable as error:
        raise error.__cause__ or error from None  # of the writing, as the other way raises it
    if fault:
        os.lseek(writing, 0, os.SEEK_SET)
        os.ftruncate(writing, 0)
    return fault


def _write_by_parts(reading: int, writing: int, size: int, pace: Pace) -> str:
    """Write a file with its holes; return the hash of it as it reads."""
    digest = hashlib.sha256()
    place = 0
    os.ftruncate(writing, size)
    while place < size:
        try:
            data = os.lseek(reading, place, os.SEEK_DATA)
            hole = os.lseek(reading, data, os.SEEK_HOLE)
        except OSError:  # nothing but a hole is left
            data = hole = size
        while place < data:
            step = min(len(_ZEROS), data - place)
            digest.update(memoryview(_ZEROS)[:step])
            place += step
            pace.step(step)
        while place < hole:
            block = _read(reading, min(_SMALL, hole - place), place)
            if not block:
                return ""
            digest.update(block)
            _write_all(writing, block, place)
            place += len(block)
            pace.step(len(block))
    return digest.hexdigest()


def _read(reading: int, count: int, place: int) -> bytes:
    try:
        return os.pread(reading, count, place)
    except OSError as error:
        raise SourceUnreadable("read", "", reason=os.strerror(error.errno or 0)) from error


def _write_all(writing: int, block: bytes, place: int) -> None:
    view = memoryview(block)
    while view:
        count = os.pwrite(writing, view, place)
        view, place = view[count:], place + count


@contextlib.contextmanager
def reading(store: Store, control: Control, patience: float = 5.0) -> Iterator[None]:
    """Prevent runs, and the removal of snapshots, while one is read; raises :class:`Conflict`.

    Several may read at once. A target that has no lock yet, or a file system that knows none, is read
    without.
    """
    try:
        descriptor = os.open(store.target / ".lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield
        return
    try:
        deadline = time.monotonic() + patience
        while not _try_lock(descriptor):
            if time.monotonic() > deadline:
                remedy = "wait for it, or see which process has its .lock file open"
                reason = "a backup runs on it, or one that hangs still holds it"
                raise Conflict("read the backup target", str(store.target), reason=reason, remedy=remedy)
            control.sleep(0.05)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def unreadable(subject: str, reason: str) -> Unavailable:
    """Return the error for a snapshot that can't be restored by its manifest."""
    remedy = "restore another one, or copy from its folder by hand (docs/backup-format.md)"
    return Unavailable("restore the snapshot", subject, reason=reason, remedy=remedy)
