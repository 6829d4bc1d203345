"""File before it is opened: whose it is, whether it may be used, and where a damaged one goes."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

from aiidpd.history import schema
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.errors import Misconfigured

_MAGIC = b"SQLite format 3\0"
_VERSION_AT, _MARK_AT, _HEADER = 60, 68, 100  # offsets that SQLite's file format fixes


def inspect(path: Path) -> None:
    """Check ``path`` without changing a byte; raises :class:`Misconfigured` where it can't be used.

    A file that is not there or is empty can be: a new history begins in it.
    """
    if not path.parent.is_dir():
        reason, remedy = f"there is no directory {path.parent}", "create it, or set daemon.state_directory"
        raise Misconfigured("open history", str(path), reason=reason, remedy=remedy)
    header = _header(path)
    for place in (path, path.parent):
        if place.exists() and not os.access(place, os.R_OK | os.W_OK):
            raise _refused(path, f"{place} is not writable for uid {os.geteuid()}")
    if not header:
        return
    if not header.startswith(_MAGIC) or len(header) < _HEADER:
        raise _foreign(path, "it is not an SQLite database")
    if path.with_name(path.name + "-journal").exists():
        return  # the very first transaction was cut short: SQLite takes it back, header and all
    if int.from_bytes(header[_MARK_AT : _MARK_AT + 4]) != schema.APPLICATION_ID:
        raise _foreign(path, "it is the database of another program")
    check_version(path, int.from_bytes(header[_VERSION_AT : _VERSION_AT + 4]))


def check_version(path: Path, version: int) -> None:
    """Raise :class:`Misconfigured` where ``version`` is of a later aiidpd."""
    known = len(schema.MIGRATIONS)
    if version > known:
        reason = f"it has schema version {version}, and this aiidpd knows versions up to {known}"
        remedy = "install the newer aiidpd again, or move the file away to begin a new history"
        raise Misconfigured("open history", str(path), reason=reason, remedy=remedy)


def set_aside(path: Path, clock: Clock) -> Path:
    """Rename the database and its companions to a name with the time in it, and return that name."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(clock.time()))
    aside, number = path.with_name(f"{path.name}.damaged-{stamp}"), 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.damaged-{stamp}-{number}")
    for suffix in ("-wal", "-shm", ""):
        companion = path.with_name(path.name + suffix)
        if companion.exists():
            companion.rename(aside.with_name(aside.name + suffix))
    return aside


def _header(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # before opening: a pipe would wait for its writer
            raise _foreign(path, "it is not a regular file")
        with path.open("rb") as file:
            return file.read(_HEADER)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise _refused(path, error.strerror or str(error)) from error


def _foreign(path: Path, reason: str) -> Misconfigured:
    remedy = "move it away; aiidpd will not overwrite it"
    return Misconfigured("open history", str(path), reason=reason, remedy=remedy)


def _refused(path: Path, reason: str) -> Misconfigured:
    remedy = "let the daemon's user read and write it"
    return Misconfigured("open history", str(path), reason=reason, remedy=remedy)
