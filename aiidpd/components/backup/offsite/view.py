"""State of the repositories for status, scrapes and ``aiidpctl backup offsite list`` (pure)."""

from __future__ import annotations

from dataclasses import dataclass

from aiidpd.components.backup.offsite.state import RepositoryRecord


@dataclass(frozen=True, slots=True)
class OffsiteProgress:
    """Progress of what runs now; ``act`` is sending, verifying, tidying, restoring or creating."""

    act: str
    bytes_done: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class RepositoryView:
    """One repository; ``next_run_at`` in the past means that the run is about to start."""

    record: RepositoryRecord
    engine: str
    repository: str
    schedule: str
    parts: int
    next_run_at: float | None = None
    running: OffsiteProgress | None = None
    overdue: bool = False


@dataclass(frozen=True, slots=True)
class OffsiteView:
    """Every repository, in the order of the configuration. ``newest`` is the newest local snapshot's id.

    ``reading`` is the id of the local snapshot that is read now, which must not be removed; empty for none.
    """

    newest: str = ""
    reading: str = ""
    repositories: tuple[RepositoryView, ...] = ()
