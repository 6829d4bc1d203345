"""The documents of what is kept of the GPUs: incidents, energy, history."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from aiidpd.api.document import Document, Question, Scalar, SeverityName

# Requests


class IncidentQuery(Question):
    """How closely to look at an incident."""

    points: int = Field(
        300,
        ge=10,
        le=20_000,
        description="How many readings of each GPU at most: of each stretch the hottest. Its folder has all.",
    )


class GpuHistoryQuery(Question):
    """Which part of the history."""

    gpu: str | None = Field(
        None, max_length=100, description="Index, UUID or its beginning; needed where there are several GPUs."
    )
    since: float | None = Field(None, ge=0, le=1e11, description="From this time on, in Unix seconds.")
    until: float | None = Field(None, ge=0, le=1e11, description="Before this time, in Unix seconds.")


# Incidents


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


# Energy


class GpuEnergyDocument(Document):
    """The energy of one GPU; ``method`` is "counter" (the card's) or "power" (added up)."""

    index: int
    uuid: str
    name: str
    joules: float
    error_joules: float = Field(description="By how much it may be off, either way.")
    method: Literal["counter", "power"] | None
    unknown_seconds: float = Field(description="For how long nothing was known; that is not filled in.")
    counter_resets: int
    cost: float
    simulated: bool


class ContainerEnergyDocument(Document):
    """A container's share: an estimate, and the bounds that hold whoever did how much of the work."""

    name: str = Field(
        description="In brackets where it is no container: (host), (nobody), (unknown) and so on."
    )
    joules: float
    low_joules: float
    high_joules: float
    sharing: Literal["alone", "memory", "equal"]
    cost: float


class TokenEnergyDocument(Document):
    """What a generated token took, with all energy of the GPUs in that time laid on it."""

    source: str
    counted_by: Literal["engine", "probes"] = Field(
        description="By the engine's own counter, over its working time in the last hour; or by a probe."
    )
    started_at: float
    ended_at: float
    tokens: int
    joules_per_token: float
    low_joules_per_token: float
    high_joules_per_token: float
    with_idle_joules_per_token: float | None = Field(
        description="With the energy of the time in which the engine had nothing to do."
    )
    cost_per_million_tokens: float
    low_cost_per_million_tokens: float
    high_cost_per_million_tokens: float
    with_idle_cost_per_million_tokens: float | None
    simulated: bool


class EnergyDocument(Document):
    """The account of energy since ``since``. Costs are in ``currency``."""

    since: float
    price_per_kwh: float
    currency: str
    card_accuracy_ratio: float
    gpus: list[GpuEnergyDocument]
    containers: list[ContainerEnergyDocument]
    tokens: list[TokenEnergyDocument]
    reason: str = Field(description="Why there is no figure per token; empty where there is one.")
    simulated: bool


# History


class GpuHistoryRow(Document):
    """One GPU at a time, or over the ``seconds`` from then on with the mean of each figure."""

    time: float
    seconds: float
    temperature_celsius: float | None
    power_watts: float | None
    utilisation_ratio: float | None
    memory_used_bytes: float | None
    memory_total_bytes: float | None
    fan_ratio: float | None
    throttle_reason: str | None = Field(description="Joined by |; empty: nothing did; null: not known.")
