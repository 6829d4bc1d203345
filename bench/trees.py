"""Files to back up, and a page cache and a disk in a known state, for benchmarks of backups."""

from __future__ import annotations

import ctypes
import os
import random
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

MEBIBYTE: Final = 1 << 20


def make_large(folder: Path, mebibytes: Sequence[int]) -> None:
    """Fill ``folder`` with a file of random bytes for each size."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, size in enumerate(mebibytes):
        with (folder / f"model-{index}.safetensors").open("wb") as file:
            for _ in range(size):
                file.write(os.urandom(MEBIBYTE))


def make_small(folder: Path, count: int, least: int = 4096, most: int = 65536) -> None:
    """Fill ``folder`` with ``count`` files of ``least`` to ``most`` bytes, in folders of a hundred."""
    numbers = random.Random(1)
    for index in range(count):
        place = folder / f"{index // 100:03}" / f"{index}.json"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(os.urandom(numbers.randint(least, most)))


def size_of(folder: Path) -> int:
    """Return the bytes of all files below ``folder``."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def evict(folder: Path) -> None:
    """Take all files below ``folder`` out of the page cache."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            descriptor = os.open(path, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def sync(path: Path) -> None:
    """Have all that was written to the file system of ``path`` on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    ctypes.CDLL(None).syncfs(descriptor)
    os.close(descriptor)


def run(
    *command: str | Path, folder: Path | None = None, environment: Mapping[str, str] | None = None
) -> None:
    """Run a command to its end, in ``folder``."""
    subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **(environment or {})},
        check=True,
        stdout=subprocess.DEVNULL,
    )
