"""Schedule of probes, and their prompt (pure)."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from aiidpd.components.bench import prose
from aiidpd.components.bench.settings import BenchSettings
from aiidpd.engines.target import ProbeRequest

_TASK = "Continue this text at length, in plain prose, without a title and without stopping early."
PROMPT_TOKENS = 256
STAGGER = 1.0  # seconds between the endpoints of the first round, which starts at once
_GIVING_UP = 15.0  # seconds
_WORDS_PER_TOKEN = 0.75  # English in today's vocabularies; what the prompt really was, the server counts


def worker_deadline(settings: BenchSettings) -> float:
    """Return the seconds without a beat after which the worker counts as hung: a probe, and giving it up."""
    return settings.timeout + _GIVING_UP


def max_age(settings: BenchSettings) -> float:
    """Return for how many seconds a view is true: until a round that should have replaced it is missed."""
    return 2 * settings.interval + settings.timeout


def request(
    settings: BenchSettings,
    nonce: str,
    prompt_tokens: int = PROMPT_TOKENS,
    *,
    max_tokens: int | None = None,
    spent: float = 0.0,
) -> ProbeRequest:
    """Return a probe whose prompt, natural text, begins with ``nonce``, so that no prefix cache knows it.

    ``prompt_tokens`` is approximate: large enough that the head of a chat template is a small part of it.
    ``max_tokens`` stands in for that of the settings; ``spent`` seconds of the timeout are gone already.
    """
    count = max(1, round(prompt_tokens * _WORDS_PER_TOKEN) - len(_TASK.split()))
    prompt = " ".join([nonce, *itertools.islice(prose.words(), count), "\n", _TASK])
    tokens = settings.max_tokens if max_tokens is None else max_tokens
    return ProbeRequest(prompt, tokens, settings.first_token_timeout, settings.timeout - spent)


@dataclass(frozen=True, slots=True)
class Schedule:
    """Time at which each endpoint is due, in monotonic seconds."""

    due: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Probe:
    """Probe this endpoint now."""

    name: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing is due for so many seconds."""

    seconds: float


def begin(names: Iterable[str], probed: Mapping[str, float], now: float, settings: BenchSettings) -> Schedule:
    """Return the schedule at a start.

    Each endpoint is probed once an interval, whether the last probe succeeded or not. An endpoint in
    ``probed`` (the time of its last probe) has its turn, so that a worker that is
    restarted often does not probe more often.
    """
    due: dict[str, float] = {}
    for name in names:
        earliest = now + STAGGER * len(due)
        due[name] = max(earliest, probed[name] + settings.interval) if name in probed else earliest
    return Schedule(MappingProxyType(due))


def step(schedule: Schedule, now: float, settings: BenchSettings) -> tuple[Schedule, Probe | Wait]:
    """Return what to do now. Of several that are due, the one that has waited longest comes first."""
    if not schedule.due:
        return schedule, Wait(settings.interval)
    name = min(schedule.due, key=lambda each: schedule.due[each])
    wait = schedule.due[name] - now
    if wait > 0:
        return schedule, Wait(wait)
    return after_probe(schedule, name, now, settings), Probe(name)


def postponed(schedule: Schedule, name: str, now: float, seconds: float) -> Schedule:
    """Return the schedule in which ``name`` has its turn in ``seconds``, or when it has it anyway."""
    due = min(now + seconds, max(now, schedule.due.get(name, now)))
    return Schedule(MappingProxyType({**schedule.due, name: due}))


def after_probe(schedule: Schedule, name: str, now: float, settings: BenchSettings) -> Schedule:
    """Return the schedule after ``name`` was probed, in its turn or on request."""
    return Schedule(MappingProxyType({**schedule.due, name: now + settings.interval}))
