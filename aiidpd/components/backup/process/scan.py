"""Listing of the source, for the plan."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from aiidpd.components.backup.process.listing import Fingerprint, walk
from aiidpd.components.backup.process.plan import Entry, Kind

_BLOCK = 512  # bytes, the unit of st_blocks whatever the file system


def scan(source: Path, step: Callable[[], None], fingerprint: Fingerprint | None = None) -> Iterator[Entry]:
    """Yield every entry below ``source``; links are not followed.

    ``step`` is called for each entry. What vanishes after it was listed is left out; a folder
    that can't be read is yielded as such, for the plan to excuse or not. ``fingerprint`` is that of all that
    was yielded, in the end. Blocks.
    """
    for folder, items, fault in walk(os.fspath(source), step):
        if fingerprint is not None:
            fingerprint.add(folder, items, fault)
        if fault:
            yield Entry(folder or ".", Kind.UNREADABLE, note=os.strerror(fault))
        prefix = f"{folder}/" if folder else ""
        for name, status, target in items:
            step()
            yield _entry(prefix + name, status, target)


def entry_of(source: Path, path: str) -> Entry:
    """Return the entry for ``path`` below ``source`` as it is now; raises :class:`OSError`."""
    full = os.fspath(source / path)
    status = os.lstat(full)
    return _entry(path, status, os.readlink(full) if stat.S_ISLNK(status.st_mode) else "")  # noqa: PTH115


def _entry(path: str, status: os.stat_result, target: str) -> Entry:
    mode = status.st_mode
    if stat.S_ISREG(mode):
        kind = Kind.FILE
    elif stat.S_ISDIR(mode):
        kind = Kind.FOLDER
    elif stat.S_ISLNK(mode):
        return Entry(path, Kind.SYMLINK, target=target)
    else:
        return Entry(path, Kind.SPECIAL)
    return Entry(
        path,
        kind,
        status.st_size if kind is Kind.FILE else 0,
        status.st_mtime_ns,
        stat.S_IMODE(mode),
        "",
        "",
        status.st_ctime_ns,
        (status.st_dev, status.st_ino),
        status.st_uid,
        status.st_gid,
        status.st_blocks * _BLOCK,
    )
