"""Contents of a snapshot that is being made: linked, compared or copied."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from aiidpd.components.backup.process.claims import claims
from aiidpd.components.backup.process.control import Control
from aiidpd.components.backup.process.copy import Copied, Copier
from aiidpd.components.backup.process.faults import SourceChanged, SourceUnreadable, target_fault
from aiidpd.components.backup.process.manifest import FILES, FileEntry
from aiidpd.components.backup.process.plan import Entry, Kind, Plan
from aiidpd.components.backup.process.requests import RunRequest
from aiidpd.components.backup.process.scan import entry_of
from aiidpd.components.backup.process.store import Store
from aiidpd.components.backup.process.store import place as share
from aiidpd.formats.model_files import Algorithm, Proof

_BLOCK: Final = 1 << 20  # bytes
_AGAIN: Final = 2  # times that a file which changed just now is waited for
_NOT_AS_NAMED: Final = "it is backed up as it is, but is not what its name says: download it again"
_ROTTEN: Final = "it reads otherwise than it was backed up, though nothing has changed it since"


@dataclass(slots=True)
class Build:
    """Snapshot that is being made. ``new`` maps the hash of a content that is no object yet to its place.

    ``expected`` are the entries of files that are copied though they look as they were before.
    """

    folder: Path
    created_at: float
    entries: list[FileEntry] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    rotten: dict[str, str] = field(default_factory=dict)
    rewritten: list[str] = field(default_factory=list)
    new: dict[str, Path] = field(default_factory=dict)
    expected: dict[str, FileEntry] = field(default_factory=dict)
    copied_files: int = 0
    copied_bytes: int = 0
    read_bytes: int = 0


@dataclass(slots=True)
class Known:
    """Knowledge from before the run: ``previous`` entries by path, the ``rot`` that was found in the source.

    ``stored`` are the hashes of objects; ``elsewhere`` has the places of contents that are none: in an
    earlier snapshot alone.
    """

    previous: Mapping[str, FileEntry] = field(default_factory=dict)
    rot: Mapping[str, str] = field(default_factory=dict)
    stored: AbstractSet[str] = frozenset()
    elsewhere: dict[str, Path] = field(default_factory=dict)


class Filler:
    """Fills ``build`` by a plan."""

    def __init__(
        self, build: Build, store: Store, request: RunRequest, known: Known, control: Control
    ) -> None:
        self.build = build
        self._store = store
        self._request = request
        self._source = Path(request.source)
        self._known = known
        self._control = control
        self._now = build.created_at
        self._claims: dict[str, Proof] = {}
        self._files = build.folder / FILES
        self._made: set[str] = set()

    def fill(self, plan: Plan) -> None:
        control = self._control
        with Copier(control, rate=self._request.rate, xattrs=self._request.xattrs) as copier:
            for folder in plan.folders:
                self._place_for(f"{folder.path}/")
                control.step()
            control.enter("copying", files=plan.files, total=plan.bytes_to_read)
            self._claims = claims(plan.copy, plan.symlinks, self._source.name)
            copy = [*plan.copy, *self._link(plan.link), *self._read_again(plan.reread, copier)]
            self._copy(copy, copier)
            self._alias(plan.aliases, copier)
        for link in plan.symlinks:
            self._link_symbolically(link)
            control.step()

    def _link_symbolically(self, link: Entry) -> None:
        place = self._place_for(link.path)
        try:
            place.symlink_to(link.target)
        except OSError as error:  # which names the link's target first
            raise target_fault(link.path, error) from error

    def _link(self, files: tuple[FileEntry, ...]) -> list[Entry]:
        """Link what is stored; return what can't be linked and has to be copied."""
        copy = []
        for known in files:
            if self._place(known):
                self._control.end_file()
            else:
                copy.append(_entry_of(known))
                self.build.expected[known.path] = known
        return copy

    def _place(self, known: FileEntry) -> bool:
        """Put a stored content into the snapshot; return False where the target can't share it."""
        destination = self._place_for(known.path)
        elsewhere = self._known.elsewhere.get(known.sha256)
        if elsewhere is None:
            placed = self._store.place(known.sha256, destination)
        else:
            placed = share(elsewhere, destination)
            if placed:
                self.build.new.setdefault(known.sha256, destination)
        if placed:
            self.build.entries.append(known)
        return placed

    def _read_again(self, files: tuple[tuple[Entry, FileEntry], ...], copier: Copier) -> list[Entry]:
        """Compare what was touched with what was backed up; return what has to be copied.

        The same content is linked. Other content under another ctime was written, and its time set back: it
        is copied, and the snapshot with the earlier one is protected. Other content though nothing was
        written is rot: what is stored is retained.
        """
        copy = []
        for entry, known in files:
            try:
                sha256 = copier.digest_source(self._source, entry)
            except SourceChanged:
                copy.append(entry)
                continue
            except SourceUnreadable as error:
                self.build.left_out[entry.path] = error.reason
                self._control.end_file()
                continue
            self.build.read_bytes += entry.size
            now = _file_entry(entry, sha256, self._now, known.xattrs)
            if sha256 == known.sha256:
                if self._place(now):
                    self._control.end_file()
                else:
                    copy.append(entry)
            elif known.ctime_ns not in (None, entry.ctime_ns) and self._known.rot.get(entry.path) != sha256:
                self.build.rewritten.append(entry.path)
                copy.append(entry)
            else:
                self.build.rotten[entry.path] = sha256
                self._retain(entry, known)
        return copy

    def _retain(self, entry: Entry, known: FileEntry) -> None:
        """Put the earlier content of a rotten file into the snapshot, where there is one."""
        known = replace(known, retained=_ROTTEN)
        if not self._place(known) and not self._copy_stored(known):
            self.build.left_out[entry.path] = f"{_ROTTEN}, and the target has no good copy"
        self._control.end_file()

    def _copy_stored(self, known: FileEntry) -> bool:
        """Copy what an earlier snapshot has, where the target can't share it; return whether it is right."""
        stored = self._known.elsewhere.get(known.sha256)
        if stored is None:
            return False
        destination = self.build.folder / FILES / known.path
        shutil.copy2(stored, destination)
        with destination.open("rb") as file:
            right = hashlib.file_digest(file, "sha256").hexdigest() == known.sha256
        if right:
            self.build.entries.append(known)
        else:
            destination.unlink()
        return right

    def _copy(self, entries: list[Entry], copier: Copier) -> None:
        waiting = self._copy_settled(entries, copier)
        for _ in range(_AGAIN):
            if not waiting:
                return
            self._settle(waiting)
            waiting = self._copy_settled(waiting, copier)
        for entry in waiting:
            self.build.left_out[entry.path] = "it was written to each time that it was read"

    def _copy_settled(self, entries: list[Entry], copier: Copier) -> list[Entry]:
        """Copy what was not changed just now; return the rest, and what changed meanwhile, as it is now."""
        ready = [entry for entry in entries if self._is_settled(entry)]
        names = {entry.path for entry in ready}
        left = [entry for entry in entries if entry.path not in names]
        left += self._copy_all(ready, copier)
        return [now for entry in left if (now := self._as_it_is(entry)) is not None]

    def _copy_all(self, entries: list[Entry], copier: Copier) -> list[Entry]:
        """Copy files; return those that changed meanwhile."""
        places: dict[str, Path] = {}

        def jobs() -> Iterator[tuple[Entry, Path]]:
            for entry in entries:
                places[entry.path] = place = self._place_for(entry.path)
                yield entry, place

        changed = []
        for entry, outcome in copier.copy_many(self._source, jobs(), self._store.partial):
            place = places.pop(entry.path)
            if isinstance(outcome, Copied):
                self._copied(entry, outcome, place)
            elif isinstance(outcome, SourceChanged):
                changed.append(entry)
            else:
                self.build.left_out[entry.path] = outcome.reason
        return changed

    def _copied(self, entry: Entry, copied: Copied, place: Path) -> None:
        self.build.read_bytes += copied.read_bytes
        expected = self.build.expected.get(entry.path)
        if self._known.rot.get(entry.path) == copied.sha256:  # it was found before it was touched
            expected = self._known.previous.get(entry.path)
        if expected is not None and copied.sha256 != expected.sha256:
            place.unlink()
            self.build.rotten[entry.path] = copied.sha256
            self._retain(entry, expected)
            return
        made = _file_entry(entry, copied.sha256, self._now, copied.xattrs)
        claim = self._claims.get(entry.path)
        if claim is not None and not _is_so(claim, made, place):
            self.build.left_out[entry.path] = f"{_NOT_AS_NAMED} ({claim.algorithm.value} {claim.hex[:12]})"
        self.build.entries.append(made)
        if not self._share(copied.sha256, place):
            self.build.new.setdefault(copied.sha256, place)
            self.build.copied_files += 1
            self.build.copied_bytes += entry.size

    def _share(self, sha256: str, place: Path) -> bool:
        """Replace a file by the same content as it is stored already; return False where that can't be."""
        stored = self.build.new.get(sha256)
        if stored is None:
            if sha256 not in self._known.stored:
                return False
            stored = self._store.object_path(sha256)
        twin = self.build.folder / "twin"
        if not share(stored, twin):
            return False
        twin.replace(place)
        twin.unlink(missing_ok=True)  # a link is not replaced by another one of the same file
        return True

    def _alias(self, aliases: tuple[tuple[Entry, str], ...], copier: Copier) -> None:
        """Store hard links of the source: each is the file that was copied under another name."""
        made = {file.path: file for file in self.build.entries}
        copy = []
        for entry, path in aliases:
            same = made.get(path)
            if same is None or not self._alias_one(entry, same):
                copy.append(entry)
            else:
                self._control.end_file()
        self._copy(copy, copier)

    def _alias_one(self, entry: Entry, same: FileEntry) -> bool:
        destination = self._place_for(entry.path)
        try:
            os.link(self.build.folder / FILES / same.path, destination, follow_symlinks=False)
        except OSError:
            return False
        self.build.entries.append(replace(same, path=entry.path))
        return True

    def _place_for(self, path: str) -> Path:
        """Return where ``path`` belongs in the snapshot; the folder that it lies in is made."""
        folder = path.rpartition("/")[0]
        if folder not in self._made:
            os.makedirs(self._files / folder, exist_ok=True)  # noqa: PTH103 -- of each
            self._made.add(folder)
        return self._files / path

    def _as_it_is(self, entry: Entry) -> Entry | None:
        """Return ``entry`` as the source has it now; None where it is no file (any more)."""
        try:
            now = entry_of(self._source, entry.path)
        except FileNotFoundError:
            return None  # as if it had not been there when the source was listed
        except OSError as error:
            self.build.left_out[entry.path] = os.strerror(error.errno or 0)
            return None
        if now.kind is not Kind.FILE:
            self.build.left_out[entry.path] = f"it has become a {now.kind.value} meanwhile"
            return None
        return now

    def _is_settled(self, entry: Entry) -> bool:
        """Return whether a file was not changed just now: one write that is under way sets its time once."""
        age = time.time() - entry.mtime_ns / 1e9
        return not 0.0 <= age < self._request.settle

    def _settle(self, entries: list[Entry]) -> None:
        """Wait until files that were changed just now would show that they still are."""
        newest = max(entry.mtime_ns for entry in entries) / 1e9
        self._control.sleep(max(0.0, min(self._request.settle, newest + self._request.settle - time.time())))


def _is_so(claim: Proof, file: FileEntry, place: Path) -> bool:
    """Return whether a file that was copied to ``place`` has the hash that its name says."""
    if claim.algorithm is Algorithm.SHA256:
        return claim.hex == file.sha256
    digest = claim.hasher(file.size)  # git's, which small files have
    with place.open("rb") as copied:
        while block := copied.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest() == claim.hex


def _file_entry(entry: Entry, sha256: str, now: float, xattrs: Mapping[str, str]) -> FileEntry:
    return FileEntry(
        entry.path,
        entry.size,
        entry.mtime_ns,
        entry.mode,
        sha256,
        entry.ctime_ns,
        entry.inode,
        entry.uid,
        entry.gid,
        now,
        xattrs,
    )


def _entry_of(known: FileEntry) -> Entry:
    return Entry(
        known.path,
        Kind.FILE,
        known.size,
        known.mtime_ns,
        known.mode,
        ctime_ns=known.ctime_ns or 0,
        inode=known.inode or (0, 0),
        uid=known.uid,
        gid=known.gid,
    )
