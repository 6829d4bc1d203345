"""Backups over the API."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from aiidpd.api.access import Access
from aiidpd.api.document import Document, NoOptions, SnapshotResponse, current
from aiidpd.api.jobs import JobDocument
from aiidpd.api.route import Answer, Call, Route
from aiidpd.components.backup.view import BackupView
from aiidpd.kernel.jobs import JobQueue
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.task import WorkerStatus


class SnapshotDocument(Document):
    """One snapshot; ``broken`` says why it is no whole one, ``in_future`` that a wrong clock has named it."""

    id: str
    source: str
    created_at: float
    verified_at: float
    files: int
    bytes: int
    copied_files: int
    copied_bytes: int
    linked_files: int
    linked_bytes: int
    refused: int
    broken: str
    in_future: bool = False


class RunProgressDocument(Document):
    """How far the present backup is."""

    phase: str
    files_done: int
    files: int
    bytes_done: int
    bytes: int


class RunResultDocument(Document):
    """How the last backup ended; ``error`` is empty for a success."""

    succeeded: bool
    ended_at: float
    seconds: float
    snapshot: str
    copied_files: int
    copied_bytes: int
    linked_files: int
    linked_bytes: int
    error: str


class BackupDocument(SnapshotResponse):
    """The state of backups; snapshots are ordered by id, the oldest first."""

    configured: bool = False
    source: str = ""
    target: str = ""
    schedule: str = ""
    snapshots: tuple[SnapshotDocument, ...] = ()
    last_success_at: float | None = None
    last_run: RunResultDocument | None = None
    running: RunProgressDocument | None = None
    next_run_at: float | None = None


def routes(
    latest: Latest[BackupView], queue: JobQueue, status: Callable[[], WorkerStatus]
) -> tuple[Route, ...]:
    """Return the routes of the snapshots and of runs by hand."""

    async def snapshots(_call: Call) -> Answer:
        reading = latest.get()
        given = {"reason": reading.value.reason} if reading and reading.value.reason else {}
        return current(BackupDocument, reading, status(), **given)

    async def run(call: Call) -> Answer:
        return JobDocument.model_validate(queue.submit(requested_by=call.by).status)

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
