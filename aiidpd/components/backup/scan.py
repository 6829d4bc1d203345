"""Listing of the source, for the plan."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from aiidpd.components.backup.plan import Entry, Kind


def scan(source: Path, step: Callable[[], None]) -> Iterator[Entry]:
    """Yield every entry below ``source`` but plain folders; links are not followed.

    ``step`` is called for each entry. What vanishes after it was listed is left out; a folder
    that can't be read is yielded as such, for the plan to excuse or not. Blocks.
    """
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(source / folder) as found:
                names = sorted(entry.name for entry in found)
        except OSError as error:
            yield Entry(folder or ".", Kind.UNREADABLE, note=os.strerror(error.errno or 0))
            continue
        for name in names:
            step()
            path = f"{folder}/{name}" if folder else name
            try:
                if stat.S_ISDIR(os.lstat(source / path).st_mode):
                    folders.append(path)
                else:
                    yield entry_of(source, path)
            except FileNotFoundError:
                continue


def entry_of(source: Path, path: str) -> Entry:
    """Return the entry for ``path`` below ``source`` as it is now; raises :class:`OSError`."""
    full = source / path
    status = os.lstat(full)
    if stat.S_ISLNK(status.st_mode):
        return Entry(path, Kind.SYMLINK, target=str(full.readlink()))
    if not stat.S_ISREG(status.st_mode):
        return Entry(path, Kind.SPECIAL)
    mode = stat.S_IMODE(status.st_mode)
    return Entry(path, Kind.FILE, status.st_size, status.st_mtime_ns, mode)
