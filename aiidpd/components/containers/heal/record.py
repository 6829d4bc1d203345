"""State file of the heals: budgets, backoffs, what is parked, and heals that were not finished."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Literal

from aiidpd.components.containers.heal.state import (
    Fault,
    Heal,
    HealPhase,
    HealState,
    LastHeal,
    Parked,
    Suspension,
    Track,
)

NAME: Final = "heals.json"
LIMIT: Final = 4 << 20  # bytes
_LONGEST: Final = 500  # characters of a reason
_MOST: Final = 1000  # containers: what was healed last comes first


@dataclass(frozen=True, slots=True)
class HealRecord:
    """One container that was healed, ended by itself, or is parked. Fields as in ``Track``."""

    id: str
    name: str
    started_at: float | None
    restart_count: int
    heals: tuple[float, ...]
    deaths: tuple[float, ...]
    failures: int
    next_at: float
    owed: bool
    awaiting: bool
    parked: Parked | None
    heal: Heal | None
    last: LastHeal | None


@dataclass(frozen=True, slots=True)
class HealRecords:
    """Everything that outlives the process; nothing of it is made up."""

    version: Literal[1]
    containers: tuple[HealRecord, ...]
    suspended: tuple[Suspension, ...]

    def validate(self) -> None:
        """Raise ValueError where an id is empty or there twice."""
        ids = [each.id for each in self.containers]
        if "" in ids or len(set(ids)) < len(ids):
            raise ValueError("an id must not be empty or there twice")


def records(state: HealState) -> HealRecords:
    """Return what is to be on the disk of ``state``."""
    found = sorted(_records(state), key=lambda each: (-max(each.heals, default=0.0), each.name))
    return HealRecords(1, tuple(found[:_MOST]), tuple(state.suspended.values()))


def _records(state: HealState) -> Iterator[HealRecord]:
    for track in state.tracks.values():
        # A heal that has touched nothing yet need not be finished.
        heal = track.heal if track.heal is not None and track.heal.phase is not HealPhase.PREPARING else None
        if not (track.heals or track.deaths or track.parked or heal or track.owed or track.last):
            continue
        yield HealRecord(
            track.id,
            track.name,
            track.started_at,
            track.restart_count,
            track.heals,
            track.deaths,
            track.failures,
            track.next_at,
            track.owed,
            track.awaiting,
            track.parked and replace(track.parked, reason=track.parked.reason[:_LONGEST]),
            heal and replace(heal, fault=_bounded(heal.fault)),
            track.last and replace(track.last, reason=track.last.reason[:_LONGEST]),
        )


def _bounded(fault: Fault) -> Fault:
    evidence = {key: value for key, value in fault.evidence.items() if not isinstance(value, str)}
    return replace(fault, reason=fault.reason[:_LONGEST], evidence=MappingProxyType(evidence))


def restored(found: HealRecords, now: float, longest_wait: float) -> HealState:
    """Return the state of a daemon that begins at ``now`` where an earlier one has left ``found``.

    Stamps that lie ahead are those of a clock that was: they count as of now.
    """
    tracks = {
        each.id: Track(
            each.id,
            each.name,
            each.started_at,
            each.restart_count,
            running=True,
            heals=tuple(min(at, now) for at in each.heals),
            deaths=tuple(min(at, now) for at in each.deaths),
            failures=each.failures,
            next_at=min(each.next_at, now + longest_wait),
            owed=each.owed,
            awaiting=each.awaiting,
            parked=each.parked,
            heal=each.heal,
            last=each.last,
        )
        for each in found.containers
    }
    suspended = {each.name: each for each in found.suspended}
    return HealState(MappingProxyType(tracks), MappingProxyType(suspended))
