"""Views of the containers, and of what their processes use (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from aiidpd.kernel.views import View

NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Mount:
    """Folder or file of the host (``source``) that a container has at ``destination``."""

    source: str
    destination: str = ""
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class ContainerSummary:
    """One container. ``state`` is Docker's word, ``health`` None where no health check speaks.

    ``started_at`` (Unix seconds) identifies its run. ``paused_by_us``: aiidpd itself paused it. ``labels``
    are those that begin with ``aiidpd.``. ``arguments`` (entrypoint and command) and ``environment`` may hold
    secrets: they are for finding out how its engine was started, and are shown nowhere. ``addresses`` are
    where its TCP ports can be reached from the host, as ``HOST:PORT`` by the port inside of the container:
    published ones where they are published (on loopback for a wildcard), others at the container's own
    address. A container in the host's network has none, since it may listen anywhere. ``mounts`` are the
    folders and files of the host that it has. ``image_id`` is the digest of the image that it was created
    from, such as ``sha256:HEX``; empty where it is not known.
    """

    id: str
    name: str
    image: str
    state: str
    health: str | None
    gpu: bool
    running: bool
    started_at: float | None = None
    paused_by_us: bool = False
    labels: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    arguments: tuple[str, ...] = field(default=(), repr=False)
    environment: Mapping[str, str] = field(default_factory=lambda: NOTHING, repr=False)
    addresses: Mapping[int, str] = field(default_factory=lambda: NO_ADDRESSES)
    host_network: bool = False
    mounts: tuple[Mount, ...] = ()
    image_id: str = ""


NO_ADDRESSES: Final[Mapping[int, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ContainersView:
    """Every container, by its name. ``simulated``: they are made up."""

    containers: tuple[ContainerSummary, ...] = ()
    simulated: bool = False


@dataclass(frozen=True, slots=True)
class ContainerUse:
    """Use of the machine by the processes of a running container, as the kernel counts it.

    Counters since the start of its cgroup: ``cpu_seconds``, ``read_bytes`` and ``written_bytes`` (block
    devices), ``oom_kills``. ``memory_bytes`` is anonymous memory, which nothing but the processes' end
    gives back; ``memory_limit_bytes`` is None where there is no limit. ``blocked`` are the pids in state D;
    those of a paused container, which is ``frozen``, don't count. What could not be read is None. ``read``
    is in monotonic seconds.
    """

    id: str
    read: float
    pids: frozenset[int] = frozenset()
    blocked: frozenset[int] = frozenset()
    cpu_seconds: float | None = None
    memory_bytes: int | None = None
    memory_limit_bytes: int | None = None
    read_bytes: int | None = None
    written_bytes: int | None = None
    oom_kills: int | None = None
    frozen: bool = False


@dataclass(frozen=True, slots=True)
class ContainerUses:
    """Use by every running container whose cgroup could be read, by id."""

    by_id: Mapping[str, ContainerUse] = field(default_factory=lambda: MappingProxyType({}))


CONTAINERS: Final[View[ContainersView]] = View("containers")
CONTAINER_USE: Final[View[ContainerUses]] = View("container_use")
