"""Protocol of a container runtime (pure). Adapters: docker/client.py, simulated.py."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from aiidpd.contracts.containers import NO_ADDRESSES, NOTHING, Mount
from aiidpd.contracts.inspections import Inspection


@dataclass(frozen=True, slots=True)
class ContainerReading:
    """One container as the runtime describes it now. Times in Unix seconds.

    ``state`` is Docker's word: created, running, paused, restarting, removing, exited or dead.
    ``health`` is healthy, unhealthy or starting, and None where no health check speaks: none is
    defined, the container does not run, or its check was suspended. ``exit_code`` is of the last
    run and None while one goes on. ``oom_killed`` is Docker's claim, which is known to be wrong in
    both directions. ``restart_count`` counts the restarts by Docker's own restart policy; a start
    by hand sets it back to zero. ``started_at`` identifies a run of the container.

    ``checked``: a health check is defined, whether or not it speaks.

    ``pid`` is the host's, of its first process; None where it does not run. ``error`` is why the runtime
    could not start it, in its own words. ``labels`` are those of aiidpd and compose. ``arguments``
    (entrypoint and command) and ``environment`` may hold secrets. ``network_mode`` is Docker's: ``host``,
    ``container:ID``, a network's name. ``addresses`` are ``HOST:PORT`` of its TCP ports, by the port inside.
    ``mounts`` are the folders and files of the host that it has. ``execs`` counts the commands that were
    started in it and may still run, its health check's among them.
    ``failing_streak`` counts the failures of its health check in a row. ``image_id`` is the digest of its
    image. ``inspection`` is how it was created, None where the runtime does not describe that.
    """

    id: str
    name: str
    image: str
    state: str
    health: str | None = None
    exit_code: int | None = None
    oom_killed: bool = False
    restart_count: int = 0
    started_at: float | None = None
    finished_at: float | None = None
    project: str = ""
    service: str = ""
    restart_policy: str = "no"
    gpu: bool = False
    checked: bool = False
    pid: int | None = None
    error: str = ""
    network_mode: str = ""
    execs: int = 0
    mounts: tuple[Mount, ...] = ()
    failing_streak: int = 0
    image_id: str = ""
    labels: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    arguments: tuple[str, ...] = field(default=(), repr=False)
    environment: Mapping[str, str] = field(default_factory=lambda: NOTHING, repr=False)
    addresses: Mapping[int, str] = field(default_factory=lambda: NO_ADDRESSES)
    inspection: Inspection | None = field(default=None, repr=False)

    @property
    def running(self) -> bool:
        """True where a process of it exists: Docker counts one that waits for its restart as running."""
        return self.state in ("running", "paused")


@dataclass(frozen=True, slots=True)
class RuntimeEvent:
    """An event of the runtime. ``time`` is in Unix seconds by its own clock.

    ``action`` is one of :data:`ACTIONS`; ``detail`` is the health status of ``health_status`` and
    the signal's number of ``kill``.
    """

    time: float
    action: str
    id: str
    name: str
    image: str = ""
    exit_code: int | None = None
    detail: str = ""


ACTIONS = (
    "create",
    "start",
    "die",
    "oom",
    "kill",
    "health_status",
    "pause",
    "unpause",
    "rename",
    "update",
    "destroy",
)
"""The events that are followed. The many ``exec_*`` that each health probe causes are left at the engine."""


@dataclass(frozen=True, slots=True)
class RuntimeSnapshot:
    """Every container at one moment.

    ``unreadable`` names (id, name) those that exist but whose details the engine did not give in
    time: one stuck container must not hide the others.
    """

    containers: tuple[ContainerReading, ...]
    version: str
    simulated: bool = False
    unreadable: tuple[tuple[str, str], ...] = ()


class ContainerRuntime(Protocol):
    """A container runtime. Every method raises :class:`~aiidpd.kernel.errors.Unavailable` in bounded time."""

    @property
    def simulated(self) -> bool:
        """True where the containers are made up."""

    async def containers(self, *, fresh: bool = False) -> RuntimeSnapshot:
        """Read all containers. Unless ``fresh``, one whose summary did not change is not read again."""

    async def container(self, identity: str) -> ContainerReading | None:
        """Read one container by its id; None where it does not exist (any more)."""

    def events(self, since: float) -> AbstractAsyncContextManager[AsyncIterator[RuntimeEvent]]:
        """Follow events, those since ``since`` (Unix seconds) first.

        To enter means that the engine accepted. The iteration ends when the engine ends it and
        raises ``Unavailable`` when it breaks. The runtime may drop events, repeat them, and have
        fewer than requested: whoever follows must also read all containers now and then.
        """

    async def recall(
        self, since: float, until: float, *, within: float | None = None
    ) -> tuple[RuntimeEvent, ...]:
        """Return the events from ``since`` to ``until`` (Unix seconds, past) that the runtime remembers.

        By a connection of its own, which no other call shares: it is a witness to the stream of events. It
        takes ``within`` seconds at most where given.
        """

    async def find(self, name: str) -> str | None:
        """Return the id of the container of just this name, without a reading of any container."""

    async def stop(self, identity: str, grace: float) -> bool:
        """Have a container (by its id) end, and killed after ``grace`` seconds.

        Returns when it has ended: whether it ran; False where it did not, or does not exist (any more).
        """

    async def pause(self, identity: str) -> bool:
        """Suspend the processes of a container (by its id): memory and connections stay.

        Returns whether this call did so; False where it does not run, was paused already, or does not exist.
        """

    async def unpause(self, identity: str) -> bool:
        """Unpause a container; return whether it was paused, False too where it does not exist."""

    async def aclose(self) -> None:
        """Release what the adapter holds; may be called twice."""
