"""Incidents over the API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import anyio.to_thread
from pydantic import Field

from aiidpd.api.access import Access
from aiidpd.api.document import Document, Request, Scalar, SeverityName
from aiidpd.api.route import Answer, Call, Route
from aiidpd.incidents.store import IncidentStore
from aiidpd.kernel.errors import Unavailable


class IncidentQuery(Request):
    """How closely to look at an incident."""

    points: int = Field(
        300,
        ge=10,
        le=20_000,
        description="How many readings of each GPU at most: of each stretch the hottest. Its folder has all.",
    )


class IncidentEventDocument(Document):
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


class IncidentSummary(Document):
    """One incident in a line; a broken one has no more than its id and the reason."""

    id: str
    state: Literal["recording", "complete", "interrupted", "broken"]
    kind: str = Field(default="", description="The alert that began it, or the kind of the event.")
    subject: str = ""
    severity: SeverityName = "error"
    reason: str = ""
    simulated: bool = False
    started_at: float | None = None
    last_trigger_at: float | None = None
    bytes: int = 0


class IncidentsDocument(Document):
    """Every incident that is kept, the oldest first."""

    incidents: list[IncidentSummary]


class IncidentContainer(Document):
    """A container at the time of an incident."""

    id: str
    name: str
    image: str
    state: str
    health: str | None
    gpu: bool


class IncidentContainers(Document):
    """What ran when the incident began; ``reason`` says why that is not known."""

    read_at: float | None = None
    reason: str = ""
    containers: list[IncidentContainer] = Field(default=[])


class IncidentEndpoint(Document):
    """An endpoint at that time: the last look at its engine, and the last measurement before."""

    name: str
    requests_running: int | None = None
    requests_waiting: int | None = None
    includes_probe: bool = Field(default=False, description="A measurement of ours was among them.")
    read_at: float | None = Field(default=None, description="When the engine was asked.")
    reason: str = Field(default="", description="Why it is not known how many.")
    measured_at: float | None
    output_tokens_per_second: float | None
    error: str


class IncidentRequests(Document):
    """The requests that ran and waited, by the engines' own count; null and a reason where nobody told."""

    running: int | None = None
    waiting: int | None = None
    reason: str = ""
    endpoints: list[IncidentEndpoint] = Field(default=[])


class IncidentTrack(Document):
    """The requests from ten minutes before on: rows of ``columns``, the first of them Unix seconds."""

    columns: list[str] = Field(default=[])
    data: list[list[float | str | None]] = Field(default=[])


class IncidentProcess(Document):
    """A process that held memory of a GPU when it was last read."""

    pid: int
    name: str
    used_memory_bytes: float | None
    container_id: str | None


class IncidentGpu(Document):
    """One GPU: its limits, and its readings as rows of ``columns``; the first column is Unix seconds."""

    uuid: str
    index: int | None
    name: str
    file: str = Field(description="The file with every reading, in the incident's folder.")
    rows: int
    last_read_at: float | None
    limits: Mapping[str, float | None]
    processes: list[IncidentProcess] | None
    columns: list[str]
    data: list[list[float | str | None]]


class IncidentDocument(IncidentSummary):
    """An incident with everything that is kept of it."""

    folder: str = ""
    triggers: list[IncidentEventDocument] = Field(default=[])
    events: list[IncidentEventDocument] = Field(default=[], description="From ten minutes before on.")
    events_not_told: int = 0
    containers: IncidentContainers = IncidentContainers()
    requests: IncidentRequests = Field(IncidentRequests(), description="When it began.")
    requests_at_end: IncidentRequests | None = Field(None, description="When it ended; null before.")
    requests_track: IncidentTrack = IncidentTrack()
    driver_version: str = ""
    gpus: list[IncidentGpu] = Field(default=[])


def routes(store: IncidentStore) -> tuple[Route, ...]:
    """Return the routes of the incidents in ``store``; the disk is read in a thread."""

    async def incidents(_call: Call) -> Answer:
        try:
            found = await anyio.to_thread.run_sync(store.summaries, abandon_on_cancel=True)
        except OSError as error:
            raise Unavailable("read", f"incidents in {store.folder}", reason=str(error)) from error
        return IncidentsDocument.model_validate({"incidents": found})

    async def incident(call: Call) -> Answer:
        identity, points = call.path["id"], call.query.points
        try:
            found = await anyio.to_thread.run_sync(
                lambda: store.read(identity, points), abandon_on_cancel=True
            )
        except OSError as error:
            raise Unavailable("read", f"incident {identity}", reason=str(error)) from error
        return IncidentDocument.model_validate(found)

    return (
        Route(
            "GET",
            "/v1/incidents",
            Access.READ,
            incidents,
            "The incidents that the flight recorder keeps.",
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
