"""Files of this machine that configure containers: of Docker, and of NVIDIA's runtime."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from aiidpd.components.audit.facts import Firewall, HostFacts, Toolkit
from aiidpd.components.audit.host.firewall import read_firewall
from aiidpd.components.audit.host.packages import APT, STATUS, TOOLKIT, installed, upgrades
from aiidpd.kernel.errors import AiidpdError, Misconfigured, Unavailable
from aiidpd.platform.readfile import read_small

T = TypeVar("T")

DAEMON: Final = Path("/etc/docker/daemon.json")
RUNTIME: Final = Path("/etc/nvidia-container-runtime/config.toml")
_LARGEST: Final = 1 << 20
_ENVVAR: Final = "accept-nvidia-visible-devices-envvar-when-unprivileged"


def read_host(
    *,
    daemon: Path = DAEMON,
    runtime: Path = RUNTIME,
    status: Path = STATUS,
    apt: Path = APT,
    firewall: Callable[[], Firewall] = read_firewall,
) -> HostFacts:
    """Return the facts of this machine; what can't be read is in ``unread``, with the reason. Blocks."""
    unread: dict[str, str] = {}

    def tried(name: str, read: Callable[[], T]) -> T | None:
        try:
            return read()
        except AiidpdError as error:
            unread[name] = str(error)
            return None

    packages = tried("packages", lambda: installed(status))
    found = HostFacts(
        firewall=tried("firewall", firewall),
        toolkit=tried("toolkit", lambda: read_toolkit(packages, runtime)),
        upgrades=tried("upgrades", lambda: upgrades(packages, apt)) if packages is not None else None,
        daemon=tried("daemon", lambda: read_daemon(daemon)),
        unread=unread,
    )
    if "packages" in unread:
        unread.setdefault("upgrades", unread["packages"])
        del unread["packages"]
    return found


def read_daemon(path: Path = DAEMON) -> Mapping[str, Any]:
    """Return Docker's configuration, empty where it has no file. Raises :class:`Unavailable`."""
    if not path.exists():
        return {}
    try:
        found = json.loads(read_small(path, _LARGEST))
    except Misconfigured as error:
        raise Unavailable(error.action, error.subject, reason=error.reason, remedy=error.remedy) from None
    except (ValueError, RecursionError):
        raise Unavailable("read", str(path), reason="it is no JSON", remedy="mend it") from None
    if not isinstance(found, dict):
        raise Unavailable("read", str(path), reason="it is no object of JSON", remedy="mend it")
    return found


def read_toolkit(packages: Mapping[str, tuple[str, bool]] | None, path: Path = RUNTIME) -> Toolkit:
    """Return what is known of NVIDIA's toolkit, an empty one where it is not installed."""
    version = (packages or {}).get(TOOLKIT, ("", False))[0]
    if not version and not path.exists():
        return Toolkit()
    table: dict[str, Any] = {}
    if path.exists():
        try:
            table = tomllib.loads(read_small(path, _LARGEST).decode())
        except Misconfigured as error:
            raise Unavailable(error.action, error.subject, reason=error.reason, remedy=error.remedy) from None
        except (ValueError, RecursionError):
            raise Unavailable("read", str(path), reason="it is no TOML", remedy="mend it") from None
    runtime = table.get("nvidia-container-runtime")
    mode = runtime.get("mode") if isinstance(runtime, dict) else None
    return Toolkit(version, mode if isinstance(mode, str) else "", table.get(_ENVVAR, True) is not False)
