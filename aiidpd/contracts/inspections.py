"""View of how each container was created, and of the engine behind them: what an audit stands on (pure).

Everything in it is bounded, and names and values of it come from outside: escape them before they are shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from aiidpd.kernel.views import View

NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class HostMount:
    """A mount in a container. ``kind`` is Docker's: bind, volume, tmpfs, npipe, image, cluster.

    ``source`` is a path of the host for a bind and the volume's name for a volume; a volume of the local
    driver that is itself a bind of a folder has that in ``device``.
    """

    kind: str
    source: str
    destination: str
    read_only: bool = False
    propagation: str = ""
    device: str = ""


@dataclass(frozen=True, slots=True)
class Tmpfs:
    """A tmpfs in a container. ``options`` are those that were given; ``size_bytes`` is None for no bound."""

    destination: str
    options: tuple[str, ...] = ()
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class PublishedPort:
    """A port of a container that is published on ``host_ip``, which is empty for all addresses.

    ``host_port`` is None where the engine chooses it.
    """

    port: int
    protocol: str = "tcp"
    host_ip: str = ""
    host_port: int | None = None


@dataclass(frozen=True, slots=True)
class Device:
    """A device of the host that a container has. ``permissions`` are some of r, w and m."""

    host: str
    container: str = ""
    permissions: str = "rwm"


@dataclass(frozen=True, slots=True)
class DeviceRequest:
    """Devices that a driver gives. ``count`` is -1 for all of them, 0 where ``ids`` name them."""

    driver: str
    count: int = 0
    ids: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ulimit:
    """A limit of a process; -1 is none."""

    name: str
    soft: int
    hard: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """Description of how one container was created.

    ``declared``: it is no container but a service of a compose file, which does not say what the image
    brings: ``user`` and ``health_check`` are None there where the file has none. Capabilities are in upper
    case and without ``CAP_``. ``masked``: the usual paths of /proc and /sys are hidden. ``pids_limit`` is
    None for no limit, ``memory_bytes`` 0. ``arguments``, ``environment`` and ``labels`` may hold secrets.
    ``build``: the service's image is built from its source.
    """

    id: str
    name: str
    image: str
    declared: bool = False
    build: bool = False
    running: bool = True
    gpu: bool = False
    user: str | None = ""
    privileged: bool = False
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    security_options: tuple[str, ...] = ()
    apparmor_profile: str | None = None
    masked: bool = True
    group_add: tuple[str, ...] = ()
    pid_mode: str = ""
    ipc_mode: str = ""
    uts_mode: str = ""
    userns_mode: str = ""
    network_mode: str = ""
    cgroupns_mode: str = ""
    cgroup_parent: str = ""
    mounts: tuple[HostMount, ...] = ()
    tmpfs: tuple[Tmpfs, ...] = ()
    read_only: bool = False
    ports: tuple[PublishedPort, ...] = ()
    publish_all: bool = False
    memory_bytes: int = 0
    cpu_limited: bool = False
    pids_limit: int | None = None
    oom_kill_disabled: bool = False
    oom_score_adjustment: int = 0
    ulimits: tuple[Ulimit, ...] = ()
    restart: str = "no"
    restart_maximum: int = 0
    log_driver: str = ""
    log_options: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    health_check: bool | None = None
    devices: tuple[Device, ...] = ()
    device_rules: tuple[str, ...] = ()
    device_requests: tuple[DeviceRequest, ...] = ()
    runtime: str = ""
    arguments: tuple[str, ...] = field(default=(), repr=False)
    environment: Mapping[str, str] = field(default_factory=lambda: NOTHING, repr=False)
    labels: Mapping[str, str] = field(default_factory=lambda: NOTHING, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFacts:
    """Container engine, as it describes itself. ``warnings`` are its own words."""

    version: str = ""
    security_options: tuple[str, ...] = ()
    default_runtime: str = ""
    runtimes: tuple[str, ...] = ()
    live_restore: bool = False
    experimental: bool = False
    swarm: bool = False
    insecure_registries: tuple[str, ...] = ()
    cgroup_version: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def major(self) -> int | None:
        """Major number of its version, None where that is not known."""
        head = self.version.partition(".")[0]
        return int(head) if head.isascii() and head.isdigit() and len(head) <= 4 else None  # noqa: PLR2004

    @property
    def options(self) -> frozenset[str]:
        """Names of its security options: apparmor, seccomp, selinux, userns, rootless, cgroupns."""
        parts = (part for each in self.security_options for part in each.split(","))
        return frozenset(part.removeprefix("name=") for part in parts if part.startswith("name="))


@dataclass(frozen=True, slots=True)
class Inspections:
    """Every container, by its name, and the engine, None where it is not known yet.

    ``simulated``: they are made up.
    """

    containers: tuple[Inspection, ...] = ()
    engine: EngineFacts | None = None
    simulated: bool = False


INSPECTIONS: Final[View[Inspections]] = View("inspections")
