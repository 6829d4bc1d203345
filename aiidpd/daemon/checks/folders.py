"""Checks of the daemon's own folders and groups, and whether it runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from aiidpd.api.client import AccessDenied, ControlClient, ControlError
from aiidpd.config.schema import Settings
from aiidpd.contracts.checks import Check, CheckResult, Surroundings, failed, ok, warning
from aiidpd.daemon.folders import lacking, refuse_unsafe_state
from aiidpd.daemon.groups import metrics_group
from aiidpd.daemon.settings import ControlSettings, DaemonSettings, TelemetrySettings
from aiidpd.platform.space import GIB, room

CONTROL: Final = "control.sock"
_LITTLE: Final = GIB
_LEAST: Final = GIB // 10
_PATIENCE: Final = 5.0


def checks(settings: Settings, around: Surroundings) -> tuple[Check, ...]:
    """Return the checks."""
    folders = settings.table("daemon", DaemonSettings)
    found = [
        Check("daemon", lambda: _daemon(folders.runtime_directory)),
        Check("state", lambda: _state(folders.state_directory, around)),
        Check("groups", lambda: _groups(settings, there=bool(around.unit))),
    ]
    if not around.unit:
        found.append(Check("start", lambda: _start(settings)))
    return tuple(found)


def _daemon(runtime: Path) -> Iterator[CheckResult]:
    path = runtime / CONTROL
    try:
        with ControlClient(str(path), timeout=_PATIENCE) as client:
            status = client.get("/v1/status")
    except AccessDenied:
        yield ok(f"something listens at {path}, which user {os.geteuid()} may not ask")
        return
    except ControlError as error:
        cure = "systemctl start aiidpd, or `aiidpd run`; `journalctl -u aiidpd` says why it ended"
        yield warning(f"no daemon answers: {error}", cure)
        return
    found = f"aiidpd {status['version']} runs since {status['uptime_seconds']:.0f} s"
    wrong = [each["type"] for each in status["conditions"] if each["severity"] == "error"]
    if status["healthy"]:
        yield ok(f"{found}, and is well")
    else:
        down = [each["name"] for each in status["workers"] if not each["up"]]
        yield warning(f"{found}; not well: {', '.join((*down, *wrong))}", "aiidpctl status says what to do")


def _state(folder: Path, around: Surroundings) -> Iterator[CheckResult]:
    try:
        facts = folder.stat()
    except FileNotFoundError:
        cure = "the systemd unit makes it at the first start; without one, make it or set another"
        yield warning(f"{folder} does not exist", cure)
        return
    refuse_unsafe_state(folder, {0, around.uid})
    if not around.may(facts.st_mode, facts.st_uid, facts.st_gid, 3):
        yield failed(f"user {around.user} may not write to {folder}", f"chown {around.user} {folder}")
    yield from room(folder, little=_LITTLE, least=_LEAST, what="the state folder")


def _groups(settings: Settings, *, there: bool) -> Iterator[CheckResult]:
    missing = [each for each in lacking(settings) if "there is no group" in each]
    if there:  # otherwise the check of a start says so
        yield from (failed(*each.split("; ", 1)) for each in missing)
    if missing:
        return
    control = settings.table("control", ControlSettings).group
    metrics = metrics_group(settings.table("telemetry", TelemetrySettings).group, control)
    if control and metrics == control:
        cure = "create the group aiidpd-metrics (systemd-sysusers), or name another in telemetry.group"
        yield warning(f"whoever reads metrics.sock is of the group {control}, and reads all else too", cure)
    else:
        yield ok(f"control.sock: {control or 'group of the process'}; metrics.sock: {metrics or 'the same'}")


def _start(settings: Settings) -> Iterator[CheckResult]:
    found = list(lacking(settings))
    yield from (failed(*each.split("; ", 1)) for each in found)
    if not found:
        yield ok(f"user {os.geteuid()} has what a start without systemd needs")
