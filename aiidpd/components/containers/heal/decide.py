"""Decision about every container: nothing, wait, notify, heal or park, each with its reason (pure).

A heal begins where a fault counts, the policy allows an act, and nothing speaks against it now. In this
order: parked, not allowed, taken out by a person, quiet hours, somebody else at work, a container that it
needs, the budget, the backoff, how many are healed already. What a person has stopped has no fault, so it is
left alone.
Whoever carries out a heal reports its progress by the functions of :mod:`.progress`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from aiidpd.components.containers.heal import progress
from aiidpd.components.containers.heal.budget import left
from aiidpd.components.containers.heal.dependencies import start_order
from aiidpd.components.containers.heal.faults import Faults
from aiidpd.components.containers.heal.follow import first, followed
from aiidpd.components.containers.heal.policy import HealMode, HealPolicy
from aiidpd.components.containers.heal.state import (
    LOOPING,
    Action,
    Begin,
    Decision,
    Effect,
    Fault,
    Heal,
    HealPhase,
    HealState,
    Observed,
    Outcome,
    Parked,
    Report,
    StopLoop,
    Topic,
    Track,
)
from aiidpd.components.containers.heal.verify import deadline, verified
from aiidpd.components.containers.runtime import ContainerReading
from aiidpd.components.containers.settings import HealSettings
from aiidpd.contracts.messages import Cure
from aiidpd.kernel.words import lasting

FRESH: Final = 60.0
"""Seconds after an end within which a loop is stopped; later the container may have come to run well."""
_MINUTE: Final = 60.0
_UNLISTED: Final = 5.0


def step(
    state: HealState, observed: Observed, settings: HealSettings
) -> tuple[HealState, tuple[Decision, ...], tuple[Effect, ...]]:
    """Return the state after ``observed``, a decision about each container, and what is to be done."""
    decision = _Step(state, observed, settings)
    decision.follow()
    decision.verify()
    decision.decide()
    return decision.close()


class _Step:
    """One step at work: mutable only inside :func:`step`."""

    def __init__(self, state: HealState, observed: Observed, settings: HealSettings) -> None:
        self._observed = observed
        self._settings = settings
        self._relations = observed.relations
        self._tracks = dict(state.tracks)
        cooled = observed.now - settings.cooldown
        self._touched = {key: at for key, at in state.touched.items() if at > cooled}
        self._suspended = {
            name: each
            for name, each in state.suspended.items()
            if each.until is None or each.until > observed.now
        }
        self._listed = state.listed
        self._faults: dict[str, Fault] = {}
        self._decisions: dict[str, Decision] = {}
        self._effects: list[Effect] = []

    def close(self) -> tuple[HealState, tuple[Decision, ...], tuple[Effect, ...]]:
        state = HealState(
            MappingProxyType(self._tracks),
            MappingProxyType(self._suspended),
            MappingProxyType(self._touched),
            listed=True,
        )
        return state, tuple(self._decisions.values()), tuple(self._effects)

    # Readings

    def follow(self) -> None:
        """Bring every track up to date, and drop those of containers that are gone."""
        present = {each.id for each in self._observed.readings} | self._observed.unreadable
        by_name = {track.name: track for track in self._tracks.values()}
        for reading in self._observed.readings:
            track = self._tracks.get(reading.id)
            if track is not None:
                self._follow(track, reading)
                continue
            other = by_name.get(reading.name)
            if other is not None and _is_recreated(other):
                continue  # by us: whoever does it reports the new id
            self._tracks[reading.id] = first(reading)
            if self._listed:
                self._touch(reading)
        for identity in [each for each in self._tracks if each not in present]:
            self._gone(self._tracks[identity])

    def _follow(self, track: Track, reading: ContainerReading) -> None:
        if reading.started_at is not None and reading.started_at == track.past:
            return  # read before the heal was carried out
        found = followed(track, reading, self._observed, self._observed.policies[reading.id])
        track = found.track
        if found.touched and track.parked is None:  # a loop is stopped by us
            self._touch(reading)
        if found.started:
            if track.heal is not None:
                self._end(track, Outcome.INTERRUPTED, "somebody started it anew")
                track = self._tracks[track.id]
            track, reports = progress.unparked(track, "somebody started it")
            self._effects += reports
        self._tracks[track.id] = track

    def _gone(self, track: Track) -> None:
        heal = track.heal
        if heal is not None and heal.phase is not HealPhase.VERIFYING:
            return  # whoever carries it out finds that out
        if heal is not None and heal.acted is not None and self._observed.now - heal.acted < _UNLISTED:
            return  # a container that was created anew may not have been listed yet
        if heal is not None:
            self._end(track, Outcome.GONE, "the container was removed")
        elif self._listed and track.reading is not None:
            self._touch(track.reading)
        self._tracks.pop(track.id, None)

    def _touch(self, reading: ContainerReading) -> None:
        self._touched[f"name:{reading.name}"] = self._observed.now
        if reading.project:
            self._touched[f"project:{reading.project}"] = self._observed.now

    def verify(self) -> None:
        """End the heals of containers that are well again, or are not in time."""
        for track in list(self._tracks.values()):
            heal, reading = track.heal, track.reading
            if heal is None or heal.phase is not HealPhase.VERIFYING or reading is None:
                continue
            policy = self._observed.policies.get(track.id)
            if policy is None:
                continue
            found = verified(heal, reading, policy, self._observed)
            if found is None and self._loops(track, policy):
                found = Outcome.FAILED, "it ended again and again"
            if found is not None:
                self._end(track, *found)

    def _end(self, track: Track, outcome: Outcome, reason: str) -> None:
        state = HealState(MappingProxyType({track.id: track}))
        state, effects = progress.ended(
            state,
            track.id,
            outcome,
            reason,
            now=self._observed.now,
            settings=self._settings,
            uniform=self._observed.uniform,
        )
        self._tracks.update(state.tracks)
        self._effects += effects

    # Decisions

    def decide(self) -> None:
        """Decide about every container, those first that others need."""
        faults = Faults(self._observed, self._relations, self._tracks)
        readings = {each.id: each for each in self._observed.readings if each.id in self._tracks}
        for reading in readings.values():
            track = self._tracks[reading.id]
            current = self._current(track, reading)
            fault = faults.of(track, current, self._observed.policies[reading.id])
            if fault is not None:
                self._faults[reading.id] = fault
        order: Iterable[str] = readings
        if self._relations.needs:
            order = start_order(readings, self._relations.needs)
        for identity in order:
            self._decisions[identity] = self._decide(self._tracks[identity], readings[identity])

    def _current(self, track: Track, reading: ContainerReading) -> ContainerReading:
        stale = reading.started_at is not None and reading.started_at == track.past
        return track.reading if stale and track.reading is not None else reading

    def _decide(self, track: Track, reading: ContainerReading) -> Decision:
        policy, fault = self._observed.policies[track.id], self._faults.get(track.id)
        if track.heal is not None:
            return self._healing(track, track.heal, policy)
        if policy.mode is HealMode.OFF:
            self._tracks[track.id] = replace(track, parked=None, noticed="")
            return Decision(track.id, track.name, Action.NOTHING, f"healing is off by {policy.origin}")
        if track.parked is not None:
            return self._parked(track, track.parked, fault, policy)
        looping = self._loops(track, policy)
        if fault is None and not looping:
            since = track.well_since if track.well_since is not None else self._observed.now
            noticed = track.noticed if track.deaths else ""
            if (noticed, since, "") != (track.noticed, track.well_since, track.deferred):
                self._tracks[track.id] = replace(track, noticed=noticed, well_since=since, deferred="")
            return Decision(track.id, track.name, Action.NOTHING)
        if looping:
            fault = Fault(LOOPING, self._loop_reason(track, policy))
        assert fault is not None  # noqa: S101 -- for the type checker
        self._faults[track.id] = fault
        track = self._tracks[track.id] = replace(track, well_since=None)
        decision = self._not_allowed(track, fault, policy) or self._not_now(track, reading, fault, policy)
        if decision is not None:
            return decision
        return self._act(track, fault, policy, looping=looping)

    def _act(self, track: Track, fault: Fault, policy: HealPolicy, *, looping: bool) -> Decision:
        """Heal or park ``track``: nothing speaks against it."""
        now = self._observed.now
        spent = not left(policy.budget, track.heals, track.deaths, now)
        cure = self._cure(track, fault, policy)
        if self._settings.dry_run:
            what = "parked" if spent else "created anew" if cure is Cure.RECREATE else "restarted"
            reason = f"dry run: it would be {what}, since {fault.reason}"
            self._notice(track, fault, Topic.HEAL_DRY_RUN, reason, cure)
            return self._says(track, Action.HEAL, reason, fault, cure)
        if spent:
            return self._park(track, fault, policy, stop=looping)
        if track.next_at > now:
            wait = lasting(track.next_at - now)
            reason = track.deferred or f"{len(track.heals)} heals lately: the next in {wait} at the earliest"
            return self._waits(track, reason, fault, track.next_at)
        busy = [each.name for each in self._tracks.values() if each.heal is not None and not each.heal.by]
        if len(busy) >= self._settings.concurrent:
            return self._waits(track, f"{', '.join(sorted(busy)[:3])} must be healed first", fault)
        heal = Heal(track.id, track.name, fault, cure, now, track.started_at)
        self._tracks[track.id] = replace(track, heal=heal, noticed=fault.type)
        self._effects.append(Begin(heal))
        return self._says(track, Action.HEAL, fault.reason, fault, cure)

    def _not_allowed(self, track: Track, fault: Fault, policy: HealPolicy) -> Decision | None:
        """Return the decision to notify, where the policy allows no act."""
        if cycle := self._relations.cycles.get(track.id):
            reason = f"it depends on itself ({' -> '.join(cycle)}), so it is not healed"
        elif policy.problems:
            problem = policy.problems[0]
            reason = f"it is not healed, since its label {problem.label} can't be understood"
        elif not policy.mode.acts:
            reason = "with the label aiidpd.heal=restart aiidpd would heal it"
            if fault.cure is Cure.RECREATE:
                reason = "with the label aiidpd.heal=recreate aiidpd would create it anew"
            elif fault.type == LOOPING:
                reason = "with the label aiidpd.heal=restart aiidpd would stop it"
        elif fault.cure is Cure.RECREATE and policy.mode is not HealMode.RECREATE:
            reason = (
                "a restart does not end that; with the label aiidpd.heal=recreate it would be created anew"
            )
        else:
            return None
        if fault.settled > self._observed.now:
            return self._waits(track, "it may still be starting", fault, fault.settled)
        self._notice(track, fault, Topic.HEAL_ADVISED, f"{fault.reason}; {reason}", fault.cure)
        return self._says(track, Action.NOTIFY, reason, fault, fault.cure)

    def _not_now(
        self, track: Track, reading: ContainerReading, fault: Fault, policy: HealPolicy
    ) -> Decision | None:
        """Return the decision to wait, where something speaks against an act now."""
        now = self._observed.now
        if (suspension := self._suspended.get(track.name)) is not None:
            reason = f"{suspension.by} has suspended its healing"
            return self._waits(track, reason, fault, suspension.until)
        if policy.quiet_hours is not None and policy.quiet_hours.contain(self._observed.minute):
            until = now + _MINUTE
            return self._waits(track, f"quiet hours are {policy.quiet_hours}", fault, until)
        keys = (f"name:{reading.name}", f"project:{reading.project}" if reading.project else "")
        touched = max((self._touched[key] for key in keys if key in self._touched), default=None)
        if touched is not None:
            reason = "somebody else has just changed it or its compose project"
            return self._waits(track, reason, fault, touched + self._settings.cooldown)
        if track.name in self._observed.tried or track.id in self._observed.backed_up:
            tried = track.name in self._observed.tried
            reason = "another image is tried in its place" if tried else "a backup reads what it has mounted"
            return self._waits(track, reason, fault)
        if fault.settled > now:
            return self._waits(track, "it may still be starting", fault, fault.settled)
        needed = self._needed(track)
        return None if needed is None else self._waits(track, needed, fault)

    def _needed(self, track: Track) -> str | None:
        """Return why a container that ``track`` needs comes first, None where none does."""
        if missing := self._relations.missing.get(track.id):
            return f"it depends on {missing[0]}, and there is no such container"
        for identity in self._relations.needs.get(track.id, ()):
            other = self._tracks.get(identity)
            if other is None:
                continue
            if other.heal is not None:
                return f"{other.name}, which it depends on, is being healed"
            if not other.running:
                return f"{other.name}, which it depends on, does not run"
            decision = self._decisions.get(identity)
            if decision is not None and decision.action in (Action.WAIT, Action.HEAL):
                return f"{other.name}, which it depends on, comes first"
        return None

    def _cure(self, track: Track, fault: Fault, policy: HealPolicy) -> Cure:
        """Return the least act that may help: after a restart that did not, another."""
        escalated = track.failures > 0 and policy.mode is HealMode.RECREATE
        return Cure.RECREATE if escalated else fault.cure

    # Parked

    def _loops(self, track: Track, policy: HealPolicy) -> bool:
        """Return whether ``track`` has just ended once more than its budget allows."""
        now = self._observed.now
        if (
            not track.deaths
            or now - track.deaths[-1] > FRESH
            or left(policy.budget, track.heals, track.deaths, now)
        ):
            return False
        return track.running or track.awaiting

    def _loop_reason(self, track: Track, policy: HealPolicy) -> str:
        window = lasting(policy.budget.window)
        heals = f" and was healed {len(track.heals)} times" if track.heals else ""
        return f"it ended {len(track.deaths)} times{heals} within {window}, and nobody asked it to"

    def _park(self, track: Track, fault: Fault, policy: HealPolicy, *, stop: bool) -> Decision:
        if stop:
            reason = f"restart loop stopped: {fault.reason}"
            remedy = f"`docker logs {track.name}` says why it ends; then `docker start {track.name}`"
        else:
            window = lasting(policy.budget.window)
            spent = f"{len(track.heals)} heals and {len(track.deaths)} ends within {window}"
            reason = f"no longer healed after {spent}; {fault.reason}"
            remedy = f"find out why, then `aiidpctl containers unpark {track.name}`"
        parked = Parked(fault.type, reason, remedy, self._observed.now, stop)
        track, report = progress.park(track, parked)
        self._tracks[track.id] = track
        self._effects.append(report)
        if stop:
            self._effects.append(StopLoop(track.id, track.name))
        return self._says(track, Action.PARKED, reason, fault, None)

    def _parked(self, track: Track, parked: Parked, fault: Fault | None, policy: HealPolicy) -> Decision:
        """Decide about one that is parked: whoever was well for a whole window is so no more."""
        since = track.well_since
        well = fault is None and track.running and not track.awaiting and not track.deaths
        since = None if not well else self._observed.now if since is None else since
        if since is not None and self._observed.now - since >= policy.budget.window:
            reason = f"it was well for {lasting(policy.budget.window)}"
            track, reports = progress.unparked(track, reason)
            self._effects += reports
            self._tracks[track.id] = track
            return Decision(track.id, track.name, Action.NOTHING)
        self._tracks[track.id] = replace(track, well_since=since)
        until = None if since is None else since + policy.budget.window
        return Decision(track.id, track.name, Action.PARKED, parked.reason, parked.fault, None, until)

    # Words

    def _healing(self, track: Track, heal: Heal, policy: HealPolicy) -> Decision:
        until = deadline(heal, policy) if heal.phase is HealPhase.VERIFYING else None
        reason = f"{heal.phase}: {heal.fault.reason}"
        return Decision(track.id, track.name, Action.HEALING, reason, heal.fault.type, heal.cure, until)

    def _waits(self, track: Track, reason: str, fault: Fault, until: float | None = None) -> Decision:
        return Decision(track.id, track.name, Action.WAIT, reason, fault.type, fault.cure, until)

    def _says(self, track: Track, action: Action, reason: str, fault: Fault, cure: Cure | None) -> Decision:
        return Decision(track.id, track.name, action, reason, fault.type, cure)

    def _notice(self, track: Track, fault: Fault, topic: Topic, reason: str, cure: Cure) -> None:
        """Publish ``reason`` once while the fault is there."""
        if track.noticed != fault.type:
            self._tracks[track.id] = replace(track, noticed=fault.type)
            self._effects.append(
                Report(topic, track.id, track.name, reason, fault.type, cure, evidence=fault.evidence)
            )


def _is_recreated(track: Track) -> bool:
    heal = track.heal
    return heal is not None and heal.phase is HealPhase.ACTING and heal.cure is Cure.RECREATE
