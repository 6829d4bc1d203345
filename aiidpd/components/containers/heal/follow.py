"""Life of a container from one reading to the next: its ends, and what somebody else did to it (pure)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from aiidpd.components.containers.heal.budget import within
from aiidpd.components.containers.heal.policy import HealPolicy
from aiidpd.components.containers.heal.state import HealPhase, Observed, Track
from aiidpd.components.containers.runtime import ContainerReading


@dataclass(frozen=True, slots=True)
class Followed:
    """A track after a reading. ``touched``: somebody else changed it; ``started``: started it."""

    track: Track
    touched: bool = False
    started: bool = False


def first(reading: ContainerReading) -> Track:
    """Return the track of a container that is read for the first time: nothing of it is news."""
    return Track(
        reading.id,
        reading.name,
        reading.started_at,
        reading.restart_count,
        reading.running,
        awaiting=reading.state == "restarting",
        reading=reading,
    )


def followed(track: Track, reading: ContainerReading, observed: Observed, policy: HealPolicy) -> Followed:
    """Return ``track`` after ``reading``.

    Docker counts each restart by its own policy, when a run has ended: those are the ends that nobody
    requested. A run that is not announced by that count was started by somebody; during a heal, by us.
    """
    heals = within(track.heals, policy.budget.window, observed.now)
    deaths = within(track.deaths, policy.budget.window, observed.now)
    if track.reading is reading:
        same = len(heals) == len(track.heals) and len(deaths) == len(track.deaths)
        return Followed(track if same else replace(track, heals=heals, deaths=deaths))
    ended = reading.restart_count - track.restart_count
    anew = reading.started_at != track.started_at and track.started_at is not None
    ours = track.heal is not None and track.heal.phase is HealPhase.ACTING
    touched = reading.name != track.name and not ours
    started = anew and not ours and ended <= 0 and not track.awaiting
    awaiting = track.awaiting
    if ours:
        awaiting = False
    else:
        most = policy.budget.often + 1
        deaths = (*deaths, *[observed.now] * min(most, max(0, ended)))[-most:]
        # One that was stopped while it waited does not wait any more.
        lively = reading.state in ("running", "paused")
        awaiting = reading.state == "restarting" or ((ended > 0 or awaiting) and not anew and lively)
        touched = (
            touched or started or (track.running and not reading.running and _stopped(reading, observed))
        )
    track = replace(
        track,
        name=track.name if ours else reading.name,  # one that is created anew is renamed meanwhile
        started_at=reading.started_at,
        restart_count=reading.restart_count,
        running=reading.running,
        heals=() if started else heals,
        deaths=() if started else deaths,
        awaiting=awaiting,
        owed=track.owed and not reading.running,
        reading=reading,
    )
    if started:
        track = replace(track, failures=0, next_at=0.0, deferred="", noticed="", well_since=None)
    return Followed(track, touched, started)


def _stopped(reading: ContainerReading, observed: Observed) -> bool:
    return reading.id in observed.stopped
