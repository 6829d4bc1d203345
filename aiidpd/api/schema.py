"""The documents of the control API: what it takes and gives, as types that OpenAPI is generated from.

They are the promise to scripts, kept apart from the dataclasses inside so that a change inside does not
break one unseen; a test compares both. Times are Unix seconds and durations seconds; null means "not
known", which is never zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from aiidpd.api.document import Document, Question, Reading, Scalar, SeverityName

# Requests


class EventsQuery(Question):
    """Which events."""

    after_id: int = Field(0, ge=0, le=2**63 - 1, description="Only events after this one, the oldest first.")
    since: float | None = Field(None, ge=0, description="Only events from this time on, in Unix seconds.")
    limit: int = Field(
        100, ge=1, le=1000, description="How many at most: the newest, or with after_id the next."
    )
    kind: str = Field("", max_length=100, description='Only kinds that begin so, such as "container.".')
    severity: SeverityName = Field("debug", description="The least severe that is given.")
    subject: str | None = Field(None, max_length=1000, description="Only events about this subject.")
    follow: bool = Field(default=False, description="Go on with the events to come, one line of JSON each.")


class JobQuery(Question):
    """How to look at a job."""

    follow: bool = Field(
        default=False,
        description="Give the job again whenever it changes, one line of JSON each, to its end.",
    )


class NothingAsked(Question):
    """No options."""


class BenchRequest(Question):
    """What to measure."""

    endpoint: str | None = Field(None, max_length=200, description="One endpoint's name; without it, all.")


# Status


class WorkerDocument(Document):
    """How one worker fares."""

    name: str
    state: Literal["starting", "running", "degraded", "restarting", "wedged", "stopped"]
    up: bool = Field(description="Whether its last pass succeeded.")
    reason: str = Field(description="Why it is not up; empty where it is.")
    simulated: bool = Field(description="Whether what it reads is made up.")
    started_at: float | None
    last_success_at: float | None
    last_duration: float | None = Field(description="How long its last pass took, in seconds.")
    passes: int
    failed_passes: int
    restarts: int


class FindingDocument(Document):
    """Something that is wrong now."""

    code: str
    subject: str
    severity: SeverityName
    reason: str
    remedy: str
    since: float


class StatusDocument(Document):
    """The whole daemon at one look."""

    version: str
    now: float
    started_at: float
    uptime_seconds: float
    healthy: bool = Field(description="Every worker is up, and no finding of severity error stands.")
    simulated: bool = Field(description="Whether any worker's readings are made up.")
    workers: list[WorkerDocument]
    findings: list[FindingDocument] = Field(description="The gravest first.")


# Events


class EventDocument(Document):
    """Something that happened or was decided."""

    id: int = Field(description="Grows with each event, across restarts too.")
    time: float
    source: str
    kind: str
    subject: str
    severity: SeverityName
    reason: str
    evidence: Mapping[str, Scalar]
    simulated: bool


class EventsDocument(Document):
    """Events, the newest last."""

    events: list[EventDocument]


class Heartbeat(Document):
    """A line of a stream in which nothing happened for a while: the daemon is still there."""

    heartbeat: float = Field(description="The daemon's time, in Unix seconds.")


class Missed(Document):
    """A line that says that events were lost between the one before and the one after."""

    missed: int = Field(description="How many, 0 where that is not known.")
    reason: str


# Readings


class PauseDocument(Document):
    """A pause by aiidpd itself, because a GPU is too hot. Unix seconds."""

    gpu: str
    reason: str
    since: float
    until: float = Field(description="When it goes on at the latest.")


class ContainerDocument(Document):
    """One container, as the engine describes it."""

    id: str
    name: str
    image: str
    state: str
    health: str | None
    exit_code: int | None
    oom_killed: bool
    restart_count: int
    started_at: float | None
    finished_at: float | None
    project: str
    service: str
    restart_policy: str
    gpu: bool
    pause: PauseDocument | None = Field(None, description="Where aiidpd has paused it.")


class UnreadableContainer(Document):
    """A container whose details the engine did not give in time."""

    id: str
    name: str


class ContainersDocument(Reading):
    """Every container of the engine."""

    version: str = Field("", description="The engine's.")
    containers: tuple[ContainerDocument, ...] = ()
    unreadable: tuple[UnreadableContainer, ...] = ()


class SnapshotDocument(Document):
    """One snapshot; ``broken`` says why it is no whole one."""

    id: str
    source: str
    created_at: float
    verified_at: float
    files: int
    bytes: int
    copied_files: int
    copied_bytes: int
    linked_files: int
    linked_bytes: int
    refused: int
    broken: str


class RunProgressDocument(Document):
    """How far the present backup is."""

    phase: str
    files_done: int
    files: int
    bytes_done: int
    bytes: int


class RunResultDocument(Document):
    """How the last backup ended; ``error`` is empty for a success."""

    succeeded: bool
    ended_at: float
    seconds: float
    snapshot: str
    copied_files: int
    copied_bytes: int
    linked_files: int
    linked_bytes: int
    error: str


class BackupDocument(Reading):
    """The state of backups; snapshots are ordered by id, the oldest first."""

    configured: bool = False
    source: str = ""
    target: str = ""
    schedule: str = ""
    snapshots: tuple[SnapshotDocument, ...] = ()
    last_success_at: float | None = None
    last_run: RunResultDocument | None = None
    running: RunProgressDocument | None = None
    next_run_at: float | None = None


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


class BenchDocument(Reading):
    """Every endpoint, in the order of the configuration."""

    endpoints: tuple[EndpointDocument, ...] = ()


# Work and configuration


class JobDocument(Document):
    """A piece of work that was asked for; ``done`` of ``total`` are in ``unit``."""

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


class JobsDocument(Document):
    """The jobs of this process, in the order they were asked for."""

    jobs: list[JobDocument]


class ConfigEntry(Document):
    """One key with its value as the file writes it (secrets are masked) and what set it."""

    key: str
    value: str
    origin: str


class ConfigDocument(Document):
    """The whole configuration in force."""

    entries: list[ConfigEntry]


class ReloadDocument(Document):
    """What a reload did."""

    changed: list[str] = Field(description="The keys whose values changed and now hold.")


class ProblemDocument(Document):
    """An error (RFC 9457). The members after ``detail`` are given where aiidpd's own rules speak."""

    type: str
    title: str
    status: int
    detail: str
    action: str = ""
    subject: str = ""
    reason: str = ""
    remedy: str = ""
