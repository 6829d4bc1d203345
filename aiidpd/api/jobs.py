"""Jobs of this process over the API: their documents, and a stream of one in progress."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import anyio

from aiidpd.api.access import Access
from aiidpd.api.document import Heartbeat, Request, Scalar, document_of
from aiidpd.api.route import Answer, Call, Route, Stream
from aiidpd.kernel.jobs import Job, JobBook, JobStatus

_PACE = 0.1  # seconds between two updates of one job: nobody reads faster


@dataclass(frozen=True, slots=True)
class JobQuery(Request):
    """Form of the answer."""

    follow: bool = False
    """Give the job again whenever it changes, one line of JSON each, to its end."""


@dataclass(frozen=True, slots=True)
class JobDocument:
    """A piece of work that was requested; ``done`` of ``total`` are in ``unit``."""

    id: str
    kind: str
    state: Literal["queued", "running", "succeeded", "failed"]
    created_at: float
    started_at: float | None
    finished_at: float | None
    message: str
    done: float
    total: float
    unit: str
    result: Mapping[str, Scalar]
    error: str


@dataclass(frozen=True, slots=True)
class JobsDocument:
    """Jobs of this process, in the order they were requested."""

    jobs: tuple[JobDocument, ...]


def routes(book: JobBook) -> tuple[Route, ...]:
    """Return the routes of the jobs in ``book``."""

    async def jobs(_call: Call) -> Answer:
        return JobsDocument(tuple(job_document(job) for job in book.all()))

    async def job(call: Call) -> Answer:
        work = book.get(call.path["id"])
        return stream(work) if call.query.follow else job_document(work.status)

    return (
        Route(
            "GET",
            "/v1/jobs",
            Access.READ,
            jobs,
            "The jobs that were requested of this process.",
            JobsDocument,
        ),
        Route(
            "GET",
            "/v1/jobs/{id}",
            Access.READ,
            job,
            "One job; with follow=true again whenever it changes, to its end.",
            JobDocument,
            query=JobQuery,
            lines=(JobDocument, Heartbeat),
        ),
    )


def job_document(status: JobStatus) -> JobDocument:
    """Return the document of a job that is in ``status``."""
    return document_of(JobDocument, status, state=status.state.value, result=dict(status.result))


async def stream(work: Job) -> Stream:
    """Yield ``work`` now and after each change, until it is final."""
    async for status in work.updates():
        yield job_document(status)
        if not status.state.final:
            await anyio.sleep(_PACE)
