"""Incidents over the API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

import anyio.to_thread

from aiidpd.api.access import Access
from aiidpd.api.document import Request, Scalar, SeverityName, bounded, parse
from aiidpd.api.route import Answer, Call, Route
from aiidpd.incidents.store import IncidentStore
from aiidpd.kernel.errors import Unavailable


@dataclass(frozen=True, slots=True)
class IncidentQuery(Request):
    """Part of an incident that is shown."""

    points: Annotated[int, bounded(ge=10, le=20_000)] = 300
    """Most readings of each GPU: of each stretch the hottest. Its folder has all."""


@dataclass(frozen=True, slots=True)
class IncidentEventDocument:
    """An event around an incident."""

    id: int
    time: float
    source: str
    kind: str
    subject: str
    severity: SeverityName
    reason: str
    evidence: Mapping[str, Scalar]
    simulated: bool


@dataclass(frozen=True, slots=True)
class IncidentSummary:
    """One incident in a line; a broken one has no more than its id and the reason."""

    id: str
    state: Literal["recording", "complete", "interrupted", "broken"]
    kind: str = ""
    """Alert that began it, or the kind of the event."""
    subject: str = ""
    severity: SeverityName = "error"
    reason: str = ""
    simulated: bool = False
    started_at: float | None = None
    last_trigger_at: float | None = None
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class IncidentsDocument:
    """Every incident that is stored, the oldest first."""

    incidents: list[IncidentSummary]


@dataclass(frozen=True, slots=True)
class IncidentContainer:
    """A container at the time of an incident."""

    id: str
    name: str
    image: str
    state: str
    health: str | None
    gpu: bool


@dataclass(frozen=True, slots=True)
class IncidentContainers:
    """Containers that ran when the incident began; ``reason`` is why that is not known."""

    read_at: float | None = None
    reason: str = ""
    containers: tuple[IncidentContainer, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentEndpoint:
    """An endpoint at that time: the last poll of its engine, and the last measurement before."""

    name: str
    requests_running: int | None = None
    requests_waiting: int | None = None
    includes_probe: bool = False
    """A measurement of ours was among them."""
    read_at: float | None = None
    """Time at which the engine was polled."""
    reason: str = ""
    """Why it is not known how many."""
    measured_at: float | None
    output_tokens_per_second: float | None
    error: str


@dataclass(frozen=True, slots=True)
class IncidentRequests:
    """Requests that ran and waited, by the engines' own count; null and a reason where none is known."""

    running: int | None = None
    waiting: int | None = None
    reason: str = ""
    endpoints: tuple[IncidentEndpoint, ...] = ()


@dataclass(frozen=True, slots=True)
class IncidentTrack:
    """Requests from ten minutes before on: rows of ``columns``, the first of them Unix seconds."""

    columns: tuple[str, ...] = ()
    data: tuple[tuple[float | str | None, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class IncidentProcess:
    """A process that held memory of a GPU when it was last read."""

    pid: int
    name: str
    used_memory_bytes: float | None
    container_id: str | None


@dataclass(frozen=True, slots=True)
class IncidentGpu:
    """One GPU: its limits, and its readings as rows of ``columns``; the first column is Unix seconds."""

    uuid: str
    index: int | None
    name: str
    file: str
    """File with every reading, in the incident's folder."""
    rows: int
    last_read_at: float | None
    limits: Mapping[str, float | None]
    processes: list[IncidentProcess] | None
    columns: list[str]
    data: list[list[float | str | None]]


@dataclass(frozen=True, slots=True)
class IncidentHealthCheck:
    """One result of a container's health check."""

    ended_at: str
    exit_code: int | None
    output: str


@dataclass(frozen=True, slots=True)
class IncidentFailure:
    """A failure that was recognised by a line of the log, or by another fact where ``line`` is empty."""

    name: str
    title: str
    remedy: str
    line: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentHeal:
    """A heal, and what was collected before it. What could not be is in ``missing``, with the reason."""

    container: str
    id: str
    image: str = ""
    fault: str
    reason: str
    evidence: Mapping[str, Scalar]
    collected_at: float
    state: str
    health: str | None = None
    exit_code: int | None = None
    restart_count: int = 0
    started_at: float | None = None
    health_checks: tuple[IncidentHealthCheck, ...] = ()
    failure: IncidentFailure | None = None
    engine: Mapping[str, Scalar] | None = None
    """Figures of its engine, and the verdict on it."""
    use: Mapping[str, Scalar] | None = None
    """Use of the machine by its processes."""
    gpus: tuple[Mapping[str, Scalar], ...] = ()
    log_lines: int | None = None
    log_file: str = ""
    """File with its last lines, in the incident's folder."""
    inspect_file: str = ""
    """File with the runtime's description of it."""
    missing: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class IncidentDocument(IncidentSummary):
    """An incident with everything that is stored of it."""

    folder: str = ""
    triggers: tuple[IncidentEventDocument, ...] = ()
    events: tuple[IncidentEventDocument, ...] = ()
    """From ten minutes before on."""
    events_not_told: int = 0
    containers: IncidentContainers = IncidentContainers()
    requests: IncidentRequests = IncidentRequests()
    """Beginning."""
    requests_at_end: IncidentRequests | None = None
    """End; null before."""
    requests_track: IncidentTrack = IncidentTrack()
    heals: tuple[IncidentHeal, ...] = ()
    """Heals that began while it was in progress."""
    driver_version: str = ""
    gpus: tuple[IncidentGpu, ...] = ()


def routes(store: IncidentStore) -> tuple[Route, ...]:
    """Return the routes of the incidents in ``store``; the disk is read in a thread."""

    async def incidents(_call: Call) -> Answer:
        try:
            found = await anyio.to_thread.run_sync(store.summaries, abandon_on_cancel=True)
        except OSError as error:
            raise Unavailable("read", f"incidents in {store.folder}", reason=str(error)) from error
        return parse(IncidentsDocument, {"incidents": found})

    async def incident(call: Call) -> Answer:
        identity, points = call.path["id"], call.query.points
        try:
            found = await anyio.to_thread.run_sync(
                lambda: store.read(identity, points), abandon_on_cancel=True
            )
        except OSError as error:
            raise Unavailable("read", f"incident {identity}", reason=str(error)) from error
        return parse(IncidentDocument, found)

    return (
        Route(
            "GET",
            "/v1/incidents",
            Access.READ,
            incidents,
            "The incidents that are stored, the oldest first.",
            IncidentsDocument,
        ),
        Route(
            "GET",
            "/v1/incidents/{id}",
            Access.READ,
            incident,
            "One incident: what ran, what happened around it, and the readings of each GPU.",
            IncidentDocument,
            query=IncidentQuery,
        ),
    )
