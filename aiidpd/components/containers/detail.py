"""One container with everything that is known of it, over the API."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio

from aiidpd.api.access import Access
from aiidpd.api.document import (
    Scalar,
    SeverityName,
    SnapshotResponse,
    current,
    document_of,
    severity_name,
)
from aiidpd.api.route import Answer, Call, Route
from aiidpd.components.containers.api import ContainerDocument, PauseDocument
from aiidpd.components.containers.evidence.document import health_checks, redactor
from aiidpd.components.containers.logs.failures import LastFailure
from aiidpd.components.containers.logs.named import NamedFailures
from aiidpd.components.containers.names import near
from aiidpd.components.containers.pause.state import PauseView
from aiidpd.components.containers.phase import phase
from aiidpd.components.containers.runtime import ContainerReading, RuntimeSnapshot
from aiidpd.components.containers.view import OURS
from aiidpd.contracts.containers import CONTAINER_USE
from aiidpd.contracts.engines import ENGINES, EngineState
from aiidpd.contracts.gpus import GPUS
from aiidpd.history.api import EventDocument, EventHistory, event_document
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.errors import NotFound, Unavailable
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.reading import Reading
from aiidpd.kernel.task import WorkerStatus
from aiidpd.kernel.views import Views

_DESCRIBING = 2.0  # seconds
_EVENTS = 15
_DEATHS = 5
_SHORTEST_ID = 6  # digits of the beginning of an id


@dataclass(frozen=True, slots=True)
class HealthCheckDocument:
    """One result of a container's health check."""

    ended_at: str
    """Time by the engine's clock (RFC 3339)."""
    exit_code: int | None
    output: str


@dataclass(frozen=True, slots=True)
class ContainerEngineDocument:
    """Inference engine in a container, and the verdict on it."""

    name: str
    engine: str
    model: str
    residency: str
    verdict: str
    verdict_since: float | None
    verdict_reason: str
    requests_running: int | None
    requests_waiting: int | None
    generated_tokens_per_second: float | None
    read_at: float | None
    reason: str
    """Why its figures are not known; empty where they are."""


@dataclass(frozen=True, slots=True)
class ContainerUseDocument:
    """Use of the machine by a container's processes."""

    processes: int
    blocked: int
    """Processes in state D, which no signal ends."""
    cpu_seconds: float | None
    memory_bytes: int | None
    """Anonymous memory."""
    memory_limit_bytes: int | None
    oom_kills: int | None


@dataclass(frozen=True, slots=True)
class ContainerGpuDocument:
    """GPU on which a container has processes."""

    index: int
    name: str
    uuid: str
    processes: int
    memory_bytes: float | None


@dataclass(frozen=True, slots=True)
class ContainerFailureDocument:
    """Last failure that has a name."""

    name: str
    title: str
    remedy: str
    line: str
    """Line of the log that said so; empty where another fact did."""
    at: float
    exit_code: int | None


@dataclass(frozen=True, slots=True)
class ContainerConditionDocument:
    """Something that is wrong with the container now."""

    type: str
    severity: SeverityName
    reason: str
    remedy: str
    since: float


