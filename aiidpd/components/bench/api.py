"""Measurements over the API."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated

from aiidpd.api.access import Access
from aiidpd.api.document import Request, SnapshotResponse, bounded, current, document_of
from aiidpd.api.jobs import JobDocument, job_document
from aiidpd.api.route import Answer, Call, Route
from aiidpd.components.bench.stats import BenchSample
from aiidpd.components.bench.view import BenchView
from aiidpd.contracts.engines import EngineState, EnginesView, Residency
from aiidpd.kernel.errors import NotFound
from aiidpd.kernel.jobs import JobQueue
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.reading import Reading
from aiidpd.kernel.task import WorkerStatus


@dataclass(frozen=True, slots=True)
class BenchRequest(Request):
    """Endpoints to measure."""

    endpoint: Annotated[str | None, bounded(max_length=200)] = None
    """One endpoint's name; without it, all."""


@dataclass(frozen=True, slots=True)
class EngineDocument:
    """Engine of the endpoint by its own account; null where it gives none, as ``reason`` explains."""

    engine: str
    """Such as vllm or llama.cpp; empty where it is not known."""
    requests_running: int | None
    requests_waiting: int | None
    generated_tokens: int | None
    """Since the engine's start; llama.cpp counts those of a request when that ends."""
    prompt_tokens: int | None
    generated_tokens_per_second: float | None
    """Over the time between the last two polls."""
    includes_probe: bool
    """A measurement of ours was, or may have been, among the requests."""
    read_at: float | None
    reason: str
    residency: Residency
    """Place of its model, by what it reports without being used."""
    may_sleep: bool
    """Its model can go to sleep or be unloaded."""


@dataclass(frozen=True, slots=True)
class EndpointDocument:
    """One endpoint: its last good measurement, the error of the last try where that failed, its engine."""

    name: str
    url: str
    model: str
    simulated: bool
    sample: BenchSample | None
    measured_at: float | None
    error: str
    fault: str
    """Label of the error, such as unreachable, limited or cut; empty where there is none."""
    failed_at: float | None
    probes: int
    failures: int
    left_out: str
    """Why it is not measured by schedule now, such as that this would wake its model; no failure."""
    dropped: str
    """Why the last measurement does not count, such as that a user came; no failure, empty if it counts."""
    drop: str
    """Label of that: disturbed, shared, cached, throttled."""
    dropped_at: float | None
    drops: dict[str, int]
    """Measurements that did not count, by label."""
    engine: EngineDocument | None = None
    """Null where engines are not polled."""


@dataclass(frozen=True, slots=True)
class BenchDocument(SnapshotResponse):
    """Every endpoint, in the order of the configuration."""

    endpoints: tuple[EndpointDocument, ...] = ()


def _engine(state: EngineState | None) -> EngineDocument | None:
    return None if state is None else document_of(EngineDocument, state)


def routes(
    latest: Latest[BenchView],
    engines: Callable[[], Reading[EnginesView] | None],
    queue: JobQueue,
    status: Callable[[], WorkerStatus],
) -> tuple[Route, ...]:
    """Return the routes of the measurements; each endpoint's engine is shown beside it."""

    async def results(_call: Call) -> Answer:
        reading = latest.get()
        if reading is None:
            return current(BenchDocument, None, status())
        view = reading.value
        polled = engines()
        known = {each.name: each for each in polled.value.engines} if polled else {}
        endpoints = tuple(
            document_of(EndpointDocument, each, engine=_engine(known.get(each.name)))
            for each in view.endpoints
        )
        given = {"reason": view.note} if view.note else {}
        return current(BenchDocument, reading, status(), endpoints=endpoints, **given)

    async def run(call: Call) -> Answer:
        request: BenchRequest = call.body
        if request.endpoint is None:
            return job_document(queue.submit(requested_by=call.by).status)
        reading = latest.get()
        known = [each.name for each in reading.value.endpoints] if reading else []
        if known and request.endpoint not in known:
            remedy = f"name one of {', '.join(known)}"
            raise NotFound("measure", request.endpoint, reason="there is no such endpoint", remedy=remedy)
        return job_document(queue.submit(endpoint=request.endpoint, requested_by=call.by).status)

    return (
        Route(
            "GET",
            "/v1/bench/results",
            Access.READ,
            results,
            "The last measurement of each endpoint.",
            BenchDocument,
        ),
        Route(
            "POST",
            "/v1/bench/runs",
            Access.CHANGE,
            run,
            "Measure one endpoint, or all, now.",
            JobDocument,
            body=BenchRequest,
            status=HTTPStatus.ACCEPTED,
        ),
    )
