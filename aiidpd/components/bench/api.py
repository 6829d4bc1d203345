"""Measurements over the API."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from pydantic import Field

from aiidpd.api.access import Access
from aiidpd.api.document import Document, Request, SnapshotResponse, current
from aiidpd.api.jobs import JobDocument
from aiidpd.api.route import Answer, Call, Route
from aiidpd.components.bench.view import BenchView
from aiidpd.contracts.engines import EnginesView
from aiidpd.kernel.errors import NotFound
from aiidpd.kernel.jobs import JobQueue
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.reading import Reading
from aiidpd.kernel.task import WorkerStatus


class BenchRequest(Request):
    """What to measure."""

    endpoint: str | None = Field(None, max_length=200, description="One endpoint's name; without it, all.")


class EngineTimingsDocument(Document):
    """What an inference server says itself about the measured request."""

    prompt_tokens: int | None
    prompt_seconds: float | None
    output_tokens: int | None
    output_seconds: float | None


class WithheldDocument(Document):
    """A figure that is not given, and why."""

    figure: str
    reason: str


class BenchSampleDocument(Document):
    """The figures of one measurement; null where the record does not support one."""

    ttft_seconds: float | None
    time_per_output_token_seconds: float | None
    output_tokens_per_second: float | None
    chunk_gap_p50_seconds: float | None
    chunk_gap_p95_seconds: float | None
    chunk_gap_max_seconds: float | None
    total_seconds: float
    chunks: int
    prompt_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    finish: str | None
    engine: EngineTimingsDocument | None
    withheld: list[WithheldDocument]


class EngineDocument(Document):
    """What the endpoint's engine tells about itself; null where it does not, and ``reason`` says why."""

    engine: str = Field(description="Such as vllm or llama.cpp; empty where it did not tell.")
    requests_running: int | None
    requests_waiting: int | None
    generated_tokens: int | None = Field(
        description="Since the engine's start; llama.cpp counts those of a request when that ends."
    )
    prompt_tokens: int | None
    generated_tokens_per_second: float | None = Field(description="Over the time between the last two looks.")
    includes_probe: bool = Field(
        description="A measurement of ours was, or may have been, among the requests."
    )
    read_at: float | None
    reason: str


class EndpointDocument(Document):
    """One endpoint: its last good measurement, the error of the last try where that failed, its engine."""

    name: str
    url: str
    model: str
    simulated: bool
    sample: BenchSampleDocument | None
    measured_at: float | None
    error: str
    failed_at: float | None
    probes: int
    failures: int
    engine: EngineDocument | None = Field(None, description="Null where engines are not asked.")


class BenchDocument(SnapshotResponse):
    """Every endpoint, in the order of the configuration."""

    endpoints: tuple[EndpointDocument, ...] = ()


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
        own = EndpointDocument.model_fields.keys() - {"engine"}
        endpoints = [
            {name: getattr(each, name) for name in own} | {"engine": known.get(each.name)}
            for each in view.endpoints
        ]
        given = {"reason": view.note} if view.note else {}
        return current(BenchDocument, reading, status(), endpoints=endpoints, **given)

    async def run(call: Call) -> Answer:
        request: BenchRequest = call.body
        if request.endpoint is None:
            return JobDocument.model_validate(queue.submit(requested_by=call.by).status)
        reading = latest.get()
        known = [each.name for each in reading.value.endpoints] if reading else []
        if known and request.endpoint not in known:
            remedy = f"name one of {', '.join(known)}"
            raise NotFound("measure", request.endpoint, reason="there is no such endpoint", remedy=remedy)
        return JobDocument.model_validate(
            queue.submit(endpoint=request.endpoint, requested_by=call.by).status
        )

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
