"""When which endpoint is probed, and with what prompt (pure)."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from aiidpd.components.bench.stats import Trust
from aiidpd.engines.target import ProbeRequest

_FILLER = (
    "A quiet machine in the corner of the room counts the hours while rain falls on the roof and somebody "
    "far away asks it a question about rivers, mountains, ships and the names of old towns by the sea"
)
_TASK = "Continue this text at length, in plain prose, without a title and without stopping early."
_WORDS_PER_TOKEN = 0.75  # English in today's vocabularies; what the prompt really was, the server counts


@dataclass(frozen=True, slots=True)
class BenchPolicy:
    """How endpoints are probed. All times in seconds.

    Each endpoint is probed once an ``interval``, whether the last probe succeeded or not; the first
    round starts at once, ``stagger`` apart. ``first_token_timeout`` and ``timeout`` count from the
    start of a probe. ``prompt_tokens`` is approximate: large enough that the head of a chat template
    is a small part of it.
    """

    interval: float = 900.0
    stagger: float = 1.0
    prompt_tokens: int = 256
    max_tokens: int = 64
    first_token_timeout: float = 30.0
    timeout: float = 60.0
    trust: Trust = field(default_factory=Trust)

    @property
    def worker_deadline(self) -> float:
        """After how long without a beat the worker counts as hung: one probe, and time to give up on it."""
        return self.timeout + 15.0

    @property
    def max_age(self) -> float:
        """How long a view is true: until a round that should have replaced it is missed."""
        return 2 * self.interval + self.timeout

    def request(self, nonce: str) -> ProbeRequest:
        """Return a probe whose prompt begins with ``nonce``, so that no prefix cache knows it."""
        count = max(1, round(self.prompt_tokens * _WORDS_PER_TOKEN) - len(_TASK.split()))
        words = itertools.islice(itertools.cycle(_FILLER.split()), count)
        prompt = " ".join([nonce, *words, "\n", _TASK])
        return ProbeRequest(prompt, self.max_tokens, self.first_token_timeout, self.timeout)


@dataclass(frozen=True, slots=True)
class Schedule:
    """When each endpoint is due, in monotonic seconds."""

    due: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Probe:
    """Probe this endpoint now."""

    name: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing is due for so many seconds."""

    seconds: float


def begin(names: Iterable[str], probed: Mapping[str, float], now: float, policy: BenchPolicy) -> Schedule:
    """Return the schedule at a start.

    An endpoint in ``probed`` (when it was last asked) keeps its turn, so that a worker that is
    restarted often does not probe more often.
    """
    due: dict[str, float] = {}
    for name in names:
        earliest = now + policy.stagger * len(due)
        due[name] = max(earliest, probed[name] + policy.interval) if name in probed else earliest
    return Schedule(MappingProxyType(due))


def step(schedule: Schedule, now: float, policy: BenchPolicy) -> tuple[Schedule, Probe | Wait]:
    """Return what to do now. Of several that are due, the one that has waited longest comes first."""
    if not schedule.due:
        return schedule, Wait(policy.interval)
    name = min(schedule.due, key=lambda each: schedule.due[each])
    wait = schedule.due[name] - now
    if wait > 0:
        return schedule, Wait(wait)
    return asked(schedule, name, now, policy), Probe(name)


def asked(schedule: Schedule, name: str, now: float, policy: BenchPolicy) -> Schedule:
    """Return the schedule after ``name`` was probed, in its turn or on request."""
    return Schedule(MappingProxyType({**schedule.due, name: now + policy.interval}))
