"""The governor as others see it: how it holds each GPU now, and what it has done (pure)."""

from __future__ import annotations

from dataclasses import dataclass, field

from aiidpd.components.thermal.governor.ladder import Step
from aiidpd.components.thermal.settings import GovernorMode


@dataclass(frozen=True, slots=True)
class GpuGovernance:
    """How the governor holds one GPU now; ``levels`` is how far down its ladder goes."""

    index: int
    uuid: str
    level: int
    levels: int
    rung: Step


@dataclass(frozen=True, slots=True)
class GovernanceView:
    """What the governor does now. ``mode`` is ``dry-run`` too where the driver lets it set nothing."""

    mode: GovernorMode
    gpus: tuple[GpuGovernance, ...] = ()
    unrestored: int = 0


@dataclass(slots=True)
class Tally:
    """What the governor did over all its runs, by (index, uuid); it outlives the worker."""

    lowered: dict[tuple[int, str], int] = field(default_factory=dict)
    raised: dict[tuple[int, str], int] = field(default_factory=dict)
    restored: dict[tuple[int, str], int] = field(default_factory=dict)
    refused: dict[tuple[int, str], int] = field(default_factory=dict)


def count(tally: dict[tuple[int, str], int], index: int, uuid: str) -> None:
    """Count one more for the GPU."""
    tally[index, uuid] = tally.get((index, uuid), 0) + 1
