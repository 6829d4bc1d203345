"""Daemon as a whole over the API: status, configuration, reload."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from aiidpd.api.access import Access
from aiidpd.api.document import NoOptions, SeverityName, document_of, severity_name
from aiidpd.api.route import Answer, Call, Route
from aiidpd.kernel.conditions import Condition
from aiidpd.kernel.events import Severity
from aiidpd.kernel.task import WorkerStatus


@dataclass(frozen=True, slots=True)
class WorkerDocument:
    """State of one worker."""

    name: str
    state: Literal["starting", "running", "degraded", "inactive", "restarting", "wedged", "stopped"]
    up: bool
    """True where its last pass succeeded, or it is inactive."""
    reason: str
    """Why it is not up; empty where it is."""
    simulated: bool
    """True where its readings are made up."""
    started_at: float | None
    last_success_at: float | None
    last_duration: float | None
    """Duration of its last pass, in seconds."""
    passes: int
    failed_passes: int
    restarts: int


@dataclass(frozen=True, slots=True)
class ConditionDocument:
    """Something that is wrong now."""

    type: str
    """Type of what is wrong; for an alert its name."""
    subject: str
    """Subject: a task, a container's name, a GPU's UUID."""
    severity: SeverityName
    reason: str
    remedy: str
    """First thing to do."""
    since: float
    source: str
    """Component, task or service that observes it."""
    runbook: str
    """Command that shows the page on it; empty where there is none."""
    simulated: bool
    """True where its subject is made up."""


@dataclass(frozen=True, slots=True)
class StatusDocument:
    """State of the whole daemon."""

    version: str
    now: float
    started_at: float
    uptime_seconds: float
    healthy: bool
    """Every worker is up, and no condition of severity error is active."""
    simulated: bool
    """True where any worker's readings are made up."""
    workers: tuple[WorkerDocument, ...]
    conditions: tuple[ConditionDocument, ...]
    """Conditions, the gravest first."""


@dataclass(frozen=True, slots=True)
class ConfigEntry:
    """One key with its value as the file writes it (secrets are masked) and what set it."""

    key: str
    value: str
    origin: str


@dataclass(frozen=True, slots=True)
class ConfigDocument:
    """Whole configuration in force."""

    entries: tuple[ConfigEntry, ...]


@dataclass(frozen=True, slots=True)
class ReloadDocument:
    """Outcome of a reload."""

    changed: tuple[str, ...]
    """Keys whose values changed and now hold."""


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
        workers=tuple(document_of(WorkerDocument, each, state=each.state.value) for each in workers),
        conditions=tuple(
            document_of(ConditionDocument, each, severity=severity_name(each.severity)) for each in conditions
        ),
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
            entries=tuple(ConfigEntry(key, value, origin) for key, value, origin in config_entries())
        )

    async def post_reload(_call: Call) -> Answer:
        return ReloadDocument(changed=tuple(await reload()))

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
