"""Progress of a heal, as whoever carries it out reports it (pure).

Each function returns the state after one step of a heal; one of a container that is not healed (any more)
changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from aiidpd.components.containers.heal.budget import delay
from aiidpd.components.containers.heal.state import (
    REQUESTED,
    Effect,
    Fault,
    Heal,
    HealPhase,
    HealState,
    LastHeal,
    Outcome,
    Parked,
    Report,
    Suspension,
    Topic,
    Track,
)
from aiidpd.components.containers.runtime import ContainerReading
from aiidpd.components.containers.settings import HealSettings
from aiidpd.contracts.messages import Cure

_LATER = 5.0  # seconds after which a container that was left alone is considered again


def with_track(state: HealState, track: Track) -> HealState:
    """Return ``state`` with ``track`` in the place of the one before."""
    return replace(state, tracks=MappingProxyType({**state.tracks, track.id: track}))


def without(state: HealState, identity: str) -> HealState:
    """Return ``state`` without the track of ``identity``."""
    left = {key: track for key, track in state.tracks.items() if key != identity}
    return replace(state, tracks=MappingProxyType(left))


def requested(state: HealState, track: Track, cure: Cure, by: str, now: float) -> tuple[HealState, Heal]:
    """Return the state in which the person ``by`` has requested a heal of ``track``, and that heal."""
    fault = Fault(REQUESTED, f"{by} requested it", cure)
    heal = Heal(track.id, track.name, fault, cure, now, track.started_at, by=by)
    track = replace(track, heal=heal, parked=None, deferred="", next_at=0.0)
    return with_track(state, track), heal


def prepared(state: HealState, identity: str, *, cure: Cure, incident: str, now: float) -> HealState:
    """Return the state in which the runtime is about to be called: from here on the heal counts."""
    track = state.tracks.get(identity)
    if track is None or track.heal is None:
        return state
    heal = replace(track.heal, phase=HealPhase.ACTING, cure=cure, incident=incident)
    heals = track.heals if heal.by else (*track.heals, now)
    return with_track(state, replace(track, heal=heal, heals=heals))


def acted(state: HealState, identity: str, reading: ContainerReading | None, now: float) -> HealState:
    """Return the state after the runtime has carried out the heal; ``reading`` is of the new run, if known.

    One of another id is the container that was created in the place of the healed one.
    """
    track = state.tracks.get(identity)
    if track is None or track.heal is None:
        return state
    past = track.heal.started_at
    heal = replace(track.heal, phase=HealPhase.VERIFYING, acted=now)
    track = replace(track, heal=heal, past=past, owed=False, awaiting=False, started_at=None, noticed="")
    if reading is None:
        return with_track(state, track)
    track = replace(
        track,
        id=reading.id,
        name=reading.name,
        heal=replace(heal, id=reading.id, name=reading.name),
        started_at=reading.started_at,
        restart_count=reading.restart_count,
        running=reading.running,
        reading=reading,
    )
    return with_track(without(state, identity), track)


def deferred(
    state: HealState, identity: str, reason: str, now: float, outcome: Outcome = Outcome.DEFERRED
) -> tuple[HealState, tuple[Effect, ...]]:
    """Return the state after a heal that was given up before anything was touched; it does not count."""
    track = state.tracks.get(identity)
    if track is None or track.heal is None:
        return state, ()
    report = _ended(track.heal, outcome, reason, now)
    later = now + _LATER if outcome is Outcome.DEFERRED else track.next_at
    why = reason if outcome is Outcome.DEFERRED else ""
    # The same reason again and again is published once.
    effects = () if track.deferred == reason and not track.heal.by else (report,)
    counted = track.heal.phase is not HealPhase.PREPARING and not track.heal.by
    heals = track.heals[:-1] if counted else track.heals
    return with_track(state, replace(track, heal=None, heals=heals, next_at=later, deferred=why)), effects


def ended(
    state: HealState,
    identity: str,
    outcome: Outcome,
    reason: str,
    *,
    now: float,
    settings: HealSettings,
    uniform: float = 0.5,
    owed: bool = False,
    parked: Parked | None = None,
) -> tuple[HealState, tuple[Effect, ...]]:
    """Return the state after the ``outcome`` of a heal, and what to publish.

    ``owed``: we have stopped the container and it does not run. ``parked`` is why nothing more is tried.
    """
    track = state.tracks.get(identity)
    if track is None or track.heal is None:
        return state, ()
    heal = track.heal
    effects: tuple[Effect, ...] = (_ended(heal, outcome, reason, now),)
    if outcome is Outcome.GONE:
        return without(state, identity), effects
    last = LastHeal(heal.fault.type, heal.cure, outcome, reason, now, now - heal.began, heal.incident)
    wait = delay(len(track.heals), settings, uniform) if track.heals else 0.0
    track = replace(
        track,
        heal=None,
        last=last,
        next_at=now + wait,
        deferred="",
        owed=owed,
        failures=track.failures + 1 if outcome is Outcome.FAILED else 0,
    )
    if parked is not None:
        track, report = park(track, parked)
        effects += (report,)
    return with_track(state, track), effects


def park(track: Track, parked: Parked) -> tuple[Track, Report]:
    """Return ``track`` once it is parked, and what to publish."""
    report = Report(
        Topic.HEAL_PARKED,
        track.id,
        track.name,
        parked.reason,
        parked.fault,
        remedy=parked.remedy,
        evidence={"heals": len(track.heals), "deaths": len(track.deaths)},
    )
    return replace(track, parked=parked, well_since=None), report


def unparked(track: Track, reason: str) -> tuple[Track, tuple[Report, ...]]:
    """Return ``track`` with a new budget and not parked any more, and what to publish."""
    reports: tuple[Report, ...] = ()
    if track.parked is not None:
        reports = (Report(Topic.HEAL_UNPARKED, track.id, track.name, reason, track.parked.fault),)
    track = replace(track, parked=None, heals=(), deaths=(), failures=0, next_at=0.0, deferred="", noticed="")
    return track, reports


def unpark(state: HealState, identity: str, by: str) -> tuple[HealState, tuple[Effect, ...]]:
    """Return the state in which the person ``by`` has given a container a new budget."""
    track, reports = unparked(state.tracks[identity], f"by {by}")
    return with_track(state, track), reports


def suspend(state: HealState, suspension: Suspension) -> HealState:
    """Return the state in which a person has taken a container out of healing."""
    return replace(state, suspended=MappingProxyType({**state.suspended, suspension.name: suspension}))


def resume(state: HealState, name: str) -> HealState:
    """Return the state in which a container is healed again."""
    left = {key: each for key, each in state.suspended.items() if key != name}
    return replace(state, suspended=MappingProxyType(left))


def stopped_loop(state: HealState, identity: str) -> HealState:
    """Return the state in which the loop of ``identity`` was stopped."""
    track = state.tracks.get(identity)
    if track is None or track.parked is None:
        return state
    return with_track(state, replace(track, parked=replace(track.parked, stop=False)))


def _ended(heal: Heal, outcome: Outcome, reason: str, now: float) -> Report:
    evidence: Mapping[str, str] = {"incident": heal.incident, "requested_by": heal.by}
    return Report(
        Topic.HEAL_ENDED,
        heal.id,
        heal.name,
        reason,
        heal.fault.type,
        heal.cure,
        outcome,
        now - heal.began,
        evidence={key: value for key, value in evidence.items() if value},
    )