@dataclass(frozen=True, slots=True)
class ContainerDetail(SnapshotResponse):
    """One container with everything that is known of it."""

    container: ContainerDocument | None = None
    error: str = ""
    """Why the engine could not start it, in the engine's words."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Labels that begin with "aiidpd."."""
    health_checks: tuple[HealthCheckDocument, ...] = ()
    """Last results of its health check, the newest last."""
    health_reason: str = ""
    """Why they are not known."""
    engine: ContainerEngineDocument | None = None
    use: ContainerUseDocument | None = None
    gpus: tuple[ContainerGpuDocument, ...] | None = None
    """GPUs on which it has processes; null where that is not known."""
    failure: ContainerFailureDocument | None = None
    log_reason: str = ""
    """Why its log can't be read."""
    conditions: tuple[ContainerConditionDocument, ...] = ()
    heal: Mapping[str, Scalar] | None = None
    """Policy and state of its healing; null where nothing heals."""
    deaths: tuple[EventDocument, ...] = ()
    """Its last ends, the newest last."""
    events: tuple[EventDocument, ...] = ()
    """Last events about it, the newest last."""
    events_reason: str = ""
    """Why they are not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetailSources:
    """Sources of what is known of a container; each answers at once but ``describe`` and ``history``.

    Each by id: ``describe`` returns the runtime's description of a container, ``unreadable`` why its log
    can't be read, ``heal`` the policy and state of its healing.
    """

    latest: Latest[RuntimeSnapshot]
    status: Callable[[], WorkerStatus]
    pauses: Callable[[], Iterable[PauseView]]
    describe: Callable[[str], Awaitable[Mapping[str, Any] | None]]
    failures: NamedFailures
    unreadable: Callable[[str], str | None] = lambda _: None
    conditions: Conditions
    views: Views
    history: EventHistory
    heal: Callable[[str], Mapping[str, Scalar] | None] = lambda _: None


def detail_routes(sources: DetailSources) -> tuple[Route, ...]:
    """Return the route of one container."""

    async def container(call: Call) -> Answer:
        reading = sources.latest.get()
        if reading is None:
            return current(ContainerDetail, None, sources.status())
        return await _detail(sources, reading, find(reading.value.containers, call.path["name"]))

    return (
        Route(
            "GET",
            "/v1/containers/{name}",
            Access.READ,
            container,
            "One container, by its name or the beginning of its id, with everything that is known of it.",
            ContainerDetail,
        ),
    )


def find(containers: Iterable[ContainerReading], wanted: str) -> ContainerReading:
    """Return the container that ``wanted`` names; raises :class:`NotFound` with names that are near."""
    known = {each.name: each for each in containers}
    if wanted in known:
        return known[wanted]
    meant = [each for each in known.values() if len(wanted) >= _SHORTEST_ID and each.id.startswith(wanted)]
    if len(meant) == 1:
        return meant[0]
    meant_perhaps = near(wanted, known)
    remedy = "aiidpctl containers list"
    if meant_perhaps:
        remedy = f"did you mean {' or '.join(meant_perhaps)}? {remedy} has all"
    raise NotFound("show container", wanted[:200], reason="there is no such container", remedy=remedy)


async def _detail(
    sources: DetailSources, reading: Reading[RuntimeSnapshot], container: ContainerReading
) -> ContainerDetail:
    described: Mapping[str, Any] | None = None
    events: list[EventDocument] = []
    deaths: list[EventDocument] = []
    reasons = {"health": "", "events": ""}

    async def describe() -> None:
        nonlocal described
        if reading.value.simulated:
            return
        with anyio.move_on_after(_DESCRIBING) as scope:
            try:
                described = await sources.describe(container.id)
            except Unavailable as error:
                reasons["health"] = str(error)
        if scope.cancelled_caught:
            reasons["health"] = f"the engine did not answer within {_DESCRIBING:g} s"

    async def recall() -> None:
        try:
            past = sources.history.events
            events.extend(map(event_document, await past(limit=_EVENTS, subject=container.name)))
            died = await past(limit=_DEATHS, kinds="container.died", subject=container.name)
            deaths.extend(map(event_document, died))
        except Unavailable as error:
            reasons["events"] = str(error)

    async with anyio.create_task_group() as group:
        group.start_soon(describe)
        group.start_soon(recall)
    redact = redactor(container, described)
    pause = next((each for each in sources.pauses() if each.id == container.id), None)
    engine = _engine(sources, container.id)
    subjects = {container.name, container.id[:12], *([engine.name] if engine is not None else ())}
    failure = sources.failures.get(container.id)
    return current(
        ContainerDetail,
        reading,
        sources.status(),
        container=document_of(
            ContainerDocument,
            container,
            pause=None if pause is None else document_of(PauseDocument, pause),
            phase=phase(container),
        ),
        error=redact.text(container.error),
        labels=redact.environment(
            {key: value for key, value in container.labels.items() if key.startswith(OURS)}
        ),
        health_checks=tuple(HealthCheckDocument(**each) for each in health_checks(described, redact)),
        health_reason=reasons["health"],
        engine=None if engine is None else _engine_document(engine),
        use=_use(sources, container.id),
        gpus=_gpus(sources, container.id),
        failure=None if failure is None else _failure(failure),
        log_reason=sources.unreadable(container.id) or "",
        conditions=tuple(
            document_of(ContainerConditionDocument, each, severity=severity_name(each.severity))
            for each in sources.conditions.active()
            if each.subject in subjects
        ),
        heal=sources.heal(container.id),
        deaths=tuple(deaths),
        events=tuple(events),
        events_reason=reasons["events"],
    )


def _engine(sources: DetailSources, identity: str) -> EngineState | None:
    reading = sources.views.get(ENGINES)
    engines = reading.value.engines if reading is not None else ()
    return next((each for each in engines if each.container == identity), None)


def _engine_document(engine: EngineState) -> ContainerEngineDocument:
    speed = engine.generated_tokens_per_second
    return document_of(
        ContainerEngineDocument,
        engine,
        residency=engine.residency.value,
        verdict=engine.verdict.value,
        generated_tokens_per_second=speed if speed is not None and math.isfinite(speed) else None,
    )


def _use(sources: DetailSources, identity: str) -> ContainerUseDocument | None:
    reading = sources.views.get(CONTAINER_USE)
    use = reading.value.by_id.get(identity) if reading is not None else None
    if use is None:
        return None
    return document_of(ContainerUseDocument, use, processes=len(use.pids), blocked=len(use.blocked))


def _gpus(sources: DetailSources, identity: str) -> tuple[ContainerGpuDocument, ...] | None:
    reading = sources.views.get(GPUS)
    if reading is None:
        return None
    found: list[ContainerGpuDocument] = []
    for gpu in reading.value.gpus:
        if gpu.processes is None:
            return None
        own = [each for each in gpu.processes if each.container == identity]
        held = [each.bytes for each in own if each.bytes is not None]
        if own:
            memory = sum(held) if held else None
            found.append(document_of(ContainerGpuDocument, gpu, processes=len(own), memory_bytes=memory))
    return tuple(found)


def _failure(failure: LastFailure) -> ContainerFailureDocument:
    return document_of(
        ContainerFailureDocument,
        failure.named.failure,
        line=failure.line,
        at=failure.at,
        exit_code=failure.exit_code,
    )
