"""One backup, step by step: check, list, copy, publish. Blocks: the process has nothing else to do."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import time
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from aiidpd.components.backup.process import marker, pins
from aiidpd.components.backup.process.control import Control
from aiidpd.components.backup.process.copy import Copied, Copier
from aiidpd.components.backup.process.faults import SourceChanged, SourceUnreadable, target_fault
from aiidpd.components.backup.process.heal import retire
from aiidpd.components.backup.process.manifest import FILES, FileEntry, Manifest
from aiidpd.components.backup.process.names import shown, size_text
from aiidpd.components.backup.process.plan import Entry, Kind, Plan, make_plan
from aiidpd.components.backup.process.proofs import Proofs, read_proofs, write_proofs
from aiidpd.components.backup.process.requests import RunRequest
from aiidpd.components.backup.process.results import RunResult
from aiidpd.components.backup.process.scan import entry_of, scan
from aiidpd.components.backup.process.store import Store, remove_tree
from aiidpd.components.backup.process.store import place as share
from aiidpd.kernel.errors import Misconfigured, Unavailable

_AGAIN: Final = 2  # times that a file which changes while it is read is read
_ROTTEN: Final = "it reads otherwise than it was backed up, though nothing has changed it since"


@dataclass(slots=True)
class _Build:
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


class BackupRun:
    """A run by ``request``; ``now`` gives Unix seconds."""

    def __init__(self, request: RunRequest, control: Control, now: float | None = None) -> None:
        self._request = request
        self._control = control
        self._now = now or request.now or time.time()
        self._source = Path(request.source)
        self._elsewhere: dict[str, Path] = {}
        self._known_rot: Mapping[str, str] = {}
        self._previous: Mapping[str, FileEntry] = {}
        self.store = Store(Path(request.target))

    def execute(self) -> RunResult:
        """Make a whole snapshot, unless the source is as the newest one has it; return what came of it.

        Raises :class:`Misconfigured` (source and target overlap), :class:`Conflict` (the target is in
        use), :class:`Unavailable` (anything else that prevents its success) and :class:`Cancelled`. After an
        error nothing of the run is left on the target but what lets the next one resume.
        """
        try:
            self._check_source()
            self.store.check()
            self._check_overlap()
            with self.store.locked(self._control):
                target = self._marked()
                self.store.prepare()
                self.store.clean(self._control)
                return replace(self._run(), target=target)
        except OSError as error:
            raise target_fault(str(error.filename or self.store.target), error) from error

    # Before

    def _check_source(self) -> None:
        if not os.path.isdir(self._source):  # noqa: PTH112 -- Path.is_dir raises where it may not read
            remedy = "mount it, or correct backup.source"
            raise Unavailable("read the source", str(self._source), reason="it is no folder", remedy=remedy)

    def _check_overlap(self) -> None:
        """Refuse a source and a target of which one lies in the other, also by another mount of it."""
        source, target = self._source.resolve(), self.store.target.resolve()
        for upper, lower in ((source, target), (target, source)):
            if any(each.samefile(upper) for each in (lower, *lower.parents)):
                reason = f"the target {self.store.target} and the source overlap"
                remedy = "choose a target outside the source, best on another disk"
                raise Misconfigured("back up", str(self._source), reason=reason, remedy=remedy)

    def _marked(self) -> str:
        """Return the id of the target; raises :class:`Unavailable` where it is none that may be filled."""
        target = self.store.target
        found = marker.examine(target, "" if self._request.adopt else self._request.expected)
        verdict, reason, remedy = marker.decide(found)
        if verdict is marker.Verdict.REFUSE and not (self._request.adopt and found.marker is None):
            raise Unavailable("back up to", str(target), reason=reason, remedy=remedy)
        return (found.marker or marker.create(target, self._now)).id

    # The run

    def _run(self) -> RunResult:
        self._control.enter("listing")
        listing = list(scan(self._source, self._control.step))
        before = self._newest()
        proofs, _ = read_proofs(self.store.target)
        retire(self.store, proofs, self._control.step)
        self._known_rot = dict(proofs.rotten)
        plan = self._plan(listing, before, proofs)
        self._refuse_nothing(plan)
        left_out = dict(plan.left_out)
        if before is not None and self._is_unchanged(plan, before):
            proofs.confirmed[before.snapshot] = self._now
            write_proofs(self.store.target, proofs)
            return RunResult(
                "",
                before.snapshot,
                True,
                len(before.files),
                before.bytes,
                linked_files=len(before.files),
                linked_bytes=before.bytes,
                left_out=left_out,
                rotten=proofs.rotten,
                own_copies=not self.store.hard_links,
            )
        self._check_room(plan)
        build = _Build(self.store.begin(self._now), self._now, left_out=left_out)
        try:
            self._fill(build, plan)
            return self._publish(build, plan, before, proofs)
        except BaseException:
            with contextlib.suppress(OSError):  # the next run removes what can't be removed now
                remove_tree(build.folder, Control())
            raise

    def _newest(self) -> Manifest | None:
        """Return the newest whole snapshot of this source; one from the future if there is no other."""
        future = None
        for identity in reversed(self.store.identities()):
            manifest = self.store.listed(identity).manifest
            if manifest is not None and manifest.source == str(self._source):
                if manifest.created_at <= self._now:
                    return manifest
                future = future or manifest
        return future

    def _plan(self, listing: list[Entry], before: Manifest | None, proofs: Proofs) -> Plan:
        previous = {} if before is None else {file.path: file for file in before.files}
        self._previous = previous
        stored = self._stored(before, proofs)
        roots = (str(self._source), str(self._source.resolve()))
        return make_plan(listing, previous, stored=stored, roots=roots, exclude=self._request.exclude)

    def _stored(self, before: Manifest | None, proofs: Proofs) -> AbstractSet[str]:
        """Return the contents that the target has: as objects, or only in the newest snapshot.

        The latter where there are no hard links, and from before there were objects. A copy that is known to
        be damaged is none.
        """
        suspect = {key.partition(" ")[0] for key in proofs.damaged}
        stored = self.store.stored()
        if before is None:
            return stored
        for file in before.files:
            if file.sha256 not in stored and file.sha256 not in suspect:
                place = self.store.snapshots / before.snapshot / FILES / file.path
                if _is_whole(place, file.size):
                    self._elsewhere[file.sha256] = place
        return stored | self._elsewhere.keys()

    def _is_unchanged(self, plan: Plan, before: Manifest) -> bool:
        return (
            not (plan.copy or plan.aliases or plan.reread)
            and plan.link == before.files
            and plan.folders == before.folders
            and {link.path: link.target for link in plan.symlinks} == before.links
            and dict(plan.left_out) == before.left_out
        )

    def _refuse_nothing(self, plan: Plan) -> None:
        if plan.files == 0 and plan.left_out:
            raise self._nothing_readable(plan.left_out)
        if plan.files == 0:
            remedy = "check that it is mounted; an empty backup would look like a good one"
            raise Unavailable("back up", str(self._source), reason="it holds no files", remedy=remedy)

    def _nothing_readable(self, left_out: Mapping[str, str]) -> Unavailable:
        reason = f"nothing of it can be read: {_some(left_out)}"
        remedy = "let the daemon's user read it, or exclude it"
        return Unavailable("read the source", str(self._source), reason=reason, remedy=remedy)

    def _check_room(self, plan: Plan) -> None:
        status = os.statvfs(self.store.target)
        free = status.f_bavail * status.f_frsize
        needed = plan.bytes_to_store + self._request.reserve
        if needed > free:
            reason = f"{size_text(needed)} are needed with the reserve, {size_text(free)} are free"
            remedy = "free space, enlarge the target, or lower backup.reserve"
            raise Unavailable("back up to", str(self.store.target), reason=reason, remedy=remedy)

    # Filling the snapshot

    def _fill(self, build: _Build, plan: Plan) -> None:
        control = self._control
        with Copier(control, rate=self._request.rate, xattrs=self._request.xattrs) as copier:
            for folder in plan.folders:
                os.makedirs(build.folder / FILES / folder.path, exist_ok=True)  # noqa: PTH103 -- of each
                control.step()
            control.enter("copying", files=plan.files, total=plan.bytes_to_read)
            copy = [*plan.copy, *self._link(build, plan.link), *self._read_again(build, plan.reread, copier)]
            self._copy(build, copy, copier)
            self._alias(build, plan.aliases, copier)
        for link in plan.symlinks:
            _parent(build.folder / FILES / link.path).symlink_to(link.target)
            control.step()

    def _link(self, build: _Build, files: tuple[FileEntry, ...]) -> list[Entry]:
        """Link what is stored; return what can't be linked and has to be copied."""
        copy = []
        for known in files:
            if self._place(build, known):
                self._control.end_file()
            else:
                copy.append(_entry_of(known))
                build.expected[known.path] = known
        return copy

    def _place(self, build: _Build, known: FileEntry) -> bool:
        """Put a stored content into the snapshot; return False where the target can't share it."""
        destination = _parent(build.folder / FILES / known.path)
        elsewhere = self._elsewhere.get(known.sha256)
        if elsewhere is None:
            placed = self.store.place(known.sha256, destination)
        else:
            placed = share(elsewhere, destination)
            if placed:
                build.new.setdefault(known.sha256, destination)
        if placed:
            build.entries.append(known)
        return placed

    def _read_again(
        self, build: _Build, files: tuple[tuple[Entry, FileEntry], ...], copier: Copier
    ) -> list[Entry]:
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
                build.left_out[entry.path] = error.reason
                self._control.end_file()
                continue
            build.read_bytes += entry.size
            now = replace(_file_entry(entry, sha256, self._now), xattrs=known.xattrs)
            if sha256 == known.sha256:
                if self._place(build, now):
                    self._control.end_file()
                else:
                    copy.append(entry)
            elif known.ctime_ns not in (None, entry.ctime_ns) and self._known_rot.get(entry.path) != sha256:
                build.rewritten.append(entry.path)
                copy.append(entry)
            else:
                build.rotten[entry.path] = sha256
                self._retain(build, entry, known)
        return copy

    def _retain(self, build: _Build, entry: Entry, known: FileEntry) -> None:
        """Put the earlier content of a rotten file into the snapshot, where there is one."""
        known = replace(known, retained=_ROTTEN)
        if not self._place(build, known) and not self._copy_stored(build, known):
            build.left_out[entry.path] = f"{_ROTTEN}, and the target has no good copy"
        self._control.end_file()

    def _copy_stored(self, build: _Build, known: FileEntry) -> bool:
        """Copy what an earlier snapshot has, where the target can't share it; return whether it is right."""
        stored = self._elsewhere.get(known.sha256)
        if stored is None:
            return False
        destination = build.folder / FILES / known.path
        shutil.copy2(stored, destination)
        with destination.open("rb") as file:
            right = hashlib.file_digest(file, "sha256").hexdigest() == known.sha256
        if right:
            build.entries.append(known)
        else:
            destination.unlink()
        return right

    def _copy(self, build: _Build, entries: list[Entry], copier: Copier) -> None:
        waiting = [entry for entry in entries if not self._is_settled(entry)]
        fresh = {entry.path for entry in waiting}
        todo = [entry for entry in entries if entry.path not in fresh]
        for attempt in range(_AGAIN):
            changed = self._copy_all(build, todo, copier)
            todo = [now for entry in changed if (now := self._as_it_is(build, entry, attempt))]
        if waiting:
            self._settle(waiting)
            todo = [now for entry in waiting if (now := self._as_it_is(build, entry, 0))]
            for attempt in range(_AGAIN):
                changed = self._copy_all(build, todo, copier)
                todo = [now for entry in changed if (now := self._as_it_is(build, entry, attempt))]

    def _copy_all(self, build: _Build, entries: list[Entry], copier: Copier) -> list[Entry]:
        """Copy files; return those that changed meanwhile."""
        files = build.folder / FILES
        jobs = ((entry, _parent(files / entry.path)) for entry in entries)
        changed = []
        for entry, outcome in copier.copy_many(self._source, jobs, self.store.partial):
            if isinstance(outcome, Copied):
                self._copied(build, entry, outcome, files / entry.path)
            elif isinstance(outcome, SourceChanged):
                changed.append(entry)
            else:
                build.left_out[entry.path] = outcome.reason
        return changed

    def _copied(self, build: _Build, entry: Entry, copied: Copied, place: Path) -> None:
        build.read_bytes += copied.read_bytes
        expected = build.expected.get(entry.path)
        if self._known_rot.get(entry.path) == copied.sha256:  # it was found before it was touched
            expected = self._previous.get(entry.path)
        if expected is not None and copied.sha256 != expected.sha256:
            place.unlink()
            build.rotten[entry.path] = copied.sha256
            self._retain(build, entry, expected)
            return
        made = replace(_file_entry(entry, copied.sha256, self._now), xattrs=copied.xattrs)
        build.entries.append(made)
        stored = build.new.get(copied.sha256, self.store.object_path(copied.sha256))
        if not self._share(build, stored, place):
            build.new.setdefault(copied.sha256, place)
            build.copied_files += 1
            build.copied_bytes += entry.size

    def _share(self, build: _Build, stored: Path, place: Path) -> bool:
        """Replace a file by the same content as it is stored already; return False where that can't be."""
        twin = build.folder / "twin"
        if not share(stored, twin):
            return False
        twin.replace(place)
        twin.unlink(missing_ok=True)  # a link is not replaced by another one of the same file
        return True

    def _alias(self, build: _Build, aliases: tuple[tuple[Entry, str], ...], copier: Copier) -> None:
        """Store hard links of the source: each is the file that was copied under another name."""
        made = {file.path: file for file in build.entries}
        copy = []
        for entry, path in aliases:
            same = made.get(path)
            if same is None or not self._alias_one(build, entry, same):
                copy.append(entry)
            else:
                self._control.end_file()
        self._copy(build, copy, copier)

    def _alias_one(self, build: _Build, entry: Entry, same: FileEntry) -> bool:
        destination = _parent(build.folder / FILES / entry.path)
        try:
            os.link(build.folder / FILES / same.path, destination, follow_symlinks=False)
        except OSError:
            return False
        build.entries.append(replace(same, path=entry.path))
        return True

    def _as_it_is(self, build: _Build, entry: Entry, attempt: int) -> Entry | None:
        """Return ``entry`` as the source has it now; None where it is no file (any more), or tried enough."""
        if attempt + 1 >= _AGAIN:
            build.left_out[entry.path] = "it was written to each time that it was read"
            return None
        try:
            now = entry_of(self._source, entry.path)
        except FileNotFoundError:
            return None  # as if it had not been there when the source was listed
        except OSError as error:
            build.left_out[entry.path] = os.strerror(error.errno or 0)
            return None
        if now.kind is not Kind.FILE:
            build.left_out[entry.path] = f"it has become a {now.kind.value} meanwhile"
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

    # The end

    def _publish(self, build: _Build, plan: Plan, before: Manifest | None, proofs: Proofs) -> RunResult:
        control = self._control
        control.enter("publishing")
        if not build.entries:
            raise self._nothing_readable(build.left_out)
        self.store.sync(control)
        for sha256, place in build.new.items():
            self.store.add(place, sha256)
            control.step()
        manifest = Manifest(
            snapshot=build.folder.name,
            source=str(self._source),
            created_at=build.created_at,
            files=tuple(sorted(build.entries, key=lambda entry: entry.path)),
            folders=plan.folders,
            links={link.path: link.target for link in plan.symlinks},
            left_out=build.left_out,
            copied_files=build.copied_files,
            copied_bytes=build.copied_bytes,
        )
        protected = self._protect(build, before)
        self.store.publish(build.folder, manifest, control)
        self._note(build, manifest, proofs)
        linked = len(manifest.files) - build.copied_files
        return RunResult(
            "",
            manifest.snapshot,
            False,
            len(manifest.files),
            manifest.bytes,
            build.copied_files,
            build.copied_bytes,
            linked,
            manifest.bytes - build.copied_bytes,
            build.read_bytes,
            build.left_out,
            proofs.rotten,
            tuple(build.rewritten),
            protected,
            not self.store.hard_links,
        )

    def _protect(self, build: _Build, before: Manifest | None) -> str:
        """Pin the snapshot before, where a file was rewritten under its old time: it may be the good one."""
        if not build.rewritten or before is None:
            return ""
        files = _some(dict.fromkeys(build.rewritten, ""))
        reason = f"has {files} as before it was rewritten under its old time"
        pins.add(self.store.target, before.snapshot, reason)
        return before.snapshot

    def _note(self, build: _Build, manifest: Manifest, proofs: Proofs) -> None:
        """Record what the run has found out beside the snapshot itself."""
        present = {file.path: file for file in manifest.files}
        for path in tuple(proofs.rotten):
            file = present.get(path)
            if file is None or (not file.retained and file.read_at == self._now):
                del proofs.rotten[path]
        proofs.rotten.update(build.rotten)
        known = set(self.store.identities())
        proofs.confirmed = {key: at for key, at in proofs.confirmed.items() if key in known}
        write_proofs(self.store.target, proofs)


def _is_whole(path: Path, size: int) -> bool:
    try:
        status = os.lstat(path)
    except OSError:
        return False
    return status.st_size == size


def _file_entry(entry: Entry, sha256: str, now: float) -> FileEntry:
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


def _parent(path: Path) -> Path:
    """Make the folder that ``path`` lies in, and return ``path``."""
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _some(found: Mapping[str, str], most: int = 5) -> str:
    """Return the first few of ``found`` for a message, each with its reason, and how many more there are."""
    named = [shown(path) + (f" ({why})" if why else "") for path, why in list(found.items())[:most]]
    rest = len(found) - most
    return ", ".join(named) + (f" and {rest} more" if rest > 0 else "")
