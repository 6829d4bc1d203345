"""Errors of the operating system in words for whoever has to act on them."""

from __future__ import annotations

import errno
import os

from aiidpd.components.backup.process.names import shown
from aiidpd.kernel.errors import Unavailable

_FULL = (errno.ENOSPC, errno.EDQUOT)


class SourceUnreadable(Unavailable):
    """A file of the source that can't be read: the rest of it may be."""


def source_fault(path: str, error: OSError) -> SourceUnreadable:
    """Return the error for a file of the source that can't be read."""
    remedy = "check that it is mounted and that the daemon's user may read it"
    return SourceUnreadable("read the source", shown(path), reason=_reason(error), remedy=remedy)


def target_fault(path: str, error: OSError) -> Unavailable:
    """Return the error for a file or folder of the target that can't be written or read."""
    if error.errno in _FULL:
        what = "its file system is full" if error.errno == errno.ENOSPC else "its quota is used up"
        return Unavailable("write the target", shown(path), reason=what, remedy="free space or enlarge it")
    remedy = "check that it is mounted and that the daemon's user may write to it"
    return Unavailable("use the target", shown(path), reason=_reason(error), remedy=remedy)


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)


class SourceChanged(Exception):
    """A file differs from the listing, or from the read before. The run tries it once more."""
