"""Backups over the API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

from aiidpd.api.access import Access
from aiidpd.api.document import Request, SnapshotResponse, bounded, current, document_of
from aiidpd.api.jobs import JobDocument, job_document
from aiidpd.api.route import Answer, Call, Route
from aiidpd.components.backup.process.results import PruneResult
from aiidpd.components.backup.restoring import SEPARATOR
from aiidpd.components.backup.view import BackupView, RunProgress, SnapshotInfo
from aiidpd.kernel.errors import Invalid, NotFound
from aiidpd.kernel.events import Scalar
from aiidpd.kernel.jobs import JobQueue
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.task import WorkerStatus

_LONGEST: Final = 4096  # characters of a path
Name = Annotated[str, bounded(max_length=64)]
Path = Annotated[str, bounded(max_length=_LONGEST)]


@dataclass(frozen=True, slots=True)
class RunResultDocument:
    """End of the last backup; ``error`` is empty for a success."""

    succeeded: bool
    ended_at: float
    seconds: float
    snapshot: str
    unchanged: bool
    copied_files: int
    copied_bytes: int
    linked_files: int
    linked_bytes: int
    left_out: int
    error: str


@dataclass(frozen=True, slots=True)
class StoreDocument:
    """Target as a whole; sizes in bytes, times in Unix seconds."""

    unique_bytes: int
    """Bytes of all contents, each counted once."""
    unverified_bytes: int
    """Bytes that were never read back."""
    oldest_proof: float | None
    """Time at which the content was read back that was not since longest."""
    damaged: int
    rotten: Mapping[str, str]
    """Files of the source that read otherwise than they were backed up, with the SHA-256 of that."""
    rotten_total: int
    free: int
    room: int
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BackupDocument(SnapshotResponse):
    """State of backups; snapshots are ordered by id, the oldest first."""

    configured: bool = False
    source: str = ""
    target: str = ""
    schedule: str = ""
    snapshots: tuple[SnapshotInfo, ...] = ()
    store: StoreDocument | None = None
    last_success_at: float | None = None
    last_verified_at: float | None = None
    last_restored_at: float | None = None
    """Time at which a drill last proved that a restore works."""
    last_run: RunResultDocument | None = None
    running: RunProgress | None = None
    next_run_at: float | None = None


@dataclass(frozen=True, slots=True)
class RetentionDocument:
    """Decision on each snapshot; ``last`` is null until a prune or a dry run has made one."""

    last: PruneResult | None


@dataclass(frozen=True, slots=True)
class RunOptions(Request):
    """A backup by hand."""

    adopt: bool = False
    """Use the target as it is, though it is another one than so far, or holds other files."""


@dataclass(frozen=True, slots=True)
class VerifyOptions(Request):
    """A verification by hand."""

    mode: Literal["due", "full", "sample"] = "due"
    snapshot: Name = ""
    """Snapshot that is read alone; empty: all."""
    share: Annotated[float, bounded(gt=0.0, le=1.0)] = 0.1
    """Share of the bytes that a sample has."""
    heal: bool = True


@dataclass(frozen=True, slots=True)
class RestoreOptions(Request):
    """A restore. ``to`` is the folder, empty for the source itself."""

    to: Path = ""
    snapshot: Name = ""
    """Empty: the newest."""
    paths: tuple[Path, ...] = field(default=())
    """Paths in the snapshot, or patterns of them; none: all."""
    conflicts: Literal["refuse", "skip", "overwrite"] = "refuse"
    owner: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class DrillOptions(Request):
    """A drill by hand; ``size`` in bytes, 0 for the configured one."""

    size: Annotated[int, bounded(ge=0, le=2**50)] = 0


@dataclass(frozen=True, slots=True)
class PruneOptions(Request):
    """A removal of the snapshots that retention does not keep."""

    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class PinOptions(Request):
    """A pin: the snapshot is never removed by itself. An empty ``reason`` takes the pin away."""

    snapshot: Name
    reason: Annotated[str, bounded(max_length=200)] = ""


class BackupApi:
    """Answers about backups, and queues the work that is requested."""

    def __init__(
        self, latest: Latest[BackupView], queue: JobQueue, status: Callable[[], WorkerStatus]
    ) -> None:
        self._latest = latest
        self._queue = queue
        self._status = status

    def routes(self) -> tuple[Route, ...]:
        """Return the routes of the snapshots and of work by hand."""
        return (
            Route(
                "GET",
                "/v1/backup/snapshots",
                Access.READ,
                self._snapshots,
                "The snapshots, the last run and the next.",
                BackupDocument,
            ),
            Route(
                "GET",
                "/v1/backup/retention",
                Access.READ,
                self._retention,
                "The decision on each snapshot, as the last prune or dry run made it.",
                RetentionDocument,
            ),
            *(
                Route(
                    "POST",
                    f"/v1/backup/{name}",
                    Access.CHANGE,
                    self._handler(work, arguments),
                    summary,
                    JobDocument,
                    body=body,
                    status=HTTPStatus.ACCEPTED,
                )
                for name, work, summary, body, arguments in _WORKS
            ),
        )

    async def _retention(self, _call: Call) -> Answer:
        reading = self._latest.get()
        last = None if reading is None else reading.value.last_prune
        return RetentionDocument(last)

    async def _snapshots(self, _call: Call) -> Answer:
        reading = self._latest.get()
        if reading is None:
            return current(BackupDocument, None, self._status())
        view = reading.value
        last = None if view.last_run is None else document_of(RunResultDocument, view.last_run)
        store = None
        if view.store is not None:
            store = document_of(StoreDocument, view.store, rotten=dict(view.store.rotten))
        given = {"reason": view.reason} if view.reason else {}
        return current(BackupDocument, reading, self._status(), last_run=last, store=store, **given)

    def _handler(self, work: str, arguments: Callable[[Any], dict[str, Scalar]]) -> Any:
        async def handle(call: Call) -> Answer:
            given = arguments(call.body)
            self._check_snapshot(work, str(given.get("snapshot", "")))
            job = self._queue.submit(work=work, requested_by=call.by, **given)
            return job_document(job.status)

        return handle

    def _check_snapshot(self, work: str, identity: str) -> None:
        """Raise :class:`NotFound` for a snapshot that there is not, as far as is known."""
        reading = self._latest.get()
        known = () if reading is None else reading.value.snapshots
        if identity and known and not any(each.id == identity for each in known):
            remedy = "`aiidpctl backup list` has those that there are"
            raise NotFound(work, f"snapshot {identity}", reason="there is no such snapshot", remedy=remedy)


def _as_they_are(body: Any) -> dict[str, Scalar]:
    return asdict(body)


def _restore_arguments(body: RestoreOptions) -> dict[str, Scalar]:
    if any(SEPARATOR in path or not path for path in body.paths):
        raise Invalid("restore", "files", reason="a path is empty, or holds a NUL")
    if body.to and not body.to.startswith("/"):
        raise Invalid("restore to", body.to, reason="it is no absolute path")
    return asdict(body) | {"paths": SEPARATOR.join(body.paths)}


_WORKS: Final = (
    ("runs", "run", "Back up now.", RunOptions, _as_they_are),
    (
        "verifications",
        "verify",
        "Read what is stored, and heal what is damaged.",
        VerifyOptions,
        _as_they_are,
    ),
    ("restores", "restore", "Restore files of a snapshot.", RestoreOptions, _restore_arguments),
    ("drills", "drill", "Prove on a sample that a restore works.", DrillOptions, _as_they_are),
    ("prunes", "prune", "Remove the snapshots that are not kept.", PruneOptions, _as_they_are),
    ("pins", "pin", "Keep a snapshot whatever its age, or not any more.", PinOptions, _as_they_are),
)
