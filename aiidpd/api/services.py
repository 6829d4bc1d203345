"""What the control API stands on; the composition root fills it in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from aiidpd.api.hold import DriverHold
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.events import Event, Severity
from aiidpd.kernel.jobs import JobBook, JobQueue
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.task import WorkerStatus


class Workers(Protocol):
    """Who knows how the workers fare: the supervisor."""

    @property
    def statuses(self) -> tuple[WorkerStatus, ...]:
        """One status a worker."""


class EventHistory(Protocol):
    """Where past events are: those published up to the call are among them."""

    async def events(
        self,
        *,
        after_id: int = 0,
        limit: int = 100,
        since: float | None = None,
        kinds: str = "",
        min_severity: Severity = Severity.DEBUG,
        subject: str | None = None,
        forward: bool = False,
    ) -> list[Event]:
        """Return events by id: the first ``limit`` after ``after_id``, or without one the newest ``limit``.

        ``forward`` asks for the first ones after an ``after_id`` of 0 too. ``kinds`` is a prefix. Raises
        :class:`~aiidpd.kernel.errors.Unavailable`.
        """

    async def event_ids(
        self,
        limit: int,
        *,
        since: float | None = None,
        kinds: str = "",
        min_severity: Severity = Severity.DEBUG,
        subject: str | None = None,
    ) -> list[int]:
        """Return the ids of the newest ``limit`` events, newest last; raises likewise."""


class GpuRecord(Protocol):
    """What is kept of the GPUs; the documents are those of :mod:`aiidpd.api.record_schema`.

    Each raises :class:`~aiidpd.kernel.errors.NotFound`, :class:`~aiidpd.kernel.errors.Invalid` or
    :class:`~aiidpd.kernel.errors.Unavailable`.
    """

    async def incidents(self) -> list[dict[str, Any]]:
        """Return every incident in a line, the oldest first."""

    async def incident(self, identity: str, points: int) -> dict[str, Any]:
        """Return one incident with at most ``points`` readings of each GPU."""

    def energy(self) -> dict[str, Any]:
        """Return the account of energy."""

    def history(
        self, gpu: str | None, since: float | None, until: float | None
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield the rows of one GPU in [since, until), the oldest first."""


@dataclass(frozen=True)
class Services:
    """Everything that a route may look at or change.

    ``started_at`` is in Unix seconds. ``queues`` has ``backup`` and ``bench``. ``views`` has the last
    readings ``gpus``, ``containers``, ``backup``, ``bench`` and ``engines``. ``config_entries`` gives each
    key with its value as the file writes it (secrets masked) and its origin. ``reload`` applies the whole new
    configuration or raises and changes nothing; it returns the keys that changed. ``alerts`` gives those
    that are pending or fire. ``gpu_hold`` keeps whether the daemon may hold the GPUs. ``pauses`` gives the
    pauses of containers by the daemon itself.
    """

    version: str
    started_at: float
    clock: Clock
    health: Conditions
    supervisor: Workers
    bus: EventBus
    history: EventHistory
    jobs: JobBook
    queues: Mapping[str, JobQueue]
    views: Mapping[str, Latest[Any]]
    config_entries: Callable[[], Iterable[tuple[str, str, str]]]
    reload: Callable[[], Awaitable[Sequence[str]]]
    alerts: Callable[[], Iterable[Any]] = tuple
    gpu_hold: DriverHold | None = None
    pauses: Callable[[], Iterable[Any]] = tuple
    gpu_record: GpuRecord | None = None
