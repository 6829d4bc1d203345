"""State of the pauses: those in force, observations, effects, counts (pure)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from types import MappingProxyType
from typing import TypeAlias

from aiidpd.components.containers.runtime import ContainerReading


@dataclass(frozen=True, slots=True)
class Pause:
    """A run of a container that we pause, and why: in the journal before the runtime is called.

    ``started_at`` is the run's start in Unix seconds, which with ``id`` identifies it. ``simulated``:
    the container was made up, and has ended with the process that did. ``lost``: the answer to our call was,
    so that it may yet be carried out, on a later run too.
    """

    id: str
    name: str
    started_at: float
    gpu: str
    reason: str
    simulated: bool = False
    lost: bool = False


class Phase(StrEnum):
    """Progress of a pause."""

    BEGINNING = "beginning"
    CALLED = "called"
    PAUSED = "paused"
    RELEASING = "releasing"


@dataclass(frozen=True, slots=True)
class PauseProgress:
    """One pause of ours. Monotonic seconds.

    ``called``: the runtime was called to pause it, and ``seen``: it is known to have done so. Where that is
    not known, a call may be on its way until ``settled``. ``over`` is why it is unpaused; ``troubled``: a
    failure of that was published. ``inherited``: an earlier run of ours paused it, it is not known when.
    """

    pause: Pause
    since: float
    until: float
    phase: Phase = Phase.BEGINNING
    called: bool = False
    seen: bool = False
    settled: float = -inf
    over: str = ""
    troubled: bool = False
    inherited: bool = False

    def lasted(self, now: float) -> float | None:
        """Return how many seconds it has lasted, or None where that is not known."""
        return None if self.inherited else now - self.since


@dataclass(frozen=True, slots=True)
class PauseState:
    """Everything that is remembered, by container id.

    ``rested``: until when one may not be paused again. ``alone``: the names of those that somebody else
    unpaused. ``missing``: requested names that no container has, which was published.
    """

    held: Mapping[str, PauseProgress] = field(default_factory=lambda: MappingProxyType({}))
    rested: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    alone: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    missing: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Observed:
    """Readings of the runtime.

    ``held`` has those, by id, of what is held: None where it does not exist, and nothing where it could not
    be read. ``named`` has those of all containers by name (None: it can't be read), or is None
    where they were not listed; ``simulated`` is whether those are made up.
    """

    held: Mapping[str, ContainerReading | None] = field(default_factory=lambda: MappingProxyType({}))
    named: Mapping[str, ContainerReading | None] | None = None
    simulated: bool = False


class Outcome(StrEnum):
    """An outcome that is published."""

    PAUSED = "paused"
    UNPAUSED = "unpaused"
    LOST = "lost"
    MISSING = "missing"
    NOT_PAUSED = "not paused"
    NOT_UNPAUSED = "not unpaused"


@dataclass(frozen=True, slots=True)
class StartPause:
    """Write the journal of all that is held, then pause this."""

    held: PauseProgress


@dataclass(frozen=True, slots=True)
class Unpause:
    """Unpause this."""

    held: PauseProgress


@dataclass(frozen=True, slots=True)
class Report:
    """Publish the ``outcome`` of ``pause``, which lasted ``seconds``, None where that is not known."""

    outcome: Outcome
    pause: Pause
    reason: str = ""
    seconds: float | None = None


Effect: TypeAlias = StartPause | Unpause | Report


@dataclass(slots=True)
class PauseTally:
    """Counts over all runs, by the container's name."""

    pauses: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PauseView:
    """A container that is paused by us; ``since`` and at most ``until`` are in Unix seconds."""

    id: str
    name: str
    gpu: str
    reason: str
    since: float
    until: float


def views(state: PauseState, wall: float) -> Iterator[PauseView]:
    """Yield the pauses that are known to be in force; ``wall`` is the Unix second of monotonic second 0."""
    for held in state.held.values():
        if held.seen:
            pause = held.pause
            yield PauseView(
                pause.id, pause.name, pause.gpu, pause.reason, held.since + wall, held.until + wall
            )
