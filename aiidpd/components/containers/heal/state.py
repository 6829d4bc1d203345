"""State of the heals: what is remembered of each container, observations, decisions and effects (pure).

Stamps are in Unix seconds that never jump: those of the wall clock when the daemon began, counted on by the
time since the boot. A runtime's own times are compared with ``Observed.wall``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final, TypeAlias

from aiidpd.components.containers.heal.dependencies import Dependencies
from aiidpd.components.containers.heal.policy import HealPolicy
from aiidpd.components.containers.runtime import ContainerReading
from aiidpd.contracts.engines import Verdict
from aiidpd.contracts.messages import Cure, HealRequested
from aiidpd.kernel.events import Scalar

_NOTHING: Final[Mapping[str, Scalar]] = MappingProxyType({})

UNHEALTHY: Final = "container_unhealthy"
LOOPING: Final = "container_restart_loop"
NETWORK_LOST: Final = "container_network_lost"
DEPENDENCY_HEALED: Final = "container_dependency_healed"
NOT_STARTED: Final = "container_not_started"
UNKILLABLE: Final = "container_unkillable"
REQUESTED: Final = "requested"  # by a person


class HealPhase(StrEnum):
    """Progress of a heal."""

    PREPARING = "preparing"  # evidence is collected, and running requests may end: nothing was touched
    ACTING = "acting"  # the runtime was called, or may have been
    VERIFYING = "verifying"  # it runs anew: it has its grace to be well


class Outcome(StrEnum):
    """Outcome of a heal."""

    HEALED = "healed"
    FAILED = "failed"  # not well within its grace
    GONE = "gone"  # the container was removed meanwhile
    INTERRUPTED = "interrupted"  # somebody stopped or started it meanwhile
    RECOVERED = "recovered"  # it was well again before it was touched
    DEFERRED = "deferred"  # left alone for now, untouched


@dataclass(frozen=True, slots=True)
class Fault:
    """Fault of a container, and the act that would end it.

    ``settled`` is the stamp from which on it counts, since a container that starts may need its grace.
    ``hung``: its requests can't end, so nothing waits for them.
    """

    type: str
    reason: str
    cure: Cure = Cure.RESTART
    settled: float = 0.0
    hung: bool = False
    evidence: Mapping[str, Scalar] = field(default_factory=lambda: _NOTHING)


@dataclass(frozen=True, slots=True)
class Heal:
    """A heal in progress: of which container and run (its start in the runtime's time), of what, how.

    ``acted`` is when the runtime had carried it out, None before. ``by`` is who requested it, empty where
    the policy did. ``incident`` is where its evidence is.
    """

    id: str
    name: str
    fault: Fault
    cure: Cure
    began: float
    started_at: float | None
    phase: HealPhase = HealPhase.PREPARING
    acted: float | None = None
    by: str = ""
    incident: str = ""


@dataclass(frozen=True, slots=True)
class Parked:
    """Reason why a container is left alone until a person does something, and since when.

    ``stop``: it loops, and is to be stopped.
    """

    fault: str
    reason: str
    remedy: str
    since: float
    stop: bool = False


@dataclass(frozen=True, slots=True)
class LastHeal:
    """Last heal of a container that has ended."""

    fault: str
    cure: Cure
    outcome: Outcome
    reason: str
    at: float
    seconds: float
    incident: str = ""


@dataclass(frozen=True, slots=True)
class Track:
    """One container as the heals remember it.

    ``heals`` and ``deaths`` (ends that nobody requested) are stamps within the budget's window, the oldest
    first. Before ``next_at`` it is not healed again; ``deferred`` is why. ``owed``: a heal of ours has
    stopped it, and has yet to start it. ``awaiting``: its end was counted and its next run was not seen.
    ``noticed`` is the fault that was published. ``well_since`` is since when nothing is wrong. ``past`` is
    the start of the run that was healed last: a reading of that run is too old to be news.
    """

    id: str
    name: str
    started_at: float | None = None
    restart_count: int = 0
    running: bool = False
    heals: tuple[float, ...] = ()
    deaths: tuple[float, ...] = ()
    failures: int = 0
    next_at: float = 0.0
    deferred: str = ""
    owed: bool = False
    awaiting: bool = False
    parked: Parked | None = None
    heal: Heal | None = None
    last: LastHeal | None = None
    noticed: str = ""
    well_since: float | None = None
    past: float | None = None
    reading: ContainerReading | None = None


@dataclass(frozen=True, slots=True)
class Suspension:
    """A container (by name) that a person has taken out of healing; ``until`` None: until it is resumed."""

    name: str
    since: float
    until: float | None
    by: str


@dataclass(frozen=True, slots=True)
class HealState:
    """Everything that is remembered. ``tracks`` by container id, ``suspended`` by name.

    ``touched`` has when somebody else last changed a container (``name:NAME``) or one of a compose project
    (``project:NAME``). ``listed``: all containers were seen once, so that what is new is news.
    """

    tracks: Mapping[str, Track] = field(default_factory=lambda: MappingProxyType({}))
    suspended: Mapping[str, Suspension] = field(default_factory=lambda: MappingProxyType({}))
    touched: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    listed: bool = False


@dataclass(frozen=True, slots=True)
class Observed:
    """Observations of one moment. ``policies`` has that of each reading, by id.

    ``stopped`` are the ids of those whose last run was ended on request; ``unreadable`` exist, but nothing
    is known of them. ``requests`` and ``verdicts`` are those of the engines, by container id. ``now`` is the
    stamp of the moment, ``wall`` the wall clock's time, ``minute`` that of the local day. ``uniform`` is
    drawn from [0, 1). ``backed_up`` are the ids of those that have mounted what a backup of ours reads now.
    """

    readings: tuple[ContainerReading, ...]
    policies: Mapping[str, HealPolicy]
    now: float
    wall: float
    minute: int = 0
    uniform: float = 0.5
    unreadable: frozenset[str] = frozenset()
    stopped: frozenset[str] = frozenset()
    requests: Mapping[str, HealRequested] = field(default_factory=lambda: MappingProxyType({}))
    verdicts: Mapping[str, Verdict] = field(default_factory=lambda: MappingProxyType({}))
    relations: Dependencies = field(default_factory=Dependencies)
    backed_up: frozenset[str] = frozenset()
    tried: frozenset[str] = frozenset()
    """Names of the containers in whose place another image is tried: none of both is healed."""


class Action(StrEnum):
    """Decision about one container."""

    NOTHING = "nothing"
    WAIT = "wait"
    NOTIFY = "notify"
    HEAL = "heal"
    HEALING = "healing"
    PARKED = "parked"


@dataclass(frozen=True, slots=True)
class Decision:
    """Decision about one container, and why; ``until`` is the stamp at which it may change by itself."""

    id: str
    name: str
    action: Action
    reason: str = ""
    fault: str = ""
    cure: Cure | None = None
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Begin:
    """Carry out this heal."""

    heal: Heal


@dataclass(frozen=True, slots=True)
class StopLoop:
    """Stop this container, which ends again and again: parked already."""

    id: str
    name: str


class Topic(StrEnum):
    """Subject of a report: the kind of its event."""

    HEAL_BEGAN = "container.heal_began"
    HEAL_ENDED = "container.heal_ended"
    HEAL_ADVISED = "container.heal_advised"
    HEAL_DRY_RUN = "container.heal_dry_run"
    HEAL_PARKED = "container.heal_parked"
    HEAL_UNPARKED = "container.heal_unparked"


@dataclass(frozen=True, slots=True)
class Report:
    """Publish something about a heal of the container ``id``."""

    topic: Topic
    id: str
    name: str
    reason: str
    fault: str = ""
    cure: Cure | None = None
    outcome: Outcome | None = None
    seconds: float | None = None
    remedy: str = ""
    evidence: Mapping[str, Scalar] = field(default_factory=lambda: _NOTHING)


Effect: TypeAlias = Begin | StopLoop | Report


@dataclass(slots=True)
class HealTally:
    """Counts over all runs of the task: heals by (container, fault, outcome), and their seconds."""

    heals: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=dict)
    parked: Counter[tuple[str, str]] = field(default_factory=Counter)
