"""Folders and groups that a start needs: refused where others could steer the daemon by them."""

from __future__ import annotations

import grp
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from aiidpd.config.schema import Settings
from aiidpd.daemon.groups import metrics_group
from aiidpd.daemon.settings import ControlSettings, DaemonSettings, TelemetrySettings
from aiidpd.kernel.errors import Misconfigured
from aiidpd.platform import trust

HISTORY: Final = "history.sqlite3"
INCIDENTS: Final = "incidents"
_OWN: Final = ("lock", HISTORY, f"{HISTORY}-wal", f"{HISTORY}-shm", f"{HISTORY}-journal", INCIDENTS)


def refuse_unsafe_state(folder: Path, owners: Collection[int] | None = None) -> None:
    """Raise :class:`Misconfigured` where others than ``owners`` may change what lies in the state folder.

    Without ``owners`` it may be root's or this process's. What does not exist is not unsafe.
    """
    allowed = {0, os.geteuid()} if owners is None else {*owners}
    found = trust.of_folder(folder, allowed, _own_names(folder))
    if found is not None:
        raise Misconfigured(
            "use state directory", str(folder), reason=_about(found, folder), remedy=found.remedy
        )


def owners_for_check(folder: Path) -> set[int]:
    """Return the users whose a state folder may be for a check, which root makes for the daemon's user."""
    own = {0, os.geteuid()}
    try:
        return own | {folder.stat().st_uid} if os.geteuid() == 0 else own
    except OSError:
        return own


def lacking(settings: Settings) -> Iterator[str]:
    """Yield what a start by the user of this process would lack."""
    folders = settings.table("daemon", DaemonSettings)
    for key, path in (
        ("daemon.state_directory", folders.state_directory),
        ("daemon.runtime_directory", folders.runtime_directory),
    ):
        if not path.is_dir():
            yield f"{key}: {path} does not exist; create it (the systemd unit does), or set another"
        elif not os.access(path, os.W_OK | os.X_OK):
            yield f"{key}: user {os.geteuid()} may not write to {path}; set a folder of that user"
    control = settings.table("control", ControlSettings).group
    metrics = metrics_group(settings.table("telemetry", TelemetrySettings).group, control)
    for key, group in (("control.group", control), ("telemetry.group", metrics)):
        if key == "control.group" or metrics != control:
            yield from _lacking_group(key, group)


def _lacking_group(key: str, group: str) -> Iterator[str]:
    if not group:
        return
    try:
        number = grp.getgrnam(group).gr_gid
    except KeyError:
        yield f'{key}: there is no group {group}; create it, or set {key} = ""'
        return
    if os.geteuid() != 0 and number != os.getegid() and number not in os.getgroups():
        yield f'{key}: user {os.geteuid()} is no member of {group}; become one, or set {key} = ""'


def _own_names(folder: Path) -> set[str]:
    try:
        found = os.listdir(folder)  # noqa: PTH208 -- names alone
    except OSError:
        found = []
    return {*_OWN, *(name for name in found if name.endswith(".json"))}


def _about(found: trust.Distrust, folder: Path) -> str:
    if found.path == folder:
        return found.reason
    return f"{found.path.name} can't be trusted: {found.reason}"
