"""Listing of the source, for the plan."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from aiidpd.components.backup.process.plan import Entry, Kind

_BLOCK = 512  # bytes, the unit of st_blocks whatever the file system


def scan(source: Path, step: Callable[[], None]) -> Iterator[Entry]:
    """Yield every entry below ``source``; links are not followed.

    ``step`` is called for each entry. What vanishes after it was listed is left out; a folder
    that can't be read is yielded as such, for the plan to excuse or not. Blocks.
    """
    root = os.fspath(source)
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(f"{root}/{folder}") as found:
                items = list(found)
        except OSError as error:
            yield Entry(folder or ".", Kind.UNREADABLE, note=os.strerror(error.errno or 0))
            continue
        prefix = f"{folder}/" if folder else ""
        for item in items:
            step()
            path = prefix + item.name
            try:
                status = item.stat(follow_symlinks=False)
                entry = _entry(path, status, item.path)
            except FileNotFoundError:
                continue
            if entry.kind is Kind.FOLDER:
                folders.append(path)
            yield entry


def entry_of(source: Path, path: str) -> Entry:
    """Return the entry for ``path`` below ``source`` as it is now; raises :class:`OSError`."""
    full = os.fspath(source / path)
    return _entry(path, os.lstat(full), full)


def _entry(path: str, status: os.stat_result, full: str) -> Entry:
    mode = status.st_mode
    if stat.S_ISREG(mode):
        kind, target = Kind.FILE, ""
    elif stat.S_ISDIR(mode):
        kind, target = Kind.FOLDER, ""
    elif stat.S_ISLNK(mode):
        return Entry(path, Kind.SYMLINK, target=os.readlink(full))  # noqa: PTH115 -- of each
    else:
        return Entry(path, Kind.SPECIAL)
    return Entry(
        path,
        kind,
        status.st_size if kind is Kind.FILE else 0,
        status.st_mtime_ns,
        stat.S_IMODE(mode),
        target,
        "",
        status.st_ctime_ns,
        (status.st_dev, status.st_ino),
        status.st_uid,
        status.st_gid,
        status.st_blocks * _BLOCK,
    )
