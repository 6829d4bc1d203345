"""Folder that is restored to: opened part by part, so that no symbolic link in it leads a write elsewhere."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

from aiidpd.components.backup.process.manifest import FileEntry, FolderEntry
from aiidpd.components.backup.process.plan import Entry, Kind

_WALK: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LIST: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_CREATE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_PRIVATE: Final = 0o700
_SET_ID: Final = stat.S_ISUID | stat.S_ISGID
_UNFINISHED: Final = re.compile(r"\.aiidpd-restore-[0-9a-f]{16}\.part")


class Destination:
    """Open folder ``root``; use it, and each :meth:`another`, as a context manager in one thread.

    Paths are relative to it. A part of a path that is a symbolic link raises :class:`OSError`, whoever has
    put it there and whenever. The root's own owner, mode and times are never set.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._root = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._open: list[tuple[str, int]] = []  # the folder used last: its parts, each with its descriptor

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close(0)
        os.close(self._root)

    @property
    def place(self) -> Path:
        """Path of the open folder itself, also where its name has been given to another."""
        return Path(f"/proc/self/fd/{self._root}")

    def another(self) -> Destination:
        """Return one of the same folder, for another thread."""
        return Destination(self.place)

    def free(self) -> int:
        """Return the bytes that may be written to its file system."""
        status = os.fstatvfs(self._root)
        return status.f_bavail * status.f_frsize

    def entry(self, path: str) -> Entry | None:
        """Return what is at ``path``, None for nothing; raises :class:`OSError`."""
        try:
            folder, name = self._parent(path)
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            target = os.readlink(name, dir_fd=folder) if stat.S_ISLNK(status.st_mode) else ""
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if error.errno == errno.ELOOP:  # a link above it, which has an entry of its own
                return None
            raise
        return Entry(
            path,
            _kind(status.st_mode),
            status.st_size,
            status.st_mtime_ns,
            stat.S_IMODE(status.st_mode),
            target,
            ctime_ns=status.st_ctime_ns,
            inode=(status.st_dev, status.st_ino),
        )

    def make_folder(self, path: str) -> None:
        """Make a folder, for nobody else until its mode is set."""
        folder, name = self._parent(path)
        os.mkdir(name, _PRIVATE, dir_fd=folder)

    def open(self, path: str) -> int:
        """Return a descriptor of the regular file ``path``, to read it."""
        folder, name = self._parent(path)
        return os.open(name, _READ, dir_fd=folder)

    def create(self, folder: str) -> tuple[str, int]:
        """Make a file with a temporary name in ``folder``; return its path and its descriptor."""
        path = unfinished(folder)
        parent, name = self._parent(path)
        return path, os.open(name, _CREATE, 0o600, dir_fd=parent)

    def symlink(self, target: str, path: str) -> None:
        """Make a symbolic link."""
        folder, name = self._parent(path)
        os.symlink(target, name, dir_fd=folder)

    def link(self, path: str, other: str) -> None:
        """Make ``other`` a hard link of the file ``path``."""
        descriptor = self.open(path)
        try:
            folder, name = self._parent(other)
            os.link(f"/proc/self/fd/{descriptor}", name, dst_dir_fd=folder, follow_symlinks=True)
        finally:
            os.close(descriptor)

    def expect(self, path: str, before: Entry | None) -> None:
        """Raise :class:`OSError` where ``path`` is not as it was ``before``."""
        if _version(self.entry(path)) != _version(before):
            raise OSError("something else has written to it meanwhile")

    def rename(self, temporary: str, path: str) -> None:
        """Give what has a temporary name in the same folder its own one."""
        folder, name = self._parent(path)
        os.rename(temporary.rpartition("/")[2], name, src_dir_fd=folder, dst_dir_fd=folder)

    def remove(self, path: str) -> None:
        """Remove a file or link, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            folder, name = self._parent(path)
            os.unlink(name, dir_fd=folder)

    def remove_unfinished(self, path: str) -> int:
        """Remove what a killed restore has left in the folder ``path``; return how many there were."""
        descriptor = os.open(".", _LIST, dir_fd=self._folder(path))
        try:
            names = [name for name in os.listdir(descriptor) if _UNFINISHED.fullmatch(name)]  # noqa: PTH208
            for name in names:
                os.unlink(name, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        return len(names)

    def finish_folder(self, entry: FolderEntry, *, owner: bool) -> None:
        """Give a folder the owner, mode and time that ``entry`` has."""
        parent, name = self._parent(entry.path)
        descriptor = os.open(name, _LIST, dir_fd=parent)
        try:
            if owner:
                os.fchown(descriptor, entry.uid, entry.gid)
            os.fchmod(descriptor, _mode(entry.mode, owner=owner))
            os.utime(descriptor, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(descriptor)

    def _parent(self, path: str) -> tuple[int, str]:
        folder, _, name = path.rpartition("/")
        return self._folder(folder), name

    def _folder(self, path: str) -> int:
        parts = path.split("/") if path else []
        same = 0
        for part, (opened, _) in zip(parts, self._open, strict=False):
            if part != opened:
                break
            same += 1
        self._close(same)
        for part in parts[same:]:
            above = self._open[-1][1] if self._open else self._root
            self._open.append((part, os.open(part, _WALK, dir_fd=above)))
        return self._open[-1][1] if self._open else self._root

    def _close(self, depth: int) -> None:
        while len(self._open) > depth:
            os.close(self._open.pop()[1])


def unfinished(folder: str) -> str:
    """Return a temporary path in ``folder`` that the next restore recognises."""
    name = f".aiidpd-restore-{os.urandom(8).hex()}.part"
    return f"{folder}/{name}" if folder else name


def dress(descriptor: int, entry: FileEntry, *, owner: bool, xattrs: bool) -> str:
    """Give an open file the owner, attributes, mode and time that ``entry`` has; return what can't be set.

    Without ``owner`` no set-user-ID bit is set either, and no attribute but those of users.
    """
    fault = ""
    if owner:
        os.fchown(descriptor, entry.uid, entry.gid)
    for name, value in entry.xattrs.items() if xattrs else ():
        if owner or name.startswith("user."):
            try:
                os.setxattr(descriptor, name, b64decode(value))
            except (OSError, ValueError) as error:
                why = os.strerror(error.errno or 0) if isinstance(error, OSError) else str(error)
                fault = f"its extended attribute {name} can't be set: {why}"
    os.fchmod(descriptor, _mode(entry.mode, owner=owner))
    os.utime(descriptor, ns=(entry.mtime_ns, entry.mtime_ns))
    return fault


@contextlib.contextmanager
def closing(descriptor: int) -> Iterator[int]:
    """Yield a descriptor, and close it."""
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _mode(mode: int, *, owner: bool) -> int:
    return mode & 0o7777 if owner else mode & 0o7777 & ~_SET_ID


def _version(entry: Entry | None) -> object:
    return None if entry is None else (entry.kind, entry.size, entry.mtime_ns, entry.inode)


def _kind(mode: int) -> Kind:
    if stat.S_ISREG(mode):
        return Kind.FILE
    if stat.S_ISDIR(mode):
        return Kind.FOLDER
    return Kind.SYMLINK if stat.S_ISLNK(mode) else Kind.SPECIAL
