"""Target: whole snapshots under ``snapshots``, each content once under ``objects``.

One rename makes a snapshot exist, after all of it is on the disk: whatever kills the process
leaves a snapshot whole or absent, and the next run removes the rest.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import re
import stat
import time
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from aiidpd.components.backup.process import layout
from aiidpd.components.backup.process.control import Control
from aiidpd.components.backup.process.faults import target_fault
from aiidpd.components.backup.process.listing import Fingerprint, names_below
from aiidpd.components.backup.process.lists import proves
from aiidpd.components.backup.process.manifest import (
    FILES,
    MANIFEST,
    SUMS,
    Manifest,
    dump_manifest,
    dump_sums,
    is_digest,
    load_manifest,
    sums_of,
)
from aiidpd.kernel.errors import Conflict, Unavailable
from aiidpd.platform.atomic import fsync_directory, write_atomic

OBJECTS: Final = layout.OBJECTS
SNAPSHOTS: Final = layout.SNAPSHOTS
INCOMPLETE: Final = layout.INCOMPLETE
PARTIAL: Final = layout.PARTIAL
"""Copies of big files that were cut short, and can be resumed."""
QUARANTINE: Final = "quarantine"
STAMP: Final = "%Y%m%dT%H%M%SZ"
"""Form of the name of a snapshot: when it was made."""
_ID: Final = re.compile(r"\d{8}T\d{6}Z")
_NO_LINKS: Final = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTSUP)
_TOO_MANY: Final = (errno.EMLINK,)
_FICLONE: Final = 0x40049409


@dataclass(frozen=True, slots=True)
class Listed:
    """A folder under ``snapshots``; ``manifest`` is None where it is broken, for the reason ``broken``."""

    id: str
    manifest: Manifest | None
    broken: str = ""


class Store:
    """Snapshots and contents in the folder ``target``, which exists. All methods block.

    ``patience`` is how many seconds a run waits for the lock: one that was cancelled gives up soon.
    """

    def __init__(self, target: Path, patience: float = 5.0) -> None:
        self.target = target
        self._patience = patience
        self.snapshots = target / SNAPSHOTS
        self.incomplete = target / INCOMPLETE
        self.objects = target / OBJECTS
        self.partial = target / PARTIAL
        self.hard_links = True
        """False once the file system has refused a hard link: then each snapshot has copies of its own."""

    def check(self) -> None:
        """Raise :class:`Unavailable` where the target is no folder. It may be unmounted: it is not made."""
        if not os.path.isdir(self.target):  # noqa: PTH112 -- Path.is_dir raises where it may not read
            remedy = "mount it, create it, or correct backup.target"
            raise Unavailable(
                "use the backup target", str(self.target), reason="it is no folder", remedy=remedy
            )

    @contextlib.contextmanager
    def locked(self, control: Control) -> Iterator[None]:
        """Lock the target against every other run, also of another daemon; raises :class:`Conflict`."""
        descriptor = os.open(self.target / layout.LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
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

    def prepare(self) -> None:
        """Make the folders of a target."""
        for folder in (self.snapshots, self.incomplete, self.objects, self.partial):
            folder.mkdir(exist_ok=True)
        fsync_directory(self.target)

    def clean(self, control: Control) -> int:
        """Remove what earlier runs left unfinished; return how many there were. Needs the lock."""
        leftovers = list(self.incomplete.iterdir()) if self.incomplete.is_dir() else []
        for leftover in leftovers:
            remove_tree(leftover, control)
        return len(leftovers)

    def begin(self, now: float) -> Path:
        """Make an empty folder for a snapshot of ``now`` (Unix seconds); its name is the snapshot's id."""
        moment = datetime.fromtimestamp(now, UTC)
        while (self.snapshots / moment.strftime(STAMP)).exists():
            moment += timedelta(seconds=1)
        build = self.incomplete / moment.strftime(STAMP)
        (build / FILES).mkdir(parents=True)
        return build

    def publish(self, build: Path, manifest: Manifest, control: Control) -> Path:
        """Write the lists into ``build``, flush all of it, and make it a snapshot; return its folder."""
        listed = dump_manifest(manifest)
        write_atomic(build / MANIFEST, listed, mode=0o444)
        write_atomic(build / SUMS, dump_sums(sums_of(manifest, listed)), mode=0o444)
        self.sync(control)
        final = self.snapshots / build.name
        build.rename(final)
        fsync_directory(self.snapshots)
        fsync_directory(self.incomplete)
        return final

    def sync(self, control: Control) -> None:
        """Wait until everything written to the target's file system is on its disk."""
        control.step()
        sync_file_system(self.target)
        control.step()

    # Contents

    def object_path(self, sha256: str) -> Path:
        """Return where the content with this hash lies, or would."""
        return self.objects / sha256[:2] / sha256

    def stored(self, fingerprint: Fingerprint | None = None) -> set[str]:
        """Return the hashes of the contents that are stored; ``fingerprint`` is that of the names, then."""
        found: set[str] = set()
        with contextlib.suppress(FileNotFoundError):
            for folder, names in names_below(os.fspath(self.objects)):
                found.update(names)
                if fingerprint is not None:
                    fingerprint.add_names(folder, names)
        return found

    def add(self, path: Path, sha256: str) -> None:
        """Store the content of the file ``path``, which is on the disk, by its hash."""
        if self.hard_links:
            folder = f"{self.objects}/{sha256[:2]}"
            try:
                try:
                    os.link(path, f"{folder}/{sha256}", follow_symlinks=False)
                except FileNotFoundError:  # the first of its folder
                    os.makedirs(folder, exist_ok=True)  # noqa: PTH103 -- of each
                    os.link(path, f"{folder}/{sha256}", follow_symlinks=False)
            except FileExistsError:
                return
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                self.hard_links = False

    def place(self, sha256: str, destination: Path) -> bool:
        """Make ``destination`` the stored content ``sha256``; return False where it must be copied.

        By a hard link; by a clone of its extents where the file system has no (more) links.
        """
        return place(self.object_path(sha256), destination)

    # Snapshots

    def identities(self) -> list[str]:
        """Return the names under ``snapshots``, the oldest first; raises :class:`Unavailable`."""
        self.check()
        if not os.path.isdir(self.snapshots):  # noqa: PTH112 -- as above
            return []
        try:
            return sorted(path.name for path in self.snapshots.iterdir())
        except OSError as error:
            raise target_fault(str(self.snapshots), error) from error

    def all(self) -> Iterator[Listed]:
        """Yield every snapshot, the oldest first; what is none, or is damaged, is broken."""
        for identity in self.identities():
            yield self.listed(identity)

    def listed(self, identity: str) -> Listed:
        """Return one snapshot."""
        try:
            return Listed(identity, self.load(identity))
        except OSError as error:
            name = Path(error.filename).name if error.filename else identity
            return Listed(identity, None, f"{name}: {os.strerror(error.errno or 0)}")
        except ValueError as error:
            return Listed(identity, None, str(error))

    def load(self, identity: str) -> Manifest:
        """Read the manifest of a snapshot; raises :class:`OSError` and :class:`ValueError`."""
        folder = self.snapshots / identity
        if not is_identity(identity):
            raise ValueError("its name is not that of a snapshot")
        listed = (folder / MANIFEST).read_bytes()
        manifest = load_manifest(listed)
        if manifest.snapshot != identity:
            raise ValueError(f"its manifest is that of {manifest.snapshot}")
        for part, right in ((SUMS, stat.S_ISREG), (FILES, stat.S_ISDIR)):
            if not right((folder / part).lstat().st_mode):
                raise ValueError(f"{part} is not what it should be")
        if not proves((folder / SUMS).read_bytes(), listed):
            raise ValueError(f"{MANIFEST} is not the one that {SUMS} lists")
        return manifest

    def remove(self, identity: str, control: Control) -> None:
        """Remove a snapshot, whole in one moment, and the contents that no other has. Needs the lock."""
        doomed = self.incomplete / f"{identity}.removed"
        (self.snapshots / identity).rename(doomed)
        fsync_directory(self.snapshots)
        remove_tree(doomed, control)

    def unneeded(self, named: AbstractSet[str], control: Control) -> dict[str, int]:
        """Return the contents that no snapshot links, and that are not ``named``, each with its size."""
        found = {}
        for folder in self.objects.iterdir() if self.objects.is_dir() else ():
            for path in folder.iterdir() if folder.is_dir() and not folder.is_symlink() else ():
                control.step()
                status = path.lstat()
                if (
                    stat.S_ISREG(status.st_mode)
                    and status.st_nlink == 1
                    and is_digest(path.name)
                    and path.name[:2] == folder.name
                    and path.name not in named
                ):
                    found[path.name] = status.st_size
        return found

    def collect(self, control: Control, named: AbstractSet[str] = frozenset()) -> tuple[int, int]:
        """Remove contents that no snapshot links and that are not ``named``; return how many and how large.

        A snapshot that has clones, or has lost a file, names what it does not link. Needs the lock.
        """
        found = self.unneeded(named, control)
        for sha256 in found:
            control.step()
            self.object_path(sha256).unlink()
        return len(found), sum(found.values())


