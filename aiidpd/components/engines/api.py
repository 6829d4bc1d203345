"""Inference engines over the API."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aiidpd.api.access import Access
from aiidpd.api.document import SnapshotResponse, current, document_of
from aiidpd.api.route import Answer, Call, Route
from aiidpd.components.engines.polls import EnginePolls, Polls
from aiidpd.contracts.engines import EngineState, EnginesView, Residency, Verdict
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.reading import Reading
from aiidpd.kernel.task import WorkerStatus


@dataclass(frozen=True, slots=True)
class PollDocument:
    """Load that our polls put on an engine; the figures a minute are over the last five, null before that."""

    interval_seconds: float | None
    """Present time between two polls; longer where the engine's answers take long."""
    pending_seconds: float | None
    """For how long a request of ours has been open; null where none is."""
    requests: int
    """Since the daemon's start."""
    requests_per_minute: float | None
    seconds_per_minute: float | None
    bytes_per_minute: float | None


@dataclass(frozen=True, slots=True)
class EngineStateDocument:
    """One engine: what it reported at ``read_at``, the verdict on it, and what our polls of it cost."""

    name: str
    """That of its endpoint, or of its container."""
    model: str
    engine: str
    """Such as vllm or llama.cpp; empty where it is not known."""
    version: str
    """Version by its own account; empty where it is not known."""
    url: str
    container: str
    """Full id of the container that it runs in; empty where none was found."""
    simulated: bool
    residency: Residency
    """Place of its model, by what it reports without being used."""
    may_sleep: bool
    """Its model can go to sleep or be unloaded: nothing that counts as use is sent to it."""
    requests_running: int | None
    requests_waiting: int | None
    includes_probe: bool
    """A measurement of ours was, or may have been, among the requests."""
    steps: int | None
    """Counter that moves with each decode step or batch."""
    longest_prompt_tokens: int | None
    """Longest prompt of a running request, as far as it was read."""
    generated_tokens: int | None
    prompt_tokens: int | None
    generated_tokens_per_second: float | None
    model_bytes: int | None
    model_gpu_bytes: int | None
    read_at: float | None
    reason: str
    """Why there are no figures."""
    verdict: Verdict
    verdict_since: float | None
    verdict_reason: str
    polls: PollDocument


@dataclass(frozen=True, slots=True)
class EnginesDocument(SnapshotResponse):
    """Every engine: endpoints of the configuration in their order, then those found in containers."""

    engines: tuple[EngineStateDocument, ...] = ()


def routes(
    engines: Callable[[], Reading[EnginesView] | None],
    polls: Polls,
    clock: Clock,
    status: Callable[[], WorkerStatus],
) -> tuple[Route, ...]:
    """Return the routes of the engines."""

    async def listed(_call: Call) -> Answer:
        reading = engines()
        if reading is None:
            return current(EnginesDocument, None, status())
        now = clock.monotonic()
        found = tuple(_document(each, polls.known(each.name), now) for each in reading.value.engines)
        return current(EnginesDocument, reading, status(), engines=found)

    return (
        Route(
            "GET",
            "/v1/engines",
            Access.READ,
            listed,
            "What each inference engine reports, and the verdict on it.",
            EnginesDocument,
        ),
    )


def _document(state: EngineState, polls: EnginePolls | None, now: float) -> EngineStateDocument:
    rate = polls.rate(now) if polls else None
    pending = None if state.pending_since is None else max(0.0, now - state.pending_since)
    return document_of(
        EngineStateDocument,
        state,
        polls=PollDocument(
            polls.interval if polls else None,
            pending,
            polls.requests if polls else 0,
            rate.requests if rate else None,
            rate.seconds if rate else None,
            rate.bytes if rate else None,
        ),
    )
