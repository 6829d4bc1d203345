"""State, settings and effects of the governor (pure); :mod:`.decide` decides."""

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


class GpuState(NamedTuple):
    """What is remembered of one GPU; a tuple, since each reading makes a new one. ``number`` is its index.

    ``applied`` is the rung that the card has, None where a failure leaves that open. ``touched`` is whether
    anything was set since the baseline was last seen restored, and ``clocks_touched`` whether clocks were.
    ``ladder`` is empty until a first step is needed. ``changed`` and ``raised`` are monotonic seconds;
    so are those of the last reading within the hysteresis, ``near_at``, and above idle, ``warm_at``, and
    of the last that it could be governed by, ``sighted``.
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
    lapses: int = 0
    retry_at: float = -math.inf
    near_at: float = -math.inf
    warm_at: float = -math.inf
    strange: int = 0
    sighted: float = -math.inf
    blind: str = ""

    @property
    def rung(self) -> Step:
        """Where the GPU is meant to stand."""
        return self.ladder[self.level] if self.ladder else Step()


@dataclass(frozen=True, slots=True)
class GovernorState:
    """What one pass leaves to the next: the GPUs by UUID, and whether the driver lets us set anything."""

    gpus: Mapping[str, GpuState] = field(default_factory=lambda: MappingProxyType({}))
    permitted: bool = True

    def put(self, uuid: str, held: GpuState) -> GovernorState:
        """Return the state with ``held`` for ``uuid``."""
        return self.having({uuid: held})

    def having(self, gpus: Mapping[str, GpuState]) -> GovernorState:
        """Return the state with ``gpus`` for those that it had of them."""
        return GovernorState(MappingProxyType({**self.gpus, **gpus}), self.permitted)


@dataclass(frozen=True, slots=True)
class Move:
    """Go from one level to another by ``commands``; before the first of them the baseline must be safe.

    ``dry_run``: tell it, set nothing. ``evidence`` is what the decision rests on. A move with equal levels
    sets again what may have been lost.
    """

    index: int
    uuid: str
    name: str
    before: int
    after: int
    rung: Step
    baseline_watts: float | None
    touched_before: bool
    clocks_touched: bool
    commands: tuple[Command, ...]
    reason: str
    evidence: Mapping[str, float]
    dry_run: bool


@dataclass(frozen=True, slots=True)
class BackOff:
    """Others shall leave the GPU alone (``asked``), or need not any longer."""

    index: int
    uuid: str
    asked: bool
    reason: str
    dry_run: bool


@dataclass(frozen=True, slots=True)
class Settled:
    """The baseline was set and a reading shows it: nothing of ours is left on the GPU."""

    index: int
    uuid: str
    name: str
    watts: float | None


@dataclass(frozen=True, slots=True)
class Yielded:
    """Somebody else set the limit while we held it: what they set is the baseline now."""

    index: int
    uuid: str
    reason: str
    watts: float


@dataclass(frozen=True, slots=True)
class Blind:
    """A GPU can't be governed, for ``reason``; an empty one says that it can be again."""

    index: int
    uuid: str
    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The driver did not take a setting. ``final`` is whether it will not be tried again."""

    index: int
    uuid: str
    lever: Actuator
    fault: GpuFault
    final: bool


Effect: TypeAlias = Move | BackOff | Settled | Yielded | Blind | Refused
