"""Checks of the container engine: reached, by the daemon's user too, and with room on its disk."""

from __future__ import annotations

import http.client
import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from aiidpd.components.containers.docker.faults import NO_ENGINE, UNAVAILABLE
from aiidpd.components.containers.settings import ContainersSettings
from aiidpd.contracts.checks import Check, CheckResult, Surroundings, failed, ok, warning
from aiidpd.platform.space import GIB, room
from aiidpd.platform.unix_http import UnixConnection

_PATIENCE: Final = 5.0
_LARGEST: Final = 4 << 20
_OLD: Final = 28  # before it, published ports were reached from neighbours past the loopback address
_LITTLE, _LEAST = 20 * GIB, 2 * GIB
_PROGRAMS: Final = ("/usr/bin/dockerd", "/usr/sbin/dockerd", "/usr/local/bin/dockerd")


def checks(settings: ContainersSettings, around: Surroundings) -> tuple[Check, ...]:
    """Return the checks."""
    if settings.engine == "off":
        return (Check("docker", lambda: (ok("switched off by containers.engine"),)),)
    if settings.engine == "simulated":
        cure = 'set containers.engine = "auto" to watch real ones'
        return (
            Check("docker", lambda: (warning("the containers are SIMULATED by containers.engine", cure),)),
        )
    return (
        Check("docker-socket", lambda: permission(settings.socket, around)),
        Check("docker", lambda: engine(settings.socket, needed=settings.engine == "docker"), 3 * _PATIENCE),
    )


def permission(path: Path, around: Surroundings) -> Iterator[CheckResult]:
    """Yield whether the daemon's user may use the socket at ``path``."""
    try:
        facts = path.stat()
    except OSError:
        return  # the other check says so
    if not stat.S_ISSOCK(facts.st_mode):
        yield failed(f"{path} is no socket", "set containers.socket to the engine's")
    elif around.may(facts.st_mode, facts.st_uid, facts.st_gid, 6):
        yield ok(f"user {around.user} may use {path}")
    else:
        cure = "SupplementaryGroups=docker in the unit; without a unit, let the user join the socket's group"
        yield failed(f"user {around.user} may not use {path} (group {facts.st_gid})", cure)


def engine(path: Path, *, needed: bool = False) -> Iterator[CheckResult]:
    """Yield what the engine at ``path`` says of itself; ``needed`` where there must be one."""
    if not os.path.lexists(path):
        yield _absent(f"there is no {path}", needed=needed)
        return
    try:
        version, info = _get(path, "/version"), _get(path, "/info")
    except _Absent as error:
        yield _absent(str(error), needed=needed)
        return
    except PermissionError:
        cure = "call aiidpd doctor as root, or as a member of the socket's group"
        yield warning(f"user {os.geteuid()} may not use {path}, so that the engine is not asked", cure)
        return
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        yield failed(f"the engine at {path} does not answer: {reason.lower()}", "systemctl status docker")
        return
    yield from _about(version, info)


class _Absent(Exception):
    """Answer of the gate that there is no engine behind it."""


def _absent(found: str, *, needed: bool) -> CheckResult:
    """Return what it means that there is no engine: nothing, unless one is installed or ``needed``."""
    installed = next((each for each in _PROGRAMS if os.access(each, os.X_OK)), "")
    if not needed and not installed:
        return ok("no Docker is installed: the daemon watches no containers")
    cure = 'systemctl start docker, or set containers.socket; containers.engine = "off" does without'
    return failed(found + (f", though {installed} is installed" if installed else ""), cure)


def _about(version: dict[str, Any], info: dict[str, Any]) -> Iterator[CheckResult]:
    number = str(version.get("Version", ""))[:40]
    names = [str(each.get("Name", "")) for each in _list(version.get("Components")) if isinstance(each, dict)]
    podman = any("podman" in name.lower() for name in names)
    found = (
        f"{'Podman' if podman else 'Docker'} {number}, API {str(version.get('ApiVersion', '?'))[:10]}, "
        f"{str(info.get('CgroupDriver', '?'))[:20]} control groups v{str(info.get('CgroupVersion', '1'))[:2]}"
    )
    major = re.match(r"\d+", number)
    if not podman and major is not None and int(major[0]) < _OLD:
        cure = (
            "update to Docker 28 or newer; until then a firewall (chain DOCKER-USER) must keep neighbours off"
        )
        yield warning(
            f"{found}; ports published on 127.0.0.1 can be reached by neighbours in the network", cure
        )
    else:
        yield ok(found)
    for each in _list(info.get("Warnings"))[:10]:
        yield warning(f"the engine warns: {str(each)[:300]}", "its documentation says what switches it on")
    root = Path(str(info.get("DockerRootDir") or "/nonexistent"))
    if root.is_absolute() and root.is_dir():
        yield from room(root, little=_LITTLE, least=_LEAST, what="the folder of images and containers")


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _get(path: Path, target: str) -> dict[str, Any]:
    connection = UnixConnection(path, timeout=_PATIENCE)
    try:
        connection.request("GET", target)
        response = connection.getresponse()
        body = response.read(_LARGEST)
    finally:
        connection.close()
    if response.status == UNAVAILABLE and (absent := NO_ENGINE.search(body.decode(errors="replace"))):
        raise _Absent(absent[1].partition('"')[0][:200])
    if response.status == http.client.FORBIDDEN:
        raise PermissionError
    if response.status != http.client.OK:
        raise ValueError(f"it answers {response.status} to GET {target}")
    found = json.loads(body)
    if not isinstance(found, dict):
        raise ValueError(f"it answers no object to GET {target}")  # noqa: TRY004 -- of what it sent
    return found
