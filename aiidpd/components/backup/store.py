"""Target: whole snapshots under ``snapshots``, what is being made under ``incomplete``.

One rename makes a snapshot exist, after all of it is on the disk: whatever kills the daemon
leaves a snapshot whole or absent, and the next run removes the rest.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import math
import os
import re
import stat
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aiidpd.components.backup.cancel import RunControl
from aiidpd.components.backup.faults import target_fault
from aiidpd.components.backup.manifest import (
    FILES,
    FileEntry,
    Manifest,
    dump_manifest,
    dump_sums,
    load_manifest,
)
from aiidpd.components.backup.view import SnapshotInfo, mark, newest
from aiidpd.kernel.errors import Conflict, Unavailable
from aiidpd.platform.atomic import fsync_directory, write_atomic

MANIFEST = "manifest.json"
SUMS = "SHA256SUMS"
_STAMP = "%Y%m%dT%H%M%SZ"
_ID = re.compile(r"\d{8}T\d{6}Z")


class Store:
    """Snapshots in the folder ``target``, which exists. All methods block.

    ``patience`` is how many seconds a run waits for the lock: one that was cancelled gives up soon.
    """

    def __init__(self, target: Path, patience: float = 5.0) -> None:
        self.target = target
        self._patience = patience
        self.snapshots = target / "snapshots"
        self.incomplete = target / "incomplete"
        self._known: dict[str, tuple[tuple[int, int, int], SnapshotInfo]] = {}

    def check(self) -> None:
        """Raise :class:`Unavailable` where the target is no folder. It may be unmounted: it is not made."""
        if not os.path.isdir(self.target):  # noqa: PTH112 -- Path.is_dir raises where it may not read
            remedy = "mount it, create it, or correct backup.target"
            raise Unavailable(
                "use the backup target", str(self.target), reason="it is no folder", remedy=remedy
            )

    @contextlib.contextmanager
    def locked(self, control: RunControl) -> Iterator[None]:
        """Lock the target against every other run, also of another daemon; raises :class:`Conflict`."""
        descriptor = os.open(self.target / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            deadline = time.monotonic() + self._patience
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        reason = "another backup runs on it, or one that hangs still holds it"
                        remedy = "wait for it, or see which process has its .lock file open"
                        what = "lock the backup target"
                        raise Conflict(what, str(self.target), reason=reason, remedy=remedy) from None
                control.step()
                time.sleep(0.05)
            yield
        finally:
            os.close(descriptor)

    def clean(self, control: RunControl) -> int:
        """Remove what earlier runs left unfinished; return how many there were. Needs the lock."""
        leftovers = list(self.incomplete.iterdir()) if self.incomplete.is_dir() else []
        for leftover in leftovers:
            remove_tree(leftover, control)
        return len(leftovers)

    def begin(self, now: float) -> Path:
        """Make an empty folder for a snapshot of ``now`` (Unix seconds); its name is the snapshot's id."""
        self.snapshots.mkdir(exist_ok=True)
        self.incomplete.mkdir(exist_ok=True)
        fsync_directory(self.target)
        moment = datetime.fromtimestamp(now, UTC)
        while (self.snapshots / moment.strftime(_STAMP)).exists():
            moment += timedelta(seconds=1)
        build = self.incomplete / moment.strftime(_STAMP)
        (build / FILES).mkdir(parents=True)
        return build

    def publish(self, build: Path, manifest: Manifest, control: RunControl) -> Path:
        """Write the lists into ``build``, flush all of it, and make it a snapshot; return its folder."""
        listed = dump_manifest(manifest)
        write_atomic(build / MANIFEST, listed, mode=0o444)
        write_atomic(build / SUMS, dump_sums(sums_of(manifest, listed)), mode=0o444)
        for folder, _, _ in os.walk(build, topdown=False):
            control.step()
            fsync_directory(Path(folder))
        fsync_directory(self.incomplete)
        final = self.snapshots / build.name
        build.rename(final)
        fsync_directory(self.snapshots)
        fsync_directory(self.incomplete)
        return final

    def all(self) -> tuple[SnapshotInfo, ...]:
        """Return every snapshot, the oldest first; what is none, or is damaged, is listed as broken."""
        self.check()
        if not os.path.isdir(self.snapshots):  # noqa: PTH112 -- as above
            return ()
        try:
            names = sorted(path.name for path in self.snapshots.iterdir())
        except OSError as error:
            raise target_fault(str(self.snapshots), error) from error
        found = tuple(self._info(name) for name in names)
        self._known = {name: known for name, known in self._known.items() if name in set(names)}
        return found

    def newest(self, source: str, now: float) -> tuple[str, dict[str, FileEntry]]:
        """Return id and files by path of the newest whole snapshot of ``source``; ("", {}) for none.

        One that is from the future at ``now`` (Unix seconds) is it only where there is no other.
        """
        known = mark(self.all(), now)
        info = newest(known, source) or newest(mark(known, math.inf), source)
        return (info.id, {file.path: file for file in self.load(info.id).files}) if info else ("", {})

    def load(self, identity: str) -> Manifest:
        """Read the manifest of a snapshot; raises :class:`OSError` and :class:`ValueError`."""
        folder = self.snapshots / identity
        if not _ID.fullmatch(identity):
            raise ValueError("its name is not that of a snapshot")
        manifest = load_manifest((folder / MANIFEST).read_bytes())
        if manifest.snapshot != identity:
            raise ValueError(f"its manifest is that of {manifest.snapshot}")
        for part, right in ((SUMS, stat.S_ISREG), (FILES, stat.S_ISDIR)):
            if not right((folder / part).lstat().st_mode):
                raise ValueError(f"{part} is not what it should be")
        return manifest

    def _info(self, identity: str) -> SnapshotInfo:
        try:
            status = (self.snapshots / identity / MANIFEST).lstat()
            version = (status.st_ino, status.st_size, status.st_mtime_ns)
            if identity in self._known and self._known[identity][0] == version:
                return self._known[identity][1]
            manifest = self.load(identity)
        except OSError as error:
            name = Path(error.filename).name if error.filename else identity
            return SnapshotInfo(identity, broken=f"{name}: {os.strerror(error.errno or 0)}")
        except ValueError as error:
            return SnapshotInfo(identity, broken=str(error))
        info = info_of(manifest)
        self._known[identity] = (version, info)
        return info


