"""Damaged files that were replaced by good ones: the newest of them, in a folder of the target."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from aiidpd.components.backup.process.store import QUARANTINE

_MOST_FILES: Final = 20
_MOST_BYTES: Final = 8 << 30
_MOST_COPIED: Final = 64 << 20
"""Size in bytes of the largest file that is copied where there are no hard links."""


def set_aside(target: Path, path: Path, sha256: str) -> str:
    """Give the damaged file ``path`` a second name in the quarantine; return that, empty where it has none.

    ``path`` stays. Best effort: what is damaged may be unreadable, and healing it matters more. Blocks.
    """
    try:
        status = path.lstat()
        if status.st_size > _MOST_BYTES:
            return ""
        name = f"{QUARANTINE}/{sha256}.{status.st_ino}"
        place = target / name
        place.parent.mkdir(exist_ok=True)
        if not place.exists():
            _retain(path, place, status.st_size)
            _trim(place)
    except OSError:
        return ""
    return name if place.exists() else ""


def _retain(path: Path, place: Path, size: int) -> None:
    """Make ``place`` another name of ``path``, or a copy of it."""
    try:
        os.link(path, place, follow_symlinks=False)
    except OSError:
        if size <= _MOST_COPIED:
            try:
                shutil.copyfile(path, place, follow_symlinks=False)
            except OSError:
                place.unlink(missing_ok=True)
                raise


def _trim(newest: Path) -> None:
    """Remove the oldest files until the rest is within the bounds."""
    with os.scandir(newest.parent) as found:
        files = [(each.stat(follow_symlinks=False), each.path) for each in found]
    files.sort(key=lambda each: (each[1] != str(newest), -each[0].st_ctime_ns))
    total = 0
    for number, (status, path) in enumerate(files):
        total += status.st_size
        if number >= _MOST_FILES or total > _MOST_BYTES:
            os.unlink(path)  # noqa: PTH108 -- of each
