"""Folder of keys, whose every parent is safe, and files in it that are replaced whole or not at all.

A parent that others may write could be exchanged for one of theirs, and a link leads where they like: such a
path is refused. A folder is opened once, from the root down, without following a link, and everything in it
goes through that descriptor: what is renamed meanwhile leads nowhere else.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final, Self

from aiidpd.components.secrets.problem import Refused, SecretsError, words

LOCK: Final = ".lock"
FILE_MODE: Final = 0o600
FOLDER_MODE: Final = 0o700
_PARENT_MODE: Final = 0o755
_LIMIT: Final = 1 << 20  # bytes of a file in it
_SHOWN: Final = 0o7777
_TEMPORARY: Final = ".tmp"
_NO_LINK: Final = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PASS: Final = os.O_PATH | _NO_LINK  # a parent need not be readable


class KeyFolder:
    """Folder at ``path``; a context manager. Everything in it blocks."""

    def __init__(self, path: str, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @classmethod
    def open(cls, path: str, *, create: bool = False, private: bool = True) -> Self:
        """Open the folder, make it where it is missing and ``create`` is true.

        Raises :class:`SecretsError` where it is missing, :class:`Refused` where it is not safe: it or a
        parent is a link, belongs to somebody else, or others may write it; and where it is to be
        ``private``, others may read it.
        """
        whole = os.path.abspath(path)  # noqa: PTH100 -- pathlib would follow links
        names = [name for name in whole.split("/") if name]
        if not names:
            raise Refused("use", "/", reason="it is no folder for keys", remedy="give another one")
        descriptor = os.open("/", _PASS)
        try:
            for place, name in enumerate(names):
                here, last = f"/{'/'.join(names[: place + 1])}", place == len(names) - 1
                mode = FOLDER_MODE if last else _PARENT_MODE
                inner = _enter(descriptor, name, here, mode if create else None)
                os.close(descriptor)
                descriptor = inner
                _check(os.fstat(descriptor), here, private=private and last)
            try:
                return cls(whole, os.open(".", os.O_RDONLY | _NO_LINK, dir_fd=descriptor))
            except OSError as error:
                raise SecretsError("open", whole, reason=words(error), remedy="call this as root") from None
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Close the folder; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def at(self, name: str) -> str:
        """Return the path of the file ``name``."""
        return f"{self.path.rstrip('/')}/{name}"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for one process; raises :class:`SecretsError` where another one has it.

        What a call that was killed has left half written is removed.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(LOCK, flags, FILE_MODE, dir_fd=self._descriptor)
        except OSError as error:
            raise SecretsError("lock", self.path, reason=words(error), remedy="call this as root") from None
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SecretsError(
                    "change keys in",
                    self.path,
                    reason="another `aiidpctl secrets` is at it",
                    remedy="wait for it",
                ) from None
            self._sweep()
            yield
        finally:
            os.close(descriptor)

    def facts(self, name: str) -> os.stat_result | None:
        """Return the facts of the file ``name``, of a link itself; None where there is none."""
        try:
            return os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def read(self, name: str) -> bytes | None:
        """Return what the file ``name`` holds, None where there is none; raises :class:`SecretsError`."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(name, flags, dir_fd=self._descriptor)
        except FileNotFoundError:
            return None
        except OSError as error:
            reason = "it is a link" if error.errno == errno.ELOOP else words(error)
            raise SecretsError("read", self.at(name), reason=reason, remedy="call this as root") from None
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise SecretsError("read", self.at(name), reason="it is no file", remedy="remove it")
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                data = file.read(_LIMIT + 1)
        finally:
            os.close(descriptor)
        if len(data) > _LIMIT:
            raise SecretsError("read", self.at(name), reason=f"it is larger than {_LIMIT} bytes")
        return data

    def write(self, name: str, data: bytes, *, uid: int = -1, gid: int = -1, mode: int = FILE_MODE) -> None:
        """Make the file ``name`` hold ``data``; it is on the disk on return.

        It is for its owner alone, or has ``mode``. It belongs to ``uid`` and ``gid``, -1: to this process.
        Raises :class:`SecretsError`; then it is as it was. A link of that name is replaced, not followed.
        """
        temporary = f".{name}{_TEMPORARY}"
        try:
            self._remove(temporary)  # of a call that was killed, elsewhere than in a folder of keys
            self._write_new(temporary, data, uid, gid, mode)
            os.rename(temporary, name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
            os.fsync(self._descriptor)
        except OSError as error:
            with suppress(OSError):
                self._remove(temporary)
            remedy = "only root can give a file away" if error.errno == errno.EPERM else "see the disk"
            raise SecretsError("write", self.at(name), reason=words(error), remedy=remedy) from None

    def remove(self, name: str) -> None:
        """Remove the file ``name``, and what was half written of it; raises :class:`SecretsError`."""
        self.discard(name)
        try:
            self._remove(name)
            os.fsync(self._descriptor)
        except OSError as error:
            raise SecretsError("remove", self.at(name), reason=words(error)) from None

    def discard(self, name: str) -> None:
        """Remove what a call that was killed has left half written of the file ``name``."""
        with suppress(OSError):
            self._remove(f".{name}{_TEMPORARY}")

    def _write_new(self, name: str, data: bytes, uid: int, gid: int, mode: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(name, flags, FILE_MODE, dir_fd=self._descriptor)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            if (uid, gid) not in ((-1, -1), (os.geteuid(), os.getegid())):
                os.fchown(descriptor, uid, gid)
            file.write(data)
            file.flush()
            os.fsync(descriptor)

    def _sweep(self) -> None:
        for name in os.listdir(self._descriptor):  # noqa: PTH208 -- by its descriptor
            if name.startswith(".") and name.endswith(_TEMPORARY):
                with suppress(OSError):
                    self._remove(name)

    def _remove(self, name: str) -> None:
        try:
            os.unlink(name, dir_fd=self._descriptor)
        except FileNotFoundError:
            return


def _enter(parent: int, name: str, here: str, mode: int | None) -> int:
    """Open the folder ``name`` in ``parent``; make a missing one with ``mode``, unless that is None."""
    try:
        return os.open(name, _PASS, dir_fd=parent)
    except FileNotFoundError:
        if mode is None:
            raise SecretsError(
                "open", here, reason="it does not exist", remedy="`aiidpctl secrets generate` makes it"
            ) from None
    except OSError as error:
        raise _unusable(parent, name, here, error) from None
    try:
        os.mkdir(name, mode, dir_fd=parent)
        os.chmod(name, mode, dir_fd=parent)  # whatever the umask
        _sync(parent)
        return os.open(name, _PASS, dir_fd=parent)
    except OSError as error:
        raise SecretsError("make folder", here, reason=words(error), remedy="call this as root") from None


def _sync(folder: int) -> None:
    """Wait until the names in the open ``folder`` are on the disk."""
    descriptor = os.open(".", os.O_RDONLY | _NO_LINK, dir_fd=folder)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unusable(parent: int, name: str, here: str, error: OSError) -> SecretsError:
    try:
        mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
    except OSError:
        mode = 0
    if stat.S_ISLNK(mode):
        return Refused("use", here, reason="it is a link", remedy="give the path without links")
    if mode and not stat.S_ISDIR(mode):
        return Refused("use", here, reason="it is no folder", remedy="give the path of a folder")
    return SecretsError("open", here, reason=words(error), remedy="call this as root")


def _check(facts: os.stat_result, here: str, *, private: bool) -> None:
    if facts.st_uid not in (0, os.geteuid()):
        raise Refused(
            "use",
            here,
            reason=f"it belongs to user {facts.st_uid}, who could exchange what is in it",
            remedy="give it to root, or use another folder",
        )
    others = facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if others and (private or not facts.st_mode & stat.S_ISVTX):
        raise Refused(
            "use", here, reason=f"others may write it ({_octal(facts)})", remedy=f"chmod go-w {here}"
        )
    if private and facts.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise Refused("use", here, reason=f"others may open it ({_octal(facts)})", remedy=f"chmod 700 {here}")


def _octal(facts: os.stat_result) -> str:
    return f"{stat.S_IMODE(facts.st_mode) & _SHOWN:o}"
