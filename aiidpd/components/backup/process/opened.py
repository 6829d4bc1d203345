"""Files while they are copied: the one that is read, which must not change, and the one that is made."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from aiidpd.components.backup.process.faults import SourceChanged, source_fault, target_fault
from aiidpd.components.backup.process.plan import Entry
from aiidpd.components.backup.process.reading import open_source

_CREATE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_OTHER: Final = "it is not the file that was listed"
_WRITTEN: Final = "it was written to while it was read"
_UNKNOWN: Final = (0, 0)


@contextlib.contextmanager
def opened(source: Path, entry: Entry) -> Iterator[int]:
    """Yield a file of the folder ``source``, as :func:`open_listed` returns it."""
    descriptor = open_listed(source, entry)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def open_listed(source: Path, entry: Entry) -> int:
    """Return a descriptor of a file of the folder ``source``; :func:`confirm` is for afterwards.

    Raises :class:`SourceChanged` where it is not ``entry``, :class:`SourceUnreadable` where it can't be
    opened.
    """
    try:
        descriptor = open_source(f"{source}/{entry.path}")
    except FileNotFoundError:
        raise SourceChanged("it is gone") from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise SourceChanged("it is a symbolic link now") from None
        if error.errno == errno.ENXIO:
            raise SourceChanged("it is a socket now") from None
        raise source_fault(entry.path, error) from error
    try:
        _check(descriptor, entry, _OTHER)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def confirm(descriptor: int, entry: Entry) -> None:
    """Raise :class:`SourceChanged` where an open file has changed since it was listed as ``entry``."""
    _check(descriptor, entry, _WRITTEN)


@contextlib.contextmanager
def created(path: Path, entry: Entry) -> Iterator[int]:
    """Yield a new file, for reading and writing; it is finished after the block, or removed on an error.

    Raises :class:`Unavailable`.
    """
    try:
        descriptor = os.open(path, _CREATE, 0o600)
    except OSError as error:
        raise target_fault(entry.path, error) from error
    try:
        yield descriptor
        finish(descriptor, entry)
    except BaseException as error:
        discard(path, entry, error)
        raise
    finally:
        os.close(descriptor)


def create(path: Path, entry: Entry, modes: dict[int, bool]) -> int:
    """Return a descriptor of a new file, for reading and writing, that has the mode of a copy already.

    ``modes`` has for each mode if a new file gets it whole: a mask of the process, or an access list of the
    folder, may take bits away. Raises :class:`Unavailable`.
    """
    mode = _mode(entry)
    try:
        descriptor = os.open(path, _CREATE, mode)
    except OSError as error:
        raise target_fault(entry.path, error) from error
    try:
        if mode not in modes:
            modes[mode] = os.fstat(descriptor).st_mode & 0o7777 == mode
        if not modes[mode]:
            os.fchmod(descriptor, mode)
    except OSError as error:
        os.close(descriptor)
        discard(path, entry, error)
        raise
    return descriptor


def discard(path: Path, entry: Entry, error: BaseException) -> None:
    """Remove a copy that ``error`` ended; raises :class:`Unavailable` for one of the target."""
    with contextlib.suppress(OSError):  # the first error is the one to raise
        path.unlink()
    if isinstance(error, OSError):
        raise target_fault(entry.path, error) from error


def finish(descriptor: int, entry: Entry) -> None:
    """Give a copy the mode and time of its source; raises :class:`OSError`."""
    os.fchmod(descriptor, _mode(entry))
    set_time(descriptor, entry)


def set_time(descriptor: int, entry: Entry) -> None:
    """Give a copy the time of its source; raises :class:`OSError`."""
    os.utime(descriptor, ns=(entry.mtime_ns, entry.mtime_ns))


def read_xattrs(descriptor: int) -> dict[str, str]:
    """Return the extended attributes of an open file, their values in base64; none where it has no such."""
    try:
        names = os.listxattr(descriptor)
        return {name: b64encode(os.getxattr(descriptor, name)).decode("ascii") for name in sorted(names)}
    except OSError:
        return {}


def _mode(entry: Entry) -> int:
    """Return the mode of a copy: snapshots share files, so nobody may write to one."""
    return (entry.mode & 0o555) | 0o400


def _check(descriptor: int, entry: Entry, otherwise: str) -> None:
    try:
        found = os.fstat(descriptor)
    except OSError as error:
        raise source_fault(entry.path, error) from error
    if (
        not stat.S_ISREG(found.st_mode)
        or (found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        != (entry.size, entry.mtime_ns, entry.ctime_ns)
        or entry.inode not in (_UNKNOWN, (found.st_dev, found.st_ino))
    ):
        raise SourceChanged(otherwise)
