"""Models over the API."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated

from aiidpd.api.access import Access
from aiidpd.api.document import NoOptions, Request, SnapshotResponse, bounded, current
from aiidpd.api.jobs import JobDocument, job_document
from aiidpd.api.route import Answer, Call, Route
from aiidpd.components.models.jobs import CHECK, VERIFY
from aiidpd.components.models.memory import ModelsMemory
from aiidpd.components.models.view import (
    DiskInfo,
    DuplicateInfo,
    FolderInfo,
    LeftoverInfo,
    ModelDetails,
    ModelInfo,
    ModelsView,
)
from aiidpd.kernel.jobs import JobQueue
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.task import WorkerStatus


@dataclass(frozen=True, slots=True)
class ModelsDocument(SnapshotResponse):
    """Every model of the last scan, folders, leftovers, duplicates and disks."""

    models: tuple[ModelInfo, ...] = ()
    folders: tuple[FolderInfo, ...] = ()
    leftovers: tuple[LeftoverInfo, ...] = ()
    duplicates: tuple[DuplicateInfo, ...] = ()
    reclaimable_bytes: int = 0
    disks: tuple[DiskInfo, ...] = ()
    scanned_at: float | None = None
    scan_seconds: float | None = None
    open_reason: str = ""


@dataclass(frozen=True, slots=True)
class ModelDetailsDocument(SnapshotResponse):
    """Every model of one name: a cache may hold several revisions, and folders the same model."""

    models: tuple[ModelDetails, ...] = ()


@dataclass(frozen=True, slots=True)
class VerificationRequest(Request):
    """Files to read: of the models called ``name``, of all where it is empty."""

    name: Annotated[str, bounded(max_length=1000)] = ""
    duplicates: bool = False
    """Read those that are probably there twice, instead."""
    signature: bool = False
    """Fail unless each model has a valid signature of a configured signer."""


@dataclass(frozen=True, slots=True)
class CheckRequest(Request):
    """Models to ask the hub about: those called ``name``, all where it is empty."""

    name: Annotated[str, bounded(max_length=1000)] = ""


class ModelRoutes:
    """Handlers; ``scans`` and ``jobs`` are the queues of the two tasks."""

    def __init__(
        self,
        latest: Latest[ModelsView],
        memory: ModelsMemory,
        scans: JobQueue,
        jobs: JobQueue,
        status: Callable[[], WorkerStatus],
    ) -> None:
        self._latest = latest
        self._memory = memory
        self._scans = scans
        self._jobs = jobs
        self._status = status

    def routes(self) -> tuple[Route, ...]:
        """Return the routes."""
        accepted = HTTPStatus.ACCEPTED
        return (
            Route(
                "GET",
                "/v1/models",
                Access.READ,
                self._list,
                "The models on this machine, duplicates and disks.",
                ModelsDocument,
            ),
            Route(
                "GET",
                "/v1/models/{name}",
                Access.READ,
                self._show,
                "One model with its files; a slash in its name is written %2F.",
                ModelDetailsDocument,
            ),
            Route(
                "POST",
                "/v1/models/scans",
                Access.CHANGE,
                self._scan,
                "Search for models now.",
                JobDocument,
                body=NoOptions,
                status=accepted,
            ),
            Route(
                "POST",
                "/v1/models/verifications",
                Access.CHANGE,
                self._verify,
                "Read files of models whole and compare them with the hashes that they must have.",
                JobDocument,
                body=VerificationRequest,
                status=accepted,
            ),
            Route(
                "POST",
                "/v1/models/checks",
                Access.CHANGE,
                self._check,
                "Ask the hub whether models are the newest revision.",
                JobDocument,
                body=CheckRequest,
                status=accepted,
            ),
        )

    async def _list(self, _call: Call) -> Answer:
        return current(ModelsDocument, self._latest.get(), self._status())

    async def _show(self, call: Call) -> Answer:
        reading = self._latest.get()
        if reading is None:
            return current(ModelDetailsDocument, None, self._status())
        keys = self._memory.keys_of(call.path["name"])
        details = tuple(reading.value.details[key] for key in keys if key in reading.value.details)
        return current(ModelDetailsDocument, reading, self._status(), models=details)

    async def _scan(self, call: Call) -> Answer:
        return job_document(self._scans.submit(requested_by=call.by).status)

    async def _verify(self, call: Call) -> Answer:
        body: VerificationRequest = call.body
        if body.name:
            self._memory.keys_of(body.name)
        job = self._jobs.submit(
            work=VERIFY,
            name=body.name,
            duplicates=body.duplicates,
            signature=body.signature,
            requested_by=call.by,
        )
        return job_document(job.status)

    async def _check(self, call: Call) -> Answer:
        body: CheckRequest = call.body
        if body.name:
            self._memory.keys_of(body.name)
        return job_document(self._jobs.submit(work=CHECK, name=body.name, requested_by=call.by).status)