def is_identity(name: str) -> bool:
    """Return whether ``name`` is one that a snapshot may have."""
    return _ID.fullmatch(name) is not None


def place(stored: Path, destination: Path) -> bool:
    """Make ``destination`` the file ``stored``, by a link or a clone; return False where that can't be."""
    try:
        os.link(stored, destination, follow_symlinks=False)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno not in (*_NO_LINKS, *_TOO_MANY):
            raise
        return os.path.lexists(stored) and _clone(stored, destination)
    return True


def sync_file_system(path: Path) -> None:
    """Write out the whole file system that ``path`` lies on; raises :class:`OSError`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(path))
    finally:
        os.close(descriptor)


def remove_tree(path: Path, control: Control) -> None:
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


def _clone(stored: Path, destination: Path) -> bool:
    """Make ``destination`` share the extents of ``stored``; return False where that is not possible."""
    with open(stored, "rb") as reading, open(destination, "xb") as writing:  # noqa: PTH123
        try:
            fcntl.ioctl(writing, _FICLONE, reading.fileno())
        except OSError:
            destination.unlink()
            return False
        status = os.fstat(reading.fileno())
        os.fchmod(writing.fileno(), stat.S_IMODE(status.st_mode))
        os.utime(writing.fileno(), ns=(status.st_mtime_ns, status.st_mtime_ns))
    return True
