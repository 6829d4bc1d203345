"""Replacement of damaged contents by good copies, which their hashes prove.

The good copy is a file of its own, on the disk, before any name gets it; each name then changes in one
moment. The names in snapshots come first, the object last: whatever kills the process leaves the damaged file
or the good one under each name, and an object that a snapshot has. The next verification does the rest.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiidpd.components.backup.process.copy import Copier
from aiidpd.components.backup.process.faults import SourceChanged, SourceUnreadable
from aiidpd.components.backup.process.manifest import FILES, FileEntry
from aiidpd.components.backup.process.proofs import Proofs, unit_key, write_proofs
from aiidpd.components.backup.process.quarantine import set_aside
from aiidpd.components.backup.process.store import OBJECTS, SNAPSHOTS, Store, place
from aiidpd.components.backup.process.units import Step, Unit, Wrong, is_inside
from aiidpd.components.backup.process.wounds import Wound, find_wounds, snapshot_of
from aiidpd.kernel.errors import Unavailable

NO_COPY: Final = "no other good copy was found"
_ASTRAY: Final = "a symbolic link stands in its way"
_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_CREATE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


@dataclass(frozen=True, slots=True)
class Healed:
    """Names that have the good copy now, why others have not (by their name), and where it is from.

    ``quarantined`` are the names that damaged files were set aside under.
    """

    names: tuple[str, ...] = ()
    failed: tuple[tuple[str, str], ...] = ()
    origin: str = ""
    quarantined: tuple[str, ...] = ()


class Healer:
    """Heals a target whose lock is held."""

    def __init__(self, store: Store, copier: Copier) -> None:
        self._store = store
        self._copier = copier
        self._spares = store.incomplete  # what a kill leaves there the next run or verification removes

    def heal(self, wound: Wound) -> Healed:
        """Replace each damaged name of a content, where a good copy of it is found.

        Raises :class:`Unavailable` and :class:`OSError` for faults of the target.
        """
        self._spares.mkdir(exist_ok=True)
        good = self._spares / f"heal-{wound.sha256}"
        good.unlink(missing_ok=True)
        try:
            origin = self._obtain(wound, good)
            if not origin:
                return Healed(failed=tuple((name, NO_COPY) for name in wound.names))
            return self._replace_all(wound, good, origin)
        finally:
            with contextlib.suppress(OSError):
                good.unlink(missing_ok=True)

    # A good copy

    def _obtain(self, wound: Wound, good: Path) -> str:
        """Make ``good`` a proven copy of the content; return where it is from, empty where there is none."""
        for name in wound.donors.values():
            if self._take_donor(name, wound.sha256, good):
                return name
        facts = next(iter(wound.entries.values()), None)
        for path, entry in wound.sources.items():
            if self._take_source(path, entry, facts or entry, good):
                return path
        return ""

    def _take_donor(self, name: str, sha256: str, good: Path) -> bool:
        donor = self._store.target / name
        try:
            if self._copier.digest(donor, name)[0] != sha256:
                return False
        except Unavailable:
            return False
        if place(donor, good):
            return True
        with _opened(donor) as reading:
            status = os.fstat(reading)
            facts = (stat.S_IMODE(status.st_mode), status.st_mtime_ns)
            return self._copy(reading, good, name, facts, None) == sha256

    def _take_source(self, path: str, entry: FileEntry, facts: FileEntry, good: Path) -> bool:
        """Copy a file of the source, if it still looks as it did when the content was backed up from it."""
        try:
            with _opened(Path(path)) as reading:
                status = os.fstat(reading)
                found = (stat.S_ISREG(status.st_mode), status.st_size, status.st_mtime_ns)
                if found != (True, entry.size, entry.mtime_ns):
                    return False
                mode = (facts.mode & 0o555) | 0o400
                sha256 = self._copy(reading, good, path, (mode, facts.mtime_ns), entry.size)
                return sha256 == entry.sha256
        except (OSError, SourceChanged, SourceUnreadable):
            return False

    def _copy(self, reading: int, good: Path, name: str, facts: tuple[int, int], limit: int | None) -> str:
        """Copy an open file, with mode and mtime by ``facts``; return the hash that the disk holds then."""
        mode, mtime_ns = facts
        good.unlink(missing_ok=True)
        writing = os.open(good, _CREATE, 0o600)
        try:
            self._copier.pump(reading, writing, name, limit)
            os.fchmod(writing, mode)
            os.utime(writing, ns=(mtime_ns, mtime_ns))
            os.fsync(writing)
        finally:
            os.close(writing)
        return self._copier.digest(good, name)[0]

    # Its names

    def _replace_all(self, wound: Wound, good: Path, origin: str) -> Healed:
        names, failed, quarantined = [], [], []
        for name in sorted(wound.names, key=lambda each: snapshot_of(each) == ""):  # the object last
            if not is_inside(self._store.target, name):
                failed.append((name, _ASTRAY))
                continue
            aside = set_aside(self._store.target, self._store.target / name, wound.sha256)
            if aside and aside not in quarantined:
                quarantined.append(aside)
            if fault := self._replace(good, name):
                failed.append((name, fault))
            else:
                names.append(name)
        return Healed(tuple(names), tuple(failed), origin, tuple(quarantined))

    def _replace(self, good: Path, name: str) -> str:
        """Make ``name`` the content of ``good``; return why that can't be, empty for done."""
        path = self._store.target / name
        spare = good.with_suffix(".name")
        spare.unlink(missing_ok=True)
        if not place(good, spare):
            with _opened(good) as reading:
                status = os.fstat(reading)
                facts = (stat.S_IMODE(status.st_mode), status.st_mtime_ns)
                self._copy(reading, spare, path.name, facts, None)
        else:
            _sync(spare)  # a clone is a file of its own
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            spare.rename(path)
            spare.unlink(missing_ok=True)  # two names of one file: the rename did nothing
        except OSError as error:
            spare.unlink(missing_ok=True)
            return os.strerror(error.errno or 0)
        return ""


