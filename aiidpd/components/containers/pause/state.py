"""State of the pauses: which are in force, observations, effects (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from types import MappingProxyType
from typing import TypeAlias

from aiidpd.components.containers.runtime import ContainerReading


@dataclass(frozen=True, slots=True)
class PausePolicy:
    """How a container may be paused. Seconds.

    ``longest`` without a break, then at least ``rest`` in which it runs. After a call without an answer it
    is held for ``doubt``. A lease that could not be written, and a call that failed, are tried again after
    ``retry``. A worker that ends waits at most ``closing`` for everything to go on.
    """

    longest: float = 120.0
    rest: float = 60.0
    doubt: float = 10.0
    retry: float = 2.0
    closing: float = 2.0

    def __post_init__(self) -> None:
        if min(self.longest, self.rest, self.doubt, self.retry) <= 0:
            raise ValueError("longest, rest, doubt and retry must be greater than 0")


@dataclass(frozen=True, slots=True)
class Pause:
    """A run of a container that we pause, and why: what is written down before the engine is asked.

    ``started_at`` is the run's start in Unix seconds, which with ``id`` identifies it. ``simulated`` is
    whether the container was made up: then it has ended with the process that did. ``lost`` is whether the
    answer to our call was, so that it may yet be carried out, on a later run too.
    """

    id: str
    name: str
    started_at: float
    gpu: str
    reason: str
    simulated: bool = False
    lost: bool = False


class Phase(StrEnum):
    """How far a pause has come."""

    BEGINNING = "beginning"
    ASKED = "asked"
    PAUSED = "paused"
    RELEASING = "releasing"


@dataclass(frozen=True, slots=True)
class Held:
    """One pause of ours. Monotonic seconds.

    ``asked`` is whether the engine was told to pause it, and ``seen`` whether it is known to have done so.
    Where that is not known, a call may be on its way until ``settled``. ``over`` is why it goes on, and
    ``troubled`` whether it was told that it can't. ``inherited``: an earlier run of ours paused it, nobody
    knows when.
    """

    pause: Pause
    since: float
    until: float
    phase: Phase = Phase.BEGINNING
    asked: bool = False
    seen: bool = False
    settled: float = -inf
    over: str = ""
    troubled: bool = False
    inherited: bool = False

    def lasted(self, now: float) -> float | None:
        """Return how long it has lasted, or None where nobody knows."""
        return None if self.inherited else now - self.since


@dataclass(frozen=True, slots=True)
class PauseState:
    """Everything that is remembered, by container id.

    ``rested``: until when one may not be paused again. ``alone``: the names of those that somebody else let
    go on. ``missing``: asked-for names that no container has, which was told.
    """

    held: Mapping[str, Held] = field(default_factory=lambda: MappingProxyType({}))
    rested: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    alone: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    missing: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Observed:
    """What the engine shows.

    ``held`` has the readings, by id, of what is held: None where it does not exist, and nothing where the
    engine did not say. ``named`` has those of all containers by name (None: it can't be read), or is None
    where they were not listed; ``simulated`` is whether those are made up.
    """

    held: Mapping[str, ContainerReading | None] = field(default_factory=lambda: MappingProxyType({}))
    named: Mapping[str, ContainerReading | None] | None = None
    simulated: bool = False


class Outcome(StrEnum):
    """What is told of a pause."""

    PAUSED = "paused"
    UNPAUSED = "unpaused"
    LOST = "lost"
    MISSING = "missing"
    NOT_PAUSED = "not paused"
    NOT_UNPAUSED = "not unpaused"


@dataclass(frozen=True, slots=True)
class StartPause:
    """Write down what is held, then pause this."""

    held: Held


@dataclass(frozen=True, slots=True)
class Unpause:
    """Unpause this."""

    held: Held


@dataclass(frozen=True, slots=True)
class Report:
    """Tell of ``pause``; ``seconds`` is how long it lasted, None where that is not known."""

    word: Outcome
    pause: Pause
    reason: str = ""
    seconds: float | None = None


Effect: TypeAlias = StartPause | Unpause | Report
