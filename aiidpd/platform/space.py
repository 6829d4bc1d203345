"""Room on a disk, as a result of a check."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from aiidpd.contracts.checks import CheckResult, failed, ok, warning

GIB: Final = 1 << 30
_FEW: Final = 0.02  # of all inodes


def room(folder: Path, *, little: int, least: int, what: str) -> Iterator[CheckResult]:
    """Yield what is free where ``folder`` lies: warning below ``little`` bytes, failed below ``least``."""
    facts = os.statvfs(folder)
    free, whole = facts.f_bavail * facts.f_frsize, facts.f_blocks * facts.f_frsize
    found = f"{what} {folder} has {free / GIB:.1f} of {whole / GIB:.1f} GiB free"
    cure = f"make room on its disk (du -xh {folder}), or use another"
    if free < least:
        yield failed(found, cure)
    elif free < little:
        yield warning(found, cure)
    else:
        yield ok(found)
    if facts.f_files and facts.f_favail < facts.f_files * _FEW:
        yield warning(f"{what} {folder} has room for {facts.f_favail} more files only", cure)
    if facts.f_flag & os.ST_RDONLY:
        yield failed(
            f"{what} {folder} is mounted read-only", "dmesg says whether the disk failed; remount it"
        )
