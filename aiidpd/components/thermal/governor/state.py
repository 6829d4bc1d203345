"""State, effects and view of the governor (pure); :mod:`.decide` decides."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from aiidpd.components.thermal.commands import Command
from aiidpd.components.thermal.faults import GpuFault
from aiidpd.components.thermal.governor.ladder import Actuator, Facts, Ladder, Step
from aiidpd.components.thermal.governor.trend import Trend
from aiidpd.components.thermal.settings import GovernorMode


class GpuState(NamedTuple):
    """State of one GPU; a tuple, since each reading makes a new one. ``number`` is its index.

    ``applied`` is the step that the card has, None where a failure leaves that open. ``touched``: something
    was set since a reading last showed the baseline; ``clocks_touched``: clocks were.
    ``ladder`` is empty until a first step is needed. ``changed`` and ``raised`` are monotonic seconds;
    so are those of the last reading within the hysteresis, ``near_at``, and above idle, ``warm_at``, and
    of the last that it could be governed by, ``governed_at``. ``relapses`` counts steps up that made it hot
    again, ``mismatches`` readings in a row of another setting than ours.
    """

    number: int
    name: str
    facts: Facts = Facts()
    trend: Trend = Trend()
    ladder: Ladder = ()
    level: int = 0
    applied: Step | None = Step()
    touched: bool = False
    clocks_touched: bool = False
    without: frozenset[Actuator] = frozenset()
    changed: float = -math.inf
    raised: float = -math.inf
    relapses: int = 0
    retry_at: float = -math.inf
    near_at: float = -math.inf
    warm_at: float = -math.inf
    mismatches: int = 0
    governed_at: float = -math.inf
    blind: str = ""

    @property
    def step(self) -> Step:
        """Settings that the GPU is meant to have."""
        return self.ladder[self.level] if self.ladder else Step()


@dataclass(frozen=True, slots=True)
class GovernorState:
    """State that one pass leaves to the next: the GPUs by UUID; ``permitted``: the driver may be set."""

    gpus: Mapping[str, GpuState] = field(default_factory=lambda: MappingProxyType({}))
    permitted: bool = True

    def updated(self, gpus: Mapping[str, GpuState]) -> GovernorState:
        """Return the state with ``gpus`` in place of theirs, or added."""
        return GovernorState(MappingProxyType({**self.gpus, **gpus}), self.permitted)


@dataclass(frozen=True, slots=True)
class Move:
    """Go from one level to another by ``commands``; before the first of them the baseline must be safe.

    ``dry_run``: publish it, set nothing. ``evidence`` has the figures of the decision. A move with equal
    levels sets again what may have been lost.
    """

    index: int
    uuid: str
    name: str
    before: int
    after: int
    step: Step
    baseline_watts: float | None
    touched_before: bool
    clocks_touched: bool
    commands: tuple[Command, ...]
    reason: str
    evidence: Mapping[str, float]
    dry_run: bool


@dataclass(frozen=True, slots=True)
class BackOff:
    """Begin or end the request to others to leave the GPU alone."""

    index: int
    uuid: str
    requested: bool
    reason: str
    dry_run: bool


@dataclass(frozen=True, slots=True)
class Restored:
    """A reading shows the baseline: nothing of ours is left on the GPU."""

    index: int
    uuid: str
    name: str
    watts: float | None


@dataclass(frozen=True, slots=True)
class Yielded:
    """Somebody else set the limit meanwhile: theirs is the baseline from now on."""

    index: int
    uuid: str
    reason: str
    watts: float


@dataclass(frozen=True, slots=True)
class Blind:
    """A GPU can't be governed, for ``reason``; where that is empty it can be again."""

    index: int
    uuid: str
    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A setting that the driver did not take. ``final``: it will not be tried again."""

    index: int
    uuid: str
    actuator: Actuator
    fault: GpuFault
    final: bool


Effect: TypeAlias = Move | BackOff | Restored | Yielded | Blind | Refused


@dataclass(frozen=True, slots=True)
class GpuGovernance:
    """View of one GPU now; ``levels`` is how far down its ladder goes."""

    index: int
    uuid: str
    level: int
    levels: int
    step: Step


@dataclass(frozen=True, slots=True)
class GovernanceView:
    """View of the governor now. ``mode`` is ``dry-run`` too where the driver lets it set nothing."""

    mode: GovernorMode
    gpus: tuple[GpuGovernance, ...] = ()
    unrestored: int = 0


@dataclass(slots=True)
class Tally:
    """Counts of what the governor did over all its runs, by (index, uuid); outlives the worker."""

    lowered: dict[tuple[int, str], int] = field(default_factory=dict)
    raised: dict[tuple[int, str], int] = field(default_factory=dict)
    restored: dict[tuple[int, str], int] = field(default_factory=dict)
    refused: dict[tuple[int, str], int] = field(default_factory=dict)


def count(tally: dict[tuple[int, str], int], index: int, uuid: str) -> None:
    """Count one more for the GPU."""
    tally[index, uuid] = tally.get((index, uuid), 0) + 1
