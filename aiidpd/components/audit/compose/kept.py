"""Changes of files that can be undone: what was there before lies beside the file until the next change."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Final

from aiidpd.components.audit.compose.document import LARGEST, read
from aiidpd.components.audit.compose.problem import ComposeError
from aiidpd.kernel.errors import Misconfigured
from aiidpd.platform.atomic import write_atomic
from aiidpd.platform.readfile import read_small

_SUFFIX: Final = ".aiidpd-undo"
_VERSION: Final = 1


def copy_of(path: Path) -> Path:
    """Return where the former content of ``path`` lies."""
    return path.with_name(f".{path.name}{_SUFFIX}")


def change(path: Path, before: str, after: str) -> None:
    """Have ``path`` hold ``after``, and keep ``before``, which it must hold now. Blocks.

    Raises :class:`ComposeError`. Owner and mode stay as they are.
    """
    path = path.resolve()
    try:
        state = path.stat()
        if read(path) != before:
            raise ComposeError("somebody changed it meanwhile", file=str(path))
        digest = hashlib.sha256(after.encode()).hexdigest()
        document = {"version": _VERSION, "written": digest, "before": before}
        kept = copy_of(path)
        write_atomic(kept, json.dumps(document).encode(), mode=stat.S_IMODE(state.st_mode) & 0o600 or 0o600)
        _own(kept, state)
        write_atomic(path, after.encode(), mode=stat.S_IMODE(state.st_mode))
        _own(path, state)
    except OSError as error:
        raise ComposeError(
            f"it can't be written: {(error.strerror or 'error').lower()}", file=str(path)
        ) from None


def undo(path: Path) -> None:
    """Have ``path`` hold again what it held before the last change. Blocks; raises :class:`ComposeError`."""
    path = path.resolve()
    kept = copy_of(path)
    if not kept.exists():
        raise ComposeError("nothing was changed that could be undone", file=str(path))
    try:
        document = json.loads(read_small(kept, 8 * LARGEST))
        before, written = document["before"], document["written"]
        known = document["version"] == _VERSION and isinstance(before, str)
    except (Misconfigured, ValueError, KeyError, TypeError, RecursionError):
        known = False
    if not known:
        raise ComposeError("the copy of before can't be read", file=str(kept))
    if hashlib.sha256(read(path).encode()).hexdigest() != written:
        raise ComposeError(f"somebody changed it since; {kept} has what was before", file=str(path))
    try:
        state = path.stat()
        write_atomic(path, before.encode(), mode=stat.S_IMODE(state.st_mode))
        _own(path, state)
        kept.unlink()
    except OSError as error:
        raise ComposeError(
            f"it can't be written: {(error.strerror or 'error').lower()}", file=str(path)
        ) from None


def _own(path: Path, state: os.stat_result) -> None:
    """Give a file that was written anew the owner of the one before, where this user may."""
    if (state.st_uid, state.st_gid) != (os.geteuid(), os.getegid()):
        try:
            os.chown(path, state.st_uid, state.st_gid)
        except PermissionError:
            return
