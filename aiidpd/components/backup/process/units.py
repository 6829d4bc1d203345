"""Contents of a target as they lie there to be read: each object, each file that is none. Reads names alone.

A snapshot's file is mostly a hard link to an object, and needs no reading of its own. It does where the
target has no hard links, where it is a clone, and where somebody has replaced it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from aiidpd.components.backup.process.lists import Lists, check_lists
from aiidpd.components.backup.process.manifest import FILES, MANIFEST, SUMS, FileEntry, is_digest
from aiidpd.components.backup.process.names import shown
from aiidpd.components.backup.process.proofs import Proofs, unit_key
from aiidpd.components.backup.process.store import OBJECTS, SNAPSHOTS, Store

NO_FILE: Final = "it is missing"
NO_OBJECT: Final = "it is missing, so that the next run would copy its content again"

Step = Callable[[], None]
_Inode = tuple[int, int]


@dataclass(slots=True)
class Unit:
    """A content as it lies at one place. ``file`` is a path in the target that leads there.

    ``since`` is when the oldest snapshot that has it was made, in Unix seconds. ``proven_at`` is when its
    bytes were last read and right, None for never. ``flaw`` is what is wrong with it, as far as can be seen
    without reading it; ``suspect``: that, or it was damaged when it was last read, or lacks its object.
    """

    key: str
    sha256: str
    size: int
    file: str
    since: float
    names: int = 0
    proven_at: float | None = None
    flaw: str = ""
    suspect: bool = False


@dataclass(frozen=True, slots=True)
class Wrong:
    """A name that is not as the snapshot's list says. ``path`` is one in the target.

    ``sha256`` is the content that belongs there, ``link`` the target of the symbolic link that does,
    ``folder``: a folder does; none of them: nothing belongs there.
    """

    snapshot: str
    path: str
    reason: str
    sha256: str = ""
    link: str = ""
    folder: bool = False


@dataclass(slots=True)
class Survey:
    """Findings about names. ``units`` are by their key; ``absent`` are contents without an object.

    ``broken`` maps a snapshot to why its list can't be trusted, ``flaws`` one to what is wrong with its
    SHA256SUMS, and ``sums`` to the right content of that. ``own`` maps one to how many of its files are no
    object; ``shared``: several names may lead to one such. ``snapshots`` are all names.
    """

    units: dict[str, Unit] = field(default_factory=dict)
    wrong: list[Wrong] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    flaws: dict[str, tuple[str, ...]] = field(default_factory=dict)
    sums: dict[str, bytes] = field(default_factory=dict)
    own: dict[str, int] = field(default_factory=dict)
    shared: bool = False
    snapshots: list[str] = field(default_factory=list)


def survey(store: Store, proofs: Proofs, step: Step, only: str = "") -> Survey:
    """Return the findings about ``store``, or about the snapshot ``only`` in it. Blocks."""
    return _Surveyor(store, proofs, step).survey(only)


def read_lists(store: Store, snapshot: str) -> Lists:
    """Read both lists of a snapshot. Blocks."""
    folder = store.snapshots / snapshot
    found = []
    for name in (MANIFEST, SUMS):
        try:
            found.append(read_disk(folder / name))
        except OSError as error:
            if name == MANIFEST:
                return Lists(None, broken=f"{name}: {os.strerror(error.errno or 0)}")
            found.append(b"")
    return check_lists(snapshot, found[0], found[1])


def read_disk(path: Path) -> bytes:
    """Return what the disk holds for a small file, not what the cache does; raises :class:`OSError`."""
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 -- unbuffered
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return file.read()


def is_inside(target: Path, name: str) -> bool:
    """Return whether no symbolic link lies on the way from ``target`` to ``name``."""
    parent = os.path.dirname(name)  # noqa: PTH120 -- of each
    return os.path.realpath(target / parent) == os.path.join(os.path.realpath(target), parent)  # noqa: PTH118


def walk(root: Path, step: Step) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield all below ``root`` with its path below it; links are not followed."""
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(f"{root}/{folder}") as found:
                items = list(found)
        except FileNotFoundError:
            continue
        prefix = f"{folder}/" if folder else ""
        for item in items:
            step()
            path = prefix + item.name
            if item.is_dir(follow_symlinks=False):
                folders.append(path)
            yield path, item


