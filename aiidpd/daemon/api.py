"""The daemon as a whole over the API: status, configuration, reload."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Literal

from pydantic import Field

from aiidpd.api.access import Access
from aiidpd.api.document import Document, NoOptions, SeverityName
from aiidpd.api.route import Answer, Call, Route
from aiidpd.kernel.conditions import Condition
from aiidpd.kernel.events import Severity
from aiidpd.kernel.task import WorkerStatus


class WorkerDocument(Document):
    """How one worker fares."""

    name: str
    state: Literal["starting", "running", "degraded", "inactive", "restarting", "wedged", "stopped"]
    up: bool = Field(description="Whether its last pass succeeded.")
    reason: str = Field(description="Why it is not up; empty where it is.")
    simulated: bool = Field(description="Whether what it reads is made up.")
    started_at: float | None
    last_success_at: float | None
    last_duration: float | None = Field(description="How long its last pass took, in seconds.")
    passes: int
    failed_passes: int
    restarts: int


class ConditionDocument(Document):
    """Something that is wrong now."""

    type: str = Field(description="What is wrong; for an alert its name.")
    subject: str = Field(description="What it is about: a task, a container's name, a GPU's UUID.")
    severity: SeverityName
    reason: str
    remedy: str = Field(description="What to do first.")
    since: float
    source: str = Field(description="The component, task or service that observes it.")
    runbook: str = Field(description="The page on it; empty where there is none.")
    simulated: bool = Field(description="Whether what it is about is made up.")


class StatusDocument(Document):
    """The whole daemon at one look."""

    version: str
    now: float
    started_at: float
    uptime_seconds: float
    healthy: bool = Field(description="Every worker is up, and no condition of severity error is active.")
    simulated: bool = Field(description="Whether any worker's readings are made up.")
    workers: list[WorkerDocument]
    conditions: list[ConditionDocument] = Field(description="The gravest first.")


class ConfigEntry(Document):
    """One key with its value as the file writes it (secrets are masked) and what set it."""

    key: str
    value: str
    origin: str


class ConfigDocument(Document):
    """The whole configuration in force."""

    entries: list[ConfigEntry]


class ReloadDocument(Document):
    """Outcome of a reload."""

    changed: list[str] = Field(description="The keys whose values changed and now hold.")


def status_document(
    *,
    version: str,
    now: float,
    started_at: float,
    uptime_seconds: float,
    workers: Sequence[WorkerStatus],
    conditions: Sequence[Condition],
) -> StatusDocument:
    """Return the state of the whole daemon at ``now`` (Unix seconds); uptime is by the monotonic clock."""
    return StatusDocument(
        version=version,
        now=now,
        started_at=started_at,
        uptime_seconds=uptime_seconds,
        healthy=all(worker.up for worker in workers)
        and not any(condition.severity >= Severity.ERROR for condition in conditions),
        simulated=any(worker.simulated for worker in workers),
        workers=[WorkerDocument.model_validate(worker) for worker in workers],
        conditions=[ConditionDocument.model_validate(condition) for condition in conditions],
    )


def routes(
    *,
    status: Callable[[], StatusDocument],
    config_entries: Callable[[], Iterable[tuple[str, str, str]]],
    reload: Callable[[], Awaitable[Sequence[str]]],
) -> tuple[Route, ...]:
    """Return the routes of the daemon itself.

    ``config_entries`` gives each key with its value as the file writes it (secrets masked) and its origin.
    ``reload`` applies the whole new configuration, or raises and changes nothing; it returns the keys that
    changed.
    """

    async def get_status(_call: Call) -> Answer:
        return status()

    async def get_config(_call: Call) -> Answer:
        return ConfigDocument(
            entries=[
                ConfigEntry(key=key, value=value, origin=origin) for key, value, origin in config_entries()
            ]
        )

    async def post_reload(_call: Call) -> Answer:
        return ReloadDocument(changed=list(await reload()))

    return (
        Route(
            "GET",
            "/v1/status",
            Access.READ,
            get_status,
            "How the daemon and each worker fare, and what is wrong now.",
            StatusDocument,
        ),
        Route(
            "GET",
            "/v1/config",
            Access.READ,
            get_config,
            "Every setting in force and what set it.",
            ConfigDocument,
        ),
        Route(
            "POST",
            "/v1/config/reload",
            Access.CHANGE,
            post_reload,
            "Read the configuration again and apply all of it, or nothing.",
            ReloadDocument,
            body=NoOptions,
        ),
    )
