"""State of the containers from one observation to the next, and the observations (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, TypeAlias

from aiidpd.components.containers.runtime import ContainerReading, RuntimeEvent
from aiidpd.components.containers.toggle import UNSET, Toggle
from aiidpd.kernel.events import Event

NEVER: Final = float("-inf")
PAUSED: Final = "paused"
UNPAUSED: Final = ""
# So many deaths that nobody requested within so many seconds are a restart loop; it is over after as many
# without one.
LOOP_DEATHS: Final = 3
LOOP_WINDOW: Final = 600.0
# So many removed containers are remembered, so that a late event does not bring one back.
REMEMBER_REMOVED: Final = 1024


# A runtime logs a start so many seconds after the start itself, at the most.
START_LAG: Final = 60.0


@dataclass(frozen=True, slots=True)
class Known:
    """One container as its events have it so far. Times in Unix seconds by the runtime's clock.

    ``started`` is the current or last run's start: ``exact`` where a reading has it, else an upper bound of
    it, with ``started_after`` below it. ``ended`` is the last end, ``settled`` once a reading showed it;
    ``ended_by`` says who ended it. ``signal`` is the one that Docker was told to send in this run. ``pause``
    and ``check`` are its pauses and what its health check says. ``starts`` counts the runs that were
    published since the last reading.

    The last reading was complete at ``read_at`` and requested at ``as_of``: events of a run up to that are no
    news, and none is up to ``since``. One more start up to ``owed_start`` was published before its event;
    ``next_start`` is one that an event told of before the end of the run.
    ``latest`` is the latest time of a reading, before the clock was set back too. ``heard`` has the newest
    events that were stepped through.
    """

    id: str
    name: str
    image: str
    running: bool = False
    started: float | None = None
    started_after: float = NEVER
    exact: bool = False
    ended: float = NEVER
    settled: bool = False
    ended_by: str = ""
    check: Toggle = UNSET
    oom: bool = False
    oom_at: float = NEVER
    signal: str = ""
    signal_at: float = NEVER
    pause: Toggle = UNSET
    starts: int = 0
    deaths: tuple[float, ...] = ()
    looping: bool = False
    since: float = NEVER
    as_of: float = NEVER
    read_at: float = NEVER
    owed_start: float = NEVER
    next_start: float = NEVER
    latest: float = NEVER
    heard: tuple[tuple[float, str, str], ...] = ()
    reading: ContainerReading | None = None

    @property
    def paused(self) -> bool:
        """True while its processes are suspended."""
        return self.pause.value == PAUSED

    @property
    def health(self) -> str | None:
        """Answer of its health check, None where that does not speak."""
        return self.check.value or None

    @property
    def restart_count(self) -> int:
        """Restarts by the runtime's own policy, as the last reading has them."""
        return 0 if self.reading is None else self.reading.restart_count


@dataclass(frozen=True, slots=True)
class ContainersState:
    """All containers as their events have them so far; ``stale`` are the ids that wait to be read.

    ``resumed_at`` (Unix seconds) is when this daemon took over what an earlier one knew, until the first
    reading: what is found before that is from the time between the two.
    """

    known: Mapping[str, Known] = field(default_factory=lambda: MappingProxyType({}))
    removed: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    stale: frozenset[str] = frozenset()
    listed: bool = False
    resumed_at: float | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A reading of all containers; those in ``unreadable`` (ids) exist, but nothing is known of them.

    ``requested`` (Unix seconds) is when it began, None where it took no time.
    """

    readings: tuple[ContainerReading, ...]
    unreadable: frozenset[str] = frozenset()
    requested: float | None = None


@dataclass(frozen=True, slots=True)
class Inspected:
    """A reading of one container; None where it does not exist. ``requested`` as of a snapshot."""

    id: str
    reading: ContainerReading | None
    requested: float | None = None


Observation: TypeAlias = RuntimeEvent | Snapshot | Inspected
Effects: TypeAlias = tuple[Event, ...]
