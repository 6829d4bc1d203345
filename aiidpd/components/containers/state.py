"""State of the containers from one observation to the next, and the observations (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, TypeAlias

from aiidpd.components.containers.runtime import ContainerReading, RuntimeEvent
from aiidpd.kernel.events import Event

NEVER: Final = float("-inf")
# So many deaths that nobody requested within so many seconds are a restart loop; it is over after as many
# without one.
LOOP_DEATHS: Final = 3
LOOP_WINDOW: Final = 600.0
# For so many seconds a removed container is remembered, so that a late event does not bring it back.
REMEMBER_REMOVED: Final = 600.0


@dataclass(frozen=True, slots=True)
class Known:
    """One container as its events have it so far. Times in Unix seconds by the runtime's clock.

    ``started`` is the current or last run's start: exact, or an upper bound of it. ``signal`` is the
    one that Docker was told to send in this run. Events up to ``as_of`` are no news.
    """

    id: str
    name: str
    image: str
    running: bool = False
    started: float | None = None
    exact: bool = False
    ended: float = NEVER
    health: str | None = None
    health_at: float = NEVER
    oom: bool = False
    oom_at: float = NEVER
    signal: str = ""
    signal_at: float = NEVER
    paused: bool = False
    restart_count: int = 0
    deaths: tuple[float, ...] = ()
    looping: bool = False
    as_of: float = NEVER
    reading: ContainerReading | None = None


@dataclass(frozen=True, slots=True)
class ContainersState:
    """All containers as their events have them so far; ``stale`` are the ids that wait to be read."""

    known: Mapping[str, Known] = field(default_factory=lambda: MappingProxyType({}))
    removed: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    stale: frozenset[str] = frozenset()
    listed: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A reading of all containers; those in ``unreadable`` (ids) exist, but nothing is known of them."""

    readings: tuple[ContainerReading, ...]
    unreadable: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Inspected:
    """A reading of one container; None where it does not exist."""

    id: str
    reading: ContainerReading | None


Observation: TypeAlias = RuntimeEvent | Snapshot | Inspected
Effects: TypeAlias = tuple[Event, ...]
