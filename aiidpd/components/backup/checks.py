"""Checks of source and target of the backup: there, and open to the daemon, in its sandbox too."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from aiidpd.components.backup.settings import BackupSettings
from aiidpd.contracts.checks import Check, CheckResult, Surroundings, failed, ok, warning
from aiidpd.platform.space import GIB, room

_READ, _WRITE = 5, 7
_EDIT: Final = "systemctl edit aiidpd"


def checks(settings: BackupSettings, around: Surroundings) -> tuple[Check, ...]:
    """Return the checks."""
    source, target = settings.source, settings.target
    if source is None or target is None:
        return (
            Check(
                "backup", lambda: (ok("backup.source and backup.target are not set: nothing is backed up"),)
            ),
        )
    return (
        Check("backup.source", lambda: source_folder(source, around)),
        Check("backup.target", lambda: target_folder(target, around, settings.reserve)),
    )


def source_folder(path: Path, around: Surroundings) -> Iterator[CheckResult]:
    """Yield whether the daemon may read the source at ``path``."""
    name = f"backup.source, {path},"
    if around.sandbox is not None and not around.sandbox.shows(PurePosixPath(path)):
        cure = f"{_EDIT}: BindReadOnlyPaths={path} below [Service], and a restart; homes are hidden otherwise"
        yield failed(f"{name} is hidden from the service by its unit ({around.unit})", cure)
    yield from _folder(
        name, path, around, _READ, "let the user's group read it (setfacl -R -m u:{user}:rX {path})"
    )


def target_folder(path: Path, around: Surroundings, reserve: int = 0) -> Iterator[CheckResult]:
    """Yield whether the daemon may write to the target at ``path``, of which ``reserve`` bytes stay free."""
    name = f"backup.target, {path},"
    if around.sandbox is not None and not around.sandbox.may_write(PurePosixPath(path)):
        key = "ReadWritePaths" if around.sandbox.shows(PurePosixPath(path)) else "BindPaths"
        cure = f"{_EDIT}: {key}={path} below [Service], and a restart"
        yield failed(f"{name} can't be written to by the service, by its unit ({around.unit})", cure)
    good = True
    for each in _folder(name, path, around, _WRITE, "chown {user}: {path}"):
        good = False
        yield each
    if good:
        yield from room(
            path, little=max(GIB, 2 * reserve), least=max(GIB // 10, reserve), what="backup.target"
        )


def _folder(name: str, path: Path, around: Surroundings, wanted: int, cure: str) -> Iterator[CheckResult]:
    try:
        facts = path.stat()
    except FileNotFoundError:
        yield failed(f"{name} does not exist", "mount or make it, or correct the path")
        return
    if not path.is_dir():
        yield failed(f"{name} is no folder", "name a folder")
        return
    closed = [
        each
        for each in (*reversed(path.parents), path)
        if not _may(each, around, wanted if each == path else 1)
    ]
    if closed:
        words = cure.format(user=around.user, path=closed[0])
        what = "read" if wanted == _READ else "write to"
        yield failed(
            f"user {around.user} may not {what} {name.removesuffix(',')}: {closed[0]} is closed to it", words
        )
    elif wanted == _READ:
        if not os.access(path, os.R_OK) or any(path.iterdir()):
            yield ok(f"{name} can be read by user {around.user}")
        else:
            yield warning(f"{name} is empty", "see that the disk that belongs there is mounted")
    elif facts.st_uid not in (around.uid, 0):
        cure = f"chown -R {around.user}: {path}, where nobody else should write there"
        yield warning(f"{name} belongs to user {facts.st_uid}, who can change what is backed up", cure)


def _may(path: Path, around: Surroundings, wanted: int) -> bool:
    facts = path.stat()
    if around.may(facts.st_mode, facts.st_uid, facts.st_gid, wanted):
        return True
    # Lists of access rights (ACL) say more than the mode, and are asked for this user alone.
    return around.uid == os.geteuid() and os.access(path, wanted)