def info_of(manifest: Manifest) -> SnapshotInfo:
    """Return the figures of ``manifest``."""
    total = manifest.bytes
    return SnapshotInfo(
        id=manifest.snapshot,
        source=manifest.source,
        created_at=manifest.created_at,
        verified_at=manifest.verified_at or 0.0,
        files=len(manifest.files),
        bytes=total,
        copied_files=manifest.copied_files,
        copied_bytes=manifest.copied_bytes,
        linked_files=len(manifest.files) - manifest.copied_files,
        linked_bytes=total - manifest.copied_bytes,
        refused=len(manifest.refused),
    )


def list_snapshots(target: Path) -> tuple[SnapshotInfo, ...]:
    """Return the snapshots under ``target``, the oldest first. Blocks; raises :class:`Unavailable`."""
    return Store(target).all()


def remove_tree(path: Path, control: RunControl) -> None:
    """Remove ``path`` and all below it, showing life; links are removed, not followed."""
    if not path.is_symlink() and path.is_dir():
        for folder, folders, files in os.walk(path, topdown=False):
            for name in files:
                Path(folder, name).unlink()
                control.step()
            for name in folders:
                child = Path(folder, name)
                if child.is_symlink():
                    child.unlink()
                else:
                    child.rmdir()
        path.rmdir()
    else:
        path.unlink()


def sums_of(manifest: Manifest, listed: bytes) -> dict[str, str]:
    """Return the content of SHA256SUMS: every file by its path in the snapshot, and manifest.json."""
    sums = {f"{FILES}/{file.path}": file.sha256 for file in manifest.files}
    sums[MANIFEST] = hashlib.sha256(listed).hexdigest()
    return sums
