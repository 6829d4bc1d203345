"""Folder that may be written to: it is there or can be made, is mounted, and overlaps with no target."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from aiidpd.components.backup.process import marker
from aiidpd.kernel.errors import AiidpdError, Misconfigured, Unavailable


def checked(folder: Path, target: Path, action: str, *, make: bool = True) -> Path:
    """Return ``folder``, made where it is missing and the one above it is there.

    Raises :class:`Misconfigured` where it lies in ``target`` or has it, or is a target itself, and
    :class:`Unavailable` where it can't be used.
    """
    if not folder.is_absolute():
        raise Misconfigured(
            action, str(folder), reason="its path is not absolute", remedy="name it from / on"
        )
    parent = folder if os.path.lexists(folder) else folder.parent
    if not os.path.isdir(parent):  # noqa: PTH112 -- Path.is_dir raises where it may not read
        raise fault(action, parent, OSError(errno.ENOTDIR, ""))
    _refuse_overlap(parent, folder.name if parent != folder else "", target, action)
    found = marker.examine(parent, "")
    if found.marker is not None:
        raise Misconfigured(
            action, str(folder), reason="it is a backup target", remedy="choose another folder"
        )
    if found.unmounted:
        reason = f"{found.unmounted} is not mounted, though /etc/fstab names it"
        raise Unavailable(action, str(folder), reason=reason, remedy=f"mount it: mount {found.unmounted}")
    if make and parent != folder:
        try:
            folder.mkdir()
        except OSError as error:
            raise fault(action, folder, error) from error
    if not os.access(folder if make else parent, os.W_OK | os.X_OK):
        remedy = "let the daemon's user write to it"
        raise Unavailable(action, str(folder), reason="it may not be written to", remedy=remedy)
    return folder


def fault(action: str, folder: Path, error: OSError) -> AiidpdError:
    """Return the error for a folder that can't be used."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        remedy = "free space there, and do it again: it goes on from where it was"
    else:
        remedy = "make the folder above it, mount its disk, and let the daemon's user write to it"
    return Unavailable(action, str(folder), reason=os.strerror(error.errno or 0), remedy=remedy)


def _refuse_overlap(parent: Path, name: str, target: Path, action: str) -> None:
    place, other = (parent / name).resolve(), target.resolve()
    try:
        inside = any(each.samefile(target) for each in (parent.resolve(), *parent.resolve().parents))
        around = not name and any(each.samefile(parent) for each in other.parents)
    except OSError as error:
        raise fault(action, parent, error) from error
    if inside or around:
        reason = f"it and the backup target {target} overlap"
        raise Misconfigured(action, str(place), reason=reason, remedy="choose a folder outside it")
