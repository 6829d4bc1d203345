"""Files and folders that must be nobody else's: who may write them decides what the daemon does.

Each function returns why a path can't be trusted, and what mends that; None where it can.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Distrust:
    """Reason not to trust ``path``, and the remedy."""

    path: Path
    reason: str
    remedy: str


def of_file(path: Path, owners: Collection[int] | None = None) -> Distrust | None:
    """Return why the file or folder at ``path`` can't be trusted: others may write it, or own it.

    Links are followed. ``owners`` are the users whom it may belong to, None for any. A device such as
    ``/dev/null`` and what can't be examined are nobody's to judge here: whoever opens them finds out.
    """
    try:
        facts = path.stat()
    except OSError:
        return None
    if not (stat.S_ISREG(facts.st_mode) or stat.S_ISDIR(facts.st_mode)):
        return None
    return _judged(path, facts, owners)


def of_folder(path: Path, owners: Collection[int], names: Collection[str]) -> Distrust | None:
    """Return why the folder at ``path``, or what is called one of ``names`` in it, can't be trusted.

    The folder itself may be reached through a link that its owner made, nothing in it may be one.
    """
    found = of_file(path, owners)
    if found is not None:
        return found
    for name in sorted(names):
        entry = path / name
        try:
            facts = entry.lstat()
        except OSError:
            continue
        if stat.S_ISLNK(facts.st_mode):
            to = os.readlink(entry)  # noqa: PTH115 -- a text, as it is written
            reason = f"it is a link to {to}, so that what is written goes elsewhere"
            remedy = "remove the link and move there what it leads to; to use another disk, mount it here"
            return Distrust(entry, reason, remedy)
        if (found := _judged(entry, facts, owners)) is not None:
            return found
    return None


def _judged(path: Path, facts: os.stat_result, owners: Collection[int] | None) -> Distrust | None:
    if owners is not None and facts.st_uid not in owners:
        allowed = " or ".join(str(uid) for uid in sorted(owners))
        reason = f"it belongs to user {facts.st_uid}, who may change what is in it"
        return Distrust(path, reason, f"see who made it and what is in it, then chown it to user {allowed}")
    if facts.st_mode & stat.S_IWOTH:
        reason = f"every user of this machine may write it (mode {stat.S_IMODE(facts.st_mode):04o})"
        return Distrust(path, reason, f"see what is in it, then chmod o-w {path}")
    return None
