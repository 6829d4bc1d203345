"""One backup, stage by stage: prepare, copy, verify, publish. Blocks: the worker runs it in a thread."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from aiidpd.components.backup.cancel import RunControl
from aiidpd.components.backup.copy import Copier
from aiidpd.components.backup.faults import SourceChanged, source_fault, target_fault
from aiidpd.components.backup.manifest import FILES, FileEntry, Manifest
from aiidpd.components.backup.names import shown, size_text
from aiidpd.components.backup.plan import Entry, Kind, Plan, make_plan
from aiidpd.components.backup.scan import entry_of, scan
from aiidpd.components.backup.settings import BackupSettings
from aiidpd.components.backup.store import Store, info_of, remove_tree
from aiidpd.components.backup.view import SnapshotInfo
from aiidpd.kernel.errors import Misconfigured, Unavailable

_NAMED = 5  # paths that a message names before it counts the rest
_NO_HARD_LINK = (errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.ENOENT)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that has decided what to do: its plan, the folder it builds, the snapshot it links from."""

    plan: Plan
    build: Path
    previous: str
    created_at: float


class BackupRun:
    """A run from ``settings.source`` to ``settings.target``; ``now`` gives Unix seconds."""

    def __init__(self, settings: BackupSettings, control: RunControl, now: Callable[[], float]) -> None:
        if settings.source is None or settings.target is None:
            keys = " and ".join(settings.missing_keys)
            raise Misconfigured(
                "back up", "the models", reason=f"{keys} not set", remedy="set them in [backup]"
            )
        self._source = settings.source
        self._settings = settings
        self._control = control
        self._now = now
        self.store = Store(settings.target)

    def execute(self) -> SnapshotInfo:
        """Make a whole, verified snapshot and return its figures.

        Raises :class:`Misconfigured` (source and target overlap), :class:`Conflict` (the target is in
        use), :class:`Unavailable` (anything else that prevents its success) and
        :class:`Stopped`. After an error nothing of the run is left on the target.
        """
        try:
            self.check()
            with self.store.locked(self._control):
                self.store.clean(self._control)
                prepared = self.prepare()
                try:
                    with Copier(self._control) as copier:
                        manifest = self.copy(prepared, copier)
                        manifest = self.verify(prepared, manifest, copier)
                    self._control.enter("publishing")
                    self.store.publish(prepared.build, manifest, self._control)
                except BaseException:
                    with contextlib.suppress(OSError):  # the next run removes what can't be removed now
                        remove_tree(prepared.build, RunControl())
                    raise
        except OSError as error:
            raise target_fault(str(error.filename or self.store.target), error) from error
        return info_of(manifest)

    def check(self) -> None:
        """Refuse a source and a target that can't be: absent, or one within the other."""
        self.store.check()
        if not os.path.isdir(self._source):  # noqa: PTH112 -- Path.is_dir raises where it may not read
            remedy = "mount it, or correct backup.source"
            raise Unavailable("read the source", str(self._source), reason="it is no folder", remedy=remedy)
        source, target = self._source.resolve(), self.store.target.resolve()
        if source.is_relative_to(target) or target.is_relative_to(source):
            reason = f"the target {self.store.target} and the source overlap"
            remedy = "choose a target outside the source, best on another disk"
            raise Misconfigured("back up", str(self._source), reason=reason, remedy=remedy)

    def prepare(self) -> Prepared:
        """List the source, plan, check that there is room, and begin a snapshot."""
        self._control.enter("listing")
        listing = list(scan(self._source, self._control.step))
        previous, known = self.store.newest(str(self._source), self._now())
        roots = (str(self._source), str(self._source.resolve()))
        plan = make_plan(listing, known, roots=roots, exclude=self._settings.exclude)
        plan = self._without_lost_files(plan, previous)
        if plan.unreadable:
            paths = _some([f"{shown(path)} ({reason})" for path, reason in plan.unreadable])
            remedy = "let the daemon's user read it, or exclude it"
            raise Unavailable("read all of the source", str(self._source), reason=paths, remedy=remedy)
        if plan.files == 0:
            remedy = "check that it is mounted; an empty backup would look like a good one"
            raise Unavailable("back up", str(self._source), reason="it holds no files", remedy=remedy)
        self._check_room(plan)
        now = self._now()
        return Prepared(plan, self.store.begin(now), previous, now)

    def copy(self, prepared: Prepared, copier: Copier) -> Manifest:
        """Fill the snapshot; return its manifest, in which copied files count as not verified yet."""
        plan, files = prepared.plan, prepared.build / FILES
        self._control.enter("copying", files=plan.files, total=plan.bytes_to_copy)
        entries = []
        copied_files = copied_bytes = 0
        for known in plan.link:
            linked = self._link(prepared, known)
            entries.append(linked or self._copy_one(_entry_of(known), files, copier))
            copied_files += linked is None
            copied_bytes += 0 if linked else entries[-1].size
            self._control.end_file()
        for entry in plan.copy:
            entries.append(self._copy_one(entry, files, copier))
            copied_files += 1
            copied_bytes += entries[-1].size
            self._control.end_file()
        for link in plan.symlinks:
            _parent(files / link.path).symlink_to(link.target)
            self._control.step()
        return Manifest(
            snapshot=prepared.build.name,
            source=str(self._source),
            created_at=prepared.created_at,
            files=tuple(sorted(entries, key=lambda entry: entry.path)),
            links={link.path: link.target for link in plan.symlinks},
            refused=dict(plan.refused),
            copied_files=copied_files,
            copied_bytes=copied_bytes,
        )

    def verify(self, prepared: Prepared, manifest: Manifest, copier: Copier) -> Manifest:
        """Read every copied file back from the target; return the manifest with the time of each.

        Raises :class:`Unavailable` that names the files which the target did not store as written.
        """
        copied = [file for file in manifest.files if file.verified_at is None]
        self._control.enter("verifying", files=len(copied), total=sum(file.size for file in copied))
        verified, damaged = {}, []
        for file in copied:
            read = copier.digest(prepared.build / FILES / file.path, file.path)
            if read == (file.sha256, file.size):
                verified[file.path] = self._now()
            else:
                damaged.append(shown(file.path))
            self._control.end_file()
        if damaged:
            reason = f"the target gave back other bytes than were written to {_some(damaged)}"
            remedy = "distrust the target's disk, cable and memory: run smartctl and a memory test"
            raise Unavailable("verify the copy in", str(self.store.target), reason=reason, remedy=remedy)
        files = tuple(
            replace(file, verified_at=verified.get(file.path, file.verified_at)) for file in manifest.files
        )
        return replace(manifest, files=files, verified_at=self._now())

    def _copy_one(self, entry: Entry, files: Path, copier: Copier) -> FileEntry:
        """Copy one file; one that changed meanwhile is tried once more as it is now."""
        destination = _parent(files / entry.path)
        try:
            digest = copier.copy(self._source, entry, destination)
        except SourceChanged:
            try:
                entry = entry_of(self._source, entry.path)
                digest = copier.copy(self._source, entry, destination)
            except OSError as error:
                raise source_fault(entry.path, error) from error
            except SourceChanged as error:
                what, remedy = "copy the source file", "back up when it is at rest, or exclude it"
                raise Unavailable(what, shown(entry.path), reason=str(error), remedy=remedy) from error
        return FileEntry(entry.path, entry.size, entry.mtime_ns, entry.mode, digest)

    def _link(self, prepared: Prepared, known: FileEntry) -> FileEntry | None:
        """Link an unchanged file from the previous snapshot; None where the target can't."""
        old = self.store.snapshots / prepared.previous / FILES / known.path
        try:
            os.link(old, _parent(prepared.build / FILES / known.path), follow_symlinks=False)
        except OSError as error:
            if error.errno in _NO_HARD_LINK:
                return None
            raise
        return known

    def _without_lost_files(self, plan: Plan, previous: str) -> Plan:
        """Plan to copy what the previous snapshot has lost, or holds at another size."""
        link, copy = [], list(plan.copy)
        for known in plan.link:
            self._control.step()
            try:
                status = os.lstat(self.store.snapshots / previous / FILES / known.path)
                intact = stat.S_ISREG(status.st_mode) and status.st_size == known.size
            except OSError:
                intact = False
            if intact:
                link.append(known)
            else:
                copy.append(_entry_of(known))
        return replace(plan, link=tuple(link), copy=tuple(copy))

    def _check_room(self, plan: Plan) -> None:
        status = os.statvfs(self.store.target)
        free = status.f_bavail * status.f_frsize
        needed = plan.bytes_to_copy + self._settings.reserve
        if needed > free:
            reason = f"{size_text(needed)} are needed with the reserve, {size_text(free)} are free"
            remedy = "free space, enlarge the target, or lower backup.reserve"
            raise Unavailable("back up to", str(self.store.target), reason=reason, remedy=remedy)


def _entry_of(known: FileEntry) -> Entry:
    return Entry(known.path, Kind.FILE, known.size, known.mtime_ns, known.mode)


def _parent(path: Path) -> Path:
    """Make the folder that ``path`` lies in, and return ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _some(names: list[str]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
