"""Local snapshot that is sent: its folder, and how much lies in it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import anyio

from aiidpd.components.backup.offsite import rclone
from aiidpd.kernel.errors import Unavailable
from aiidpd.platform.thread import in_daemon_thread

FILES = "files"  # the folder in a snapshot that mirrors the source


@dataclass(frozen=True, slots=True)
class LocalSnapshot:
    """Newest whole snapshot on the target; ``created_at`` in Unix seconds."""

    id: str
    folder: Path
    created_at: float


@dataclass(frozen=True, slots=True)
class Measured:
    """Regular files below a folder and their bytes; ``paths`` those that were selected."""

    files: int
    bytes: int
    paths: tuple[str, ...] = ()


async def measure(snapshot: LocalSnapshot) -> Measured:
    """Return how much is in ``snapshot``; raises :class:`Unavailable` where it is empty or unreadable."""
    found = await _walk(snapshot.folder, 0, 0)
    if not found.files or not os.path.isdir(snapshot.folder / FILES):  # noqa: PTH112, ASYNC240 -- one stat
        remedy = "see that the target is mounted (`aiidpctl backup list`)"
        raise Unavailable("send", str(snapshot.folder), reason="it holds no files", remedy=remedy)
    return found


async def measure_folder(folder: Path) -> Measured:
    """Return how much is below ``folder``."""
    return await _walk(folder, 0, 0)


async def files_of_part(snapshot: LocalSnapshot, part: int, parts: int) -> Measured:
    """Return the files of ``snapshot`` that belong to the ``part`` of ``parts``."""
    return await _walk(snapshot.folder, part, parts)


async def size_of(snapshot: LocalSnapshot, paths: Iterable[str]) -> int:
    """Return the bytes of the ``paths`` in ``snapshot``; what is not there has none."""

    def add() -> int:
        total = 0
        for path in paths:
            with suppress(OSError, ValueError):
                total += os.lstat(snapshot.folder / path).st_size
        return total

    return await in_daemon_thread(add)


async def _walk(folder: Path, part: int, parts: int) -> Measured:
    cancelled = False

    def walk() -> Measured:
        files = size = 0
        paths = []
        for parent, _, names in os.walk(folder, onerror=_raise):
            for name in names:
                if cancelled:
                    return Measured(0, 0)
                path = os.path.join(parent, name)  # noqa: PTH118 -- of ten thousand files
                status = os.lstat(path)
                if not stat.S_ISREG(status.st_mode):
                    continue
                files, size = files + 1, size + status.st_size
                relative = os.path.relpath(path, folder)
                # A list of names has one a line.
                if parts and "\n" not in relative and rclone.part_of(relative, parts) == part:
                    paths.append(relative)
        return Measured(files, size, tuple(paths))

    try:
        return await in_daemon_thread(walk)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        remedy = "see that it is mounted and that the daemon's user may read it"
        raise Unavailable("read", str(error.filename or folder), reason=reason, remedy=remedy) from error
    except anyio.get_cancelled_exc_class():
        cancelled = True
        raise


def _raise(error: OSError) -> None:
    raise error
