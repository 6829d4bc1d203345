"""History of an engine: what is usual for it, learned while it worked (pure)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, Literal

from aiidpd.components.engines.liveness.witnesses import Idle

UNKNOWN_LENGTH: Final = "unknown"
MOST_ENGINES: Final = 256
ENOUGH_GAPS: Final = 720
"""Gaps of one length of prompt, before what was learned bounds anything: an hour of work, seen each 5 s."""
_MOST_BUCKETS: Final = 32
_MOST_STARTS: Final = 8
_LONGEST: Final = 7 * 86400.0
_MOST_COUNTED: Final = 1_000_000
_DECAY: Final = 0.99
"""Of a longest gap, an hour of watching: half of it is forgotten in three days."""
_FACTOR: Final = 3.0
_STALL_FACTOR: Final = 1.5
_LONGEST_STALL: Final = 3600.0
"""After so long without a step that is remarkable, whatever was usual before."""
_IDLE_FACTOR: Final = 2.0
_IDLE_MARGIN: Final = 0.02
_LEAST_IDLE: Final = 0.02
_MOST_IDLE: Final = 0.25
"""Cores, or a quarter of a GPU: an engine that polls more than that can't be seen to hang."""
_CHECK_FACTOR: Final = 5.0
_SHORTEST_CHECK: Final = 10.0
_LONGEST_CHECK: Final = 60.0
_UNTRIED_CHECK: Final = 30.0


@dataclass(frozen=True, slots=True)
class Gap:
    """Longest time between two steps while requests ran, and of how many it is the longest."""

    seconds: float
    count: int


@dataclass(frozen=True, slots=True)
class ColdStart:
    """One start of an engine: seconds from the container's start. None is what was not observed.

    An image is pulled before that. Reading the model and compiling for it are one until its page answers or
    says that it is loaded.
    """

    started_at: float
    answered_seconds: float | None = None
    loaded_seconds: float | None = None
    first_step_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class EngineHistory:
    """Habits of one engine with one model. ``idle_cpu`` is in cores, ``idle_gpu`` a ratio."""

    gaps: Mapping[str, Gap] = field(default_factory=lambda: MappingProxyType({}))
    idle_cpu: float | None = None
    idle_gpu: float | None = None
    load_seconds: float | None = None
    check_seconds: float | None = None
    starts: tuple[ColdStart, ...] = ()


@dataclass(frozen=True, slots=True)
class EngineHistories:
    """State file of the histories, by the engine's name and its model."""

    version: Literal[1]
    engines: Mapping[str, EngineHistory]

    def validate(self) -> None:
        """Raise ValueError where no engine can have such a history."""
        for history in self.engines.values():
            figures = [each.seconds for each in history.gaps.values()]
            figures += [each for each in (history.idle_cpu, history.idle_gpu) if each is not None]
            figures += [each for each in (history.load_seconds, history.check_seconds) if each is not None]
            if any(not 0 <= each <= _LONGEST for each in figures):
                raise ValueError("a duration or a level of an engine is negative or beyond all bounds")


def bucket(prompt_tokens: int | None) -> str:
    """Return the name of the lengths to which ``prompt_tokens`` belongs: up to the next power of two."""
    if prompt_tokens is None:
        return UNKNOWN_LENGTH
    return str(1 << max(0, min(prompt_tokens, 1 << 30) - 1).bit_length())


def longest_gap(history: EngineHistory, prompt_tokens: int | None, fewest: int = ENOUGH_GAPS) -> Gap | None:
    """Return the longest gap of prompts up to this length, None where too few were seen of this length."""
    name = bucket(prompt_tokens)
    own = history.gaps.get(name)
    if own is None or own.count < fewest:
        return None
    if prompt_tokens is None:
        return own
    shorter = [gap for each, gap in history.gaps.items() if each.isdecimal() and int(each) <= int(name)]
    return Gap(max(gap.seconds for gap in shorter), own.count)


def allowed_seconds(history: EngineHistory, prompt_tokens: int | None, least: float, most: float) -> float:
    """Return for how long step counter and witnesses may stand still while requests run."""
    gap = longest_gap(history, prompt_tokens)
    return most if gap is None else max(min(least, most), min(most, _FACTOR * gap.seconds))


def stall_seconds(history: EngineHistory, prompt_tokens: int | None, least: float) -> float:
    """Return for how long steps may be missing while the witnesses are busy, before that is remarkable."""
    gap = longest_gap(history, prompt_tokens, fewest=1)
    return least if gap is None else max(least, min(_LONGEST_STALL, _STALL_FACTOR * gap.seconds))


def idle_levels(history: EngineHistory) -> Idle:
    """Return up to which levels the witnesses of this engine are idle."""
    usual = Idle()
    return Idle(
        usual.cpu if history.idle_cpu is None else _level(history.idle_cpu),
        usual.gpu if history.idle_gpu is None else max(usual.gpu, _level(history.idle_gpu)),
    )


def check_deadline(history: EngineHistory, *, again: bool) -> float:
    """Return how long a completion of one token may take; longer where it is tried ``again``."""
    usual = history.check_seconds
    first = _UNTRIED_CHECK if usual is None else _CHECK_FACTOR * usual
    return min(_LONGEST_CHECK, max(_SHORTEST_CHECK, first)) * (2.0 if again else 1.0)


def with_gap(history: EngineHistory, prompt_tokens: int | None, seconds: float) -> EngineHistory:
    """Return the history after ``seconds`` between two steps."""
    if not 0 < seconds <= _LONGEST:
        return history
    name = bucket(prompt_tokens)
    before = history.gaps.get(name, Gap(0.0, 0))
    if name not in history.gaps and len(history.gaps) >= _MOST_BUCKETS:
        return history
    gap = Gap(max(before.seconds, seconds), min(_MOST_COUNTED, before.count + 1))
    return replace(history, gaps=MappingProxyType({**history.gaps, name: gap}))


def with_idle(history: EngineHistory, cores: float | None, gpu: float | None) -> EngineHistory:
    """Return the history after some time without requests."""
    return replace(history, idle_cpu=_usual(history.idle_cpu, cores), idle_gpu=_usual(history.idle_gpu, gpu))


def with_start(history: EngineHistory, start: ColdStart) -> EngineHistory:
    """Return the history after a start, or after one more phase of it."""
    others = tuple(each for each in history.starts if each.started_at != start.started_at)
    loaded = start.loaded_seconds
    load = history.load_seconds
    if loaded is not None and 0 <= loaded <= _LONGEST:
        load = loaded if load is None else max(loaded, 0.5 * (load + loaded))
    return replace(history, starts=(*others, start)[-_MOST_STARTS:], load_seconds=load)


def with_check(history: EngineHistory, seconds: float) -> EngineHistory:
    """Return the history after a completion of one token that took ``seconds``."""
    before = history.check_seconds
    return replace(history, check_seconds=seconds if before is None else max(seconds, 0.9 * before))


def decayed(history: EngineHistory) -> EngineHistory:
    """Return the history after another hour of watching."""
    gaps = {name: Gap(gap.seconds * _DECAY, gap.count) for name, gap in history.gaps.items()}
    return replace(history, gaps=MappingProxyType(gaps))


def _level(usual: float) -> float:
    return min(_MOST_IDLE, max(_LEAST_IDLE, _IDLE_FACTOR * usual + _IDLE_MARGIN))


def _usual(before: float | None, seen: float | None) -> float | None:
    """Return a level that rises at once and falls slowly."""
    if seen is None or not math.isfinite(seen) or seen < 0:
        return before
    return seen if before is None else max(seen, 0.98 * before)
