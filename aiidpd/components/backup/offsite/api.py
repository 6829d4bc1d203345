"""Repositories over the API."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Final, Literal

from aiidpd.api.access import Access
from aiidpd.api.document import Request, SnapshotResponse, bounded, current, document_of
from aiidpd.api.jobs import JobDocument, job_document
from aiidpd.api.route import Answer, Call, Route
from aiidpd.components.backup.offsite.view import OffsiteProgress, OffsiteView, RepositoryView
from aiidpd.config.fields import lies_in
from aiidpd.kernel.errors import Invalid, NotFound
from aiidpd.kernel.jobs import JobQueue
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.task import WorkerStatus

_LONGEST_NAME: Final = 63
_LONGEST_PATH: Final = 4095
_HEX: Final = frozenset("0123456789abcdef")
_LONGEST_ID: Final = 64


@dataclass(frozen=True, slots=True)
class OffsiteRunRequest(Request):
    """Work with one repository."""

    repository: Annotated[str, bounded(max_length=_LONGEST_NAME)]
    """Its name."""
    act: Literal["run", "verify", "init"] = "run"
    """Send the newest snapshot and verify a part; verify alone; make the repository."""
    all: bool = False
    """Verify all of it and not the next part."""


@dataclass(frozen=True, slots=True)
class OffsiteRestoreRequest(Request):
    """Restore from one repository."""

    repository: Annotated[str, bounded(max_length=_LONGEST_NAME)]
    """Its name."""
    to: Annotated[str, bounded(max_length=_LONGEST_PATH)]
    """Folder on the daemon's machine: absolute, empty or not there yet."""
    snapshot: Annotated[str, bounded(max_length=_LONGEST_ID)] = ""
    """Id in a restic repository; without it the newest."""


@dataclass(frozen=True, slots=True)
class RepositoryDocument:
    """One repository. Times in Unix seconds, null for never; what was never done has no figures."""

    name: str
    engine: str
    repository: str
    schedule: str
    """Empty: after each new snapshot."""
    snapshot: str
    """Local snapshot that was sent last, whole; empty for none."""
    stored_as: str
    """Id of that in the repository."""
    succeeded_at: float | None
    seconds: float | None
    new_bytes: int | None
    bytes: int | None
    files: int | None
    failures: int
    """Failed runs since the last success."""
    failed_at: float | None
    failure: str
    """Kind of the last failure."""
    error: str
    verified_at: float | None
    verified_read: int | None
    """Of ``verified_total`` that many were read back, in ``verified_unit``."""
    verified_total: int | None
    verified_unit: str
    parts: int
    """Parts into which the reading back is divided; 0 where nothing is read back."""
    parts_read: int
    """Parts of them that were read back and found well, ever."""
    covered_at: float | None
    """Time since which every part has been read back."""
    damage: str
    """Damage that a verification found, empty for none."""
    overdue: bool
    next_run_at: float | None
    running: OffsiteProgress | None


@dataclass(frozen=True, slots=True)
class OffsiteDocument(SnapshotResponse):
    """Every repository, in the order of the configuration."""

    newest: str = ""
    """Newest whole local snapshot."""
    repositories: tuple[RepositoryDocument, ...] = ()


def _document(each: RepositoryView) -> RepositoryDocument:
    record = each.record
    sent, verified = bool(record.succeeded_at), bool(record.verified_at)
    return document_of(
        RepositoryDocument,
        record,
        engine=each.engine,
        repository=each.repository,
        schedule=each.schedule,
        succeeded_at=record.succeeded_at or None,
        seconds=record.seconds if sent else None,
        new_bytes=record.new_bytes if sent else None,
        bytes=record.bytes if sent else None,
        files=record.files if sent else None,
        failed_at=record.failed_at or None,
        verified_at=record.verified_at or None,
        verified_read=record.verified_read if verified else None,
        verified_total=record.verified_total if verified else None,
        parts=each.parts,
        parts_read=sum(bool(at) for at in record.parts_read_at),
        covered_at=record.covered_at or None,
        overdue=each.overdue,
        next_run_at=each.next_run_at,
        running=each.running,
    )


def _check_restore(request: OffsiteRestoreRequest, protected: tuple[Path, ...]) -> None:
    """Refuse a place or a snapshot that can't be."""
    to = Path(request.to)
    if not to.is_absolute() or "\0" in request.to or ".." in to.parts:
        reason = "it is no absolute path"
        raise Invalid("restore to", request.to[:200], reason=reason, remedy="name it from the root")
    if request.snapshot and not _HEX.issuperset(request.snapshot):
        raise Invalid("restore snapshot", request.snapshot, reason="it is no id of restic's")
    for folder in protected:
        if lies_in(to, folder) or lies_in(folder, to):
            remedy = "restore beside it, then move what you need"
            reason = f"it overlaps {folder}, which the daemon uses"
            raise Invalid("restore to", request.to[:200], reason=reason, remedy=remedy)


def routes(
    latest: Latest[OffsiteView],
    queue: JobQueue,
    status: Callable[[], WorkerStatus],
    protected: Callable[[], tuple[Path, ...]],
) -> tuple[Route, ...]:
    """Return the routes of the repositories; nothing is restored into one of the ``protected`` folders."""

    def known(name: str) -> str:
        reading = latest.get()
        names = [each.record.name for each in reading.value.repositories] if reading else []
        if reading and name not in names:
            remedy = f"there are: {', '.join(names)}" if names else "list it in [[offsite.repositories]]"
            raise NotFound("find repository", name, reason="there is no such one", remedy=remedy)
        return name

    async def repositories(_call: Call) -> Answer:
        reading = latest.get()
        if reading is None:
            return current(OffsiteDocument, None, status())
        found = tuple(map(_document, reading.value.repositories))
        return current(OffsiteDocument, reading, status(), repositories=found)

    async def run(call: Call) -> Answer:
        request: OffsiteRunRequest = call.body
        name = known(request.repository)
        job = queue.submit(act=request.act, repository=name, all=request.all, requested_by=call.by)
        return job_document(job.status)

    async def restore(call: Call) -> Answer:
        request: OffsiteRestoreRequest = call.body
        name = known(request.repository)
        _check_restore(request, protected())
        job = queue.submit(
            act="restore", repository=name, to=request.to, snapshot=request.snapshot, requested_by=call.by
        )
        return job_document(job.status)

    return (
        Route(
            "GET",
            "/v1/backup/offsite",
            Access.READ,
            repositories,
            "The repositories elsewhere: what was sent there, read back and found.",
            OffsiteDocument,
        ),
        Route(
            "POST",
            "/v1/backup/offsite/runs",
            Access.CHANGE,
            run,
            "Send the newest snapshot to a repository, verify one, or make one.",
            JobDocument,
            body=OffsiteRunRequest,
            status=HTTPStatus.ACCEPTED,
        ),
        Route(
            "POST",
            "/v1/backup/offsite/restores",
            Access.CHANGE,
            restore,
            "Restore from a repository into an empty folder, and prove it.",
            JobDocument,
            body=OffsiteRestoreRequest,
            status=HTTPStatus.ACCEPTED,
        ),
    )
