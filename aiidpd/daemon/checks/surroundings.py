"""Surroundings of the daemon: user, groups and sandbox, as its unit says, or as whoever calls has them."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from aiidpd.contracts.checks import CheckResult, Sandbox, Surroundings, failed
from aiidpd.kernel.errors import Misconfigured
from aiidpd.platform.unit_file import FOLDERS, UnitFile, read_unit

_DIRECTORIES: Final = (
    ("StateDirectory", "/var/lib"),
    ("RuntimeDirectory", "/run"),
    ("CacheDirectory", "/var/cache"),
    ("LogsDirectory", "/var/log"),
)
_TEMPORARY: Final = ("/tmp", "/var/tmp", "/dev", "/proc", "/sys")  # noqa: S108 -- folders of the unit's own


def surroundings(
    name: str, folders: Sequence[Path] = FOLDERS
) -> tuple[Surroundings, list[tuple[str, CheckResult]]]:
    """Return what the unit ``name`` gives the daemon, and what is wrong with reading it."""
    try:
        unit = read_unit(name, folders)
    except Misconfigured as error:
        return own(), [("unit", failed(f"{error.subject}: {error.reason}", error.remedy))]
    if unit is None:
        return own(), []
    problems: list[tuple[str, CheckResult]] = []
    user = unit.last("User", "root")
    try:
        account = pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)
        uid, gid = account.pw_uid, account.pw_gid
    except KeyError:
        cure = "systemd-sysusers, with packaging/sysusers.d/aiidpd.conf installed"
        problems.append(("unit", failed(f"there is no user {user}, which the unit runs it as", cure)))
        uid, gid = os.geteuid(), os.getegid()
    groups = {gid}
    for group in (*unit.words("Group")[-1:], *unit.words("SupplementaryGroups")):
        try:
            groups.add(int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid)
        except KeyError:
            cure = f"groupadd --system {group}; without it the service does not start"
            problems.append(("unit", failed(f"there is no group {group}, which the unit names", cure)))
    around = Surroundings(uid, frozenset(groups), user, sandbox(unit), str(unit.path), unit.settings)
    return around, problems


def own() -> Surroundings:
    """Return the surroundings of this process."""
    return Surroundings(os.geteuid(), frozenset({os.getegid(), *os.getgroups()}), str(os.geteuid()))


def sandbox(unit: UnitFile) -> Sandbox:
    """Return the file system that ``unit`` shows."""
    homes = unit.last("ProtectHome", "no").lower()
    writable = [_path(each) for key in ("ReadWritePaths", "ReadWriteDirectories") for each in unit.words(key)]
    for key, base in _DIRECTORIES:
        writable += [f"{base}/{each.partition(':')[0]}" for each in unit.words(key)]
    bound = [_target(each) for each in unit.words("BindPaths")]
    return Sandbox(
        strict=unit.last("ProtectSystem").lower() == "strict",
        homes_hidden=homes in ("yes", "true", "1", "on", "tmpfs"),
        homes_read_only=homes == "read-only",
        writable=(*writable, *bound, *_TEMPORARY),
        shown=(*bound, *(_target(each) for each in unit.words("BindReadOnlyPaths"))),
        hidden=tuple(_path(each) for each in unit.words("InaccessiblePaths")),
    )


def _path(word: str) -> str:
    return word.lstrip("-+").rstrip("/") or "/"


def _target(word: str) -> str:
    """Return where ``SOURCE:TARGET:OPTIONS`` is mounted."""
    parts = word.lstrip("-").split(":")
    return _path(parts[1] if len(parts) > 1 else parts[0])
