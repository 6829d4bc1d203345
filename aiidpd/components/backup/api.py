"""Backups over the API."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from aiidpd.api.access import Access
from aiidpd.api.document import NoOptions, SnapshotResponse, current, document_of
from aiidpd.api.jobs import JobDocument, job_document
from aiidpd.api.route import Answer, Call, Route
from aiidpd.components.backup.view import BackupView, RunProgress, SnapshotInfo
from aiidpd.kernel.jobs import JobQueue
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.task import WorkerStatus


@dataclass(frozen=True, slots=True)
class RunResultDocument:
    """End of the last backup; ``error`` is empty for a success."""

    succeeded: bool
    ended_at: float
    seconds: float
    snapshot: str
    copied_files: int
    copied_bytes: int
    linked_files: int
    linked_bytes: int
    error: str


@dataclass(frozen=True, slots=True)
class BackupDocument(SnapshotResponse):
    """State of backups; snapshots are ordered by id, the oldest first."""

    configured: bool = False
    source: str = ""
    target: str = ""
    schedule: str = ""
    snapshots: tuple[SnapshotInfo, ...] = ()
    last_success_at: float | None = None
    last_run: RunResultDocument | None = None
    running: RunProgress | None = None
    next_run_at: float | None = None


def routes(
    latest: Latest[BackupView], queue: JobQueue, status: Callable[[], WorkerStatus]
) -> tuple[Route, ...]:
    """Return the routes of the snapshots and of runs by hand."""

    async def snapshots(_call: Call) -> Answer:
        reading = latest.get()
        if reading is None:
            return current(BackupDocument, None, status())
        view = reading.value
        last = None if view.last_run is None else document_of(RunResultDocument, view.last_run)
        given = {"reason": view.reason} if view.reason else {}
        return current(BackupDocument, reading, status(), last_run=last, **given)

    async def run(call: Call) -> Answer:
        return job_document(queue.submit(requested_by=call.by).status)

    return (
        Route(
            "GET",
            "/v1/backup/snapshots",
            Access.READ,
            snapshots,
            "The snapshots, the last run and the next.",
            BackupDocument,
        ),
        Route(
            "POST",
            "/v1/backup/runs",
            Access.CHANGE,
            run,
            "Back up now.",
            JobDocument,
            body=NoOptions,
            status=HTTPStatus.ACCEPTED,
        ),
    )