def retire(store: Store, proofs: Proofs, step: Step) -> None:
    """Take damaged objects out of the store, so that no run links them: one that can reads the source again.

    The snapshots that have them still do, and the next verification heals them. Blocks; needs the lock.
    """
    damaged = [
        (Unit(sha256, sha256, 0, f"{OBJECTS}/{sha256[:2]}/{sha256}", 0.0), reason)
        for sha256, reason in proofs.damaged.items()
        if " " not in sha256 and store.object_path(sha256).exists()
    ]
    for wound in find_wounds(store, damaged, (), step):
        reason = proofs.damaged.pop(wound.sha256)
        for name in wound.names:
            if snapshot := snapshot_of(name):
                path = name.removeprefix(f"{SNAPSHOTS}/{snapshot}/{FILES}/")
                proofs.damaged[unit_key(wound.sha256, f"{snapshot}/{path}")] = reason
        write_proofs(store.target, proofs)
        set_aside(store.target, store.object_path(wound.sha256), wound.sha256)
        store.object_path(wound.sha256).unlink()


def heal_name(store: Store, wrong: Wrong) -> str:
    """Make a folder or a symbolic link that is missing or wrong; return why that can't be, empty for done."""
    path = store.target / wrong.path
    if not is_inside(store.target, wrong.path):
        return _ASTRAY
    try:
        if wrong.folder:
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            store.incomplete.mkdir(exist_ok=True)
            spare = store.incomplete / "heal-link"
            spare.unlink(missing_ok=True)
            spare.symlink_to(wrong.link)
            spare.rename(path)
    except OSError as error:
        return os.strerror(error.errno or 0)
    return ""


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, _READ)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _sync(path: Path) -> None:
    with _opened(path) as descriptor:
        os.fsync(descriptor)