class _Surveyor:
    def __init__(self, store: Store, proofs: Proofs, step: Step) -> None:
        self._store = store
        self._step = step
        self._proofs = proofs
        self._suspects = {key.partition(" ")[0] for key in proofs.damaged}
        self._objects: dict[str, _Inode] = {}
        self._own: dict[tuple[_Inode, str], str] = {}
        self._found = Survey()

    def survey(self, only: str) -> Survey:
        found = self._found
        self._list_objects()
        found.snapshots = self._store.identities()
        for snapshot in [only] if only else found.snapshots:
            lists = read_lists(self._store, snapshot)
            if lists.broken:
                found.broken[snapshot] = lists.broken
            if lists.flaws:
                found.flaws[snapshot] = lists.flaws
            if lists.sums is not None:
                found.sums[snapshot] = lists.sums
            _SnapshotSurvey(self, snapshot, lists).walk(self._step)
        if only:  # objects that it does not have are no part of it
            found.units = {key: unit for key, unit in found.units.items() if unit.names}
        for key in found.absent.values():
            found.units[key].suspect = True
        return found

    def _list_objects(self) -> None:
        for path, item in walk(self._store.objects, self._step):
            if item.is_dir(follow_symlinks=False):
                continue
            place = f"{OBJECTS}/{path}"
            status = item.stat(follow_symlinks=False)
            if (
                not is_digest(item.name)
                or path != f"{item.name[:2]}/{item.name}"
                or not stat.S_ISREG(status.st_mode)
            ):
                self._found.wrong.append(Wrong("", place, "no content belongs there"))
                continue
            self._objects[item.name] = (status.st_dev, status.st_ino)
            self._add(Unit(item.name, item.name, status.st_size, place, status.st_ctime))

    def _add(self, unit: Unit) -> Unit:
        unit.proven_at = self._proofs.proven.get(unit.key)
        unit.suspect = unit.sha256 in self._suspects
        self._found.units[unit.key] = unit
        return unit

    def count(self, snapshot: str, path: str, item: os.DirEntry[str], sha256: str, lists: _Facts) -> None:
        """Note that a snapshot has a file at ``path``, which should be the content ``sha256``."""
        inode = self._objects.get(sha256)
        if inode is not None and inode[1] == item.inode():
            unit = self._found.units[sha256]
        else:
            status = item.stat(follow_symlinks=False)
            unit = self._own_unit(snapshot, path, status, sha256, lists)
            if inode is None and self._objects and not lists.is_early(path):
                self._found.absent.setdefault(sha256, unit.key)
        unit.names += 1
        unit.since = min(unit.since, lists.created_at) if unit.names > 1 else lists.created_at
        size = lists.size(path)
        if size is not None and unit.size != size and not unit.flaw:
            unit.flaw, unit.suspect = f"it has {unit.size} bytes, not {size}", True

    def _own_unit(self, snapshot: str, path: str, status: os.stat_result, sha256: str, lists: _Facts) -> Unit:
        self._found.own[snapshot] = self._found.own.get(snapshot, 0) + 1
        inode = (status.st_dev, status.st_ino)
        key = self._own.get((inode, sha256)) if status.st_nlink > 1 else None
        self._found.shared |= status.st_nlink > 1
        place = unit_key(sha256, f"{snapshot}/{path}")
        if key is not None:
            unit = self._found.units[key]
            earlier = self._proofs.proven.get(place)  # under the name of a snapshot that is gone, maybe
            if earlier is not None and (unit.proven_at is None or earlier > unit.proven_at):
                unit.proven_at = earlier
            return unit
        self._own[inode, sha256] = place
        file = f"{SNAPSHOTS}/{snapshot}/{FILES}/{path}"
        return self._add(Unit(place, sha256, status.st_size, file, lists.created_at))


class _Facts:
    """Facts of a snapshot's list about its files."""

    def __init__(self, lists: Lists) -> None:
        self._files: Mapping[str, FileEntry] = (
            {} if lists.manifest is None else {file.path: file for file in lists.manifest.files}
        )
        self.created_at = 0.0 if lists.manifest is None else lists.manifest.created_at
        self._trusted = not lists.broken

    def size(self, path: str) -> int | None:
        """Return the size that a file should have, None where no list that is right says so."""
        file = self._files.get(path)
        return file.size if file is not None and self._trusted else None

    def is_early(self, path: str) -> bool:
        """Return whether a file may be from before there were objects."""
        file = self._files.get(path)
        return file is None or file.ctime_ns is None


class _SnapshotSurvey:
    """Comparison of the tree of one snapshot with its list."""

    def __init__(self, surveyor: _Surveyor, snapshot: str, lists: Lists) -> None:
        self._surveyor = surveyor
        self._snapshot = snapshot
        self._lists = lists
        self._facts = _Facts(lists)
        self._root = surveyor._store.snapshots / snapshot / FILES  # noqa: SLF001 -- of one meaning

    def walk(self, step: Step) -> None:
        manifest = None if self._lists.broken else self._lists.manifest
        files = dict(self._lists.hashes)
        links = dict(manifest.links) if manifest is not None else None
        folders = {folder.path for folder in manifest.folders} if manifest is not None else set()
        for path, item in walk(self._root, step):
            if item.is_dir(follow_symlinks=False):
                folders.discard(path)
            elif item.is_symlink():
                self._check_link(path, item, links)
            elif path in files and item.is_file(follow_symlinks=False):
                self._surveyor.count(self._snapshot, path, item, files.pop(path), self._facts)
            elif path not in files and (self._lists.hashes or manifest is not None):
                self._wrong(path, "no list names it")
        for path, sha256 in files.items():
            self._wrong(path, NO_FILE, sha256=sha256)
        for path, target in (links or {}).items():
            self._wrong(path, NO_FILE, link=target)
        for path in folders:
            self._wrong(path, NO_FILE, folder=True)

    def _check_link(self, path: str, item: os.DirEntry[str], links: dict[str, str] | None) -> None:
        if links is None:  # nothing that can be trusted says which there are
            return
        target = links.pop(path, None)
        found = os.readlink(item.path)  # noqa: PTH115 -- of each
        if target is None:
            self._wrong(path, "no list names it")
        elif found != target:
            self._wrong(path, f"it leads to {shown(found)}, not to {shown(target)}", link=target)

    def _wrong(
        self, path: str, reason: str, *, sha256: str = "", link: str = "", folder: bool = False
    ) -> None:
        place = f"{SNAPSHOTS}/{self._snapshot}/{FILES}/{path}"
        self._surveyor._found.wrong.append(  # noqa: SLF001 -- of one meaning
            Wrong(self._snapshot, place, reason, sha256, link, folder)
        )
