"""Folder that is restored to: opened part by part, so that no symbolic link in it leads a write elsewhere."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from base64 import b64decode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Self

from aiidpd.components.backup.process.manifest import FileEntry, FolderEntry
from aiidpd.components.backup.process.names import shown
from aiidpd.components.backup.process.plan import Entry, Kind

_WALK: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LIST: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_CREATE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_PRIVATE: Final = 0o700
_ALL: Final = 0o7777
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
        self._last: tuple[str, int] | None = None  # the folder used last, and its descriptor

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()
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

    def make_folder(self, path: str, *, private: bool) -> None:
        """Make a folder: for nobody else where its mode will be set, else as the umask says."""
        folder, name = self._parent(path)
        os.mkdir(name, _PRIVATE if private else 0o777, dir_fd=folder)

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

    def finish_folder(self, entry: FolderEntry, *, owner: bool) -> str:
        """Give a folder the owner, mode and time that ``entry`` has; return what can't be set."""
        parent, name = self._parent(entry.path)
        descriptor = os.open(name, _LIST, dir_fd=parent)
        with closing(descriptor):
            return _dress(descriptor, entry, owner=owner)

    def _parent(self, path: str) -> tuple[int, str]:
        folder, _, name = path.rpartition("/")
        return self._folder(folder), name

    def _folder(self, path: str) -> int:
        if not path:
            return self._root
        if self._last is None or self._last[0] != path:
            self._leave()
            self._last = path, self._walked(path)
        return self._last[1]

    def _walked(self, path: str) -> int:
        descriptor = os.dup(self._root)
        for part in path.split("/"):
            try:
                below = os.open(part, _WALK, dir_fd=descriptor)
            finally:
                os.close(descriptor)
            descriptor = below
        return descriptor

    def _leave(self) -> None:
        if self._last is not None:
            os.close(self._last[1])
            self._last = None


def unfinished(folder: str) -> str:
    """Return a temporary path in ``folder`` that the next restore recognises."""
    name = f".aiidpd-restore-{os.urandom(8).hex()}.part"
    return f"{folder}/{name}" if folder else name


def dress(descriptor: int, entry: FileEntry, *, owner: bool, xattrs: bool) -> str:
    """Give an open file the owner, attributes, mode and time that ``entry`` has; return what can't be set.

    Without ``owner`` no set-user-ID bit is set either, and no attribute but those of users.
    """
    fault = ""
    for name, value in entry.xattrs.items() if xattrs else ():
        if owner or name.startswith("user."):
            try:
                os.setxattr(descriptor, name, b64decode(value))
            except (OSError, ValueError) as error:
                why = os.strerror(error.errno or 0) if isinstance(error, OSError) else str(error)
                fault = f"its extended attribute {shown(name)} can't be set: {why}"
    return _dress(descriptor, entry, owner=owner) or fault


def _dress(descriptor: int, entry: FileEntry | FolderEntry, *, owner: bool) -> str:
    """Set owner, mode and time, in this order: a new owner takes bits away, and an old mode may be needed."""
    mode = entry.mode & (_ALL if owner else _ALL & ~_SET_ID)
    steps: list[tuple[str, Callable[[], None]]] = [
        ("mode", lambda: os.fchmod(descriptor, mode)),
        ("time", lambda: os.utime(descriptor, ns=(entry.mtime_ns, entry.mtime_ns))),
    ]
    if owner:
        steps.insert(0, ("owner", lambda: os.fchown(descriptor, entry.uid, entry.gid)))
    for name, act in steps:
        try:
            act()
        except (PermissionError, OverflowError) as error:
            why = os.strerror(error.errno or 0) if isinstance(error, OSError) else "it is no such number"
            return f"its {name} can't be set: {why}"
    return ""


@contextlib.contextmanager
def closing(descriptor: int) -> Iterator[int]:
    """Yield a descriptor, and close it."""
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _version(entry: Entry | None) -> object:
    return None if entry is None else (entry.kind, entry.size, entry.mtime_ns, entry.inode)


def _kind(mode: int) -> Kind:
    if stat.S_ISREG(mode):
        return Kind.FILE
    if stat.S_ISDIR(mode):
        return Kind.FOLDER
    return Kind.SYMLINK if stat.S_ISLNK(mode) else Kind.SPECIAL
