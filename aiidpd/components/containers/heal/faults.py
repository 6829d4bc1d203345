"""Faults of containers that a heal would end (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from aiidpd.components.containers.heal.dependencies import Dependencies, joined
from aiidpd.components.containers.heal.policy import HealPolicy
from aiidpd.components.containers.heal.state import (
    DEPENDENCY_HEALED,
    NETWORK_LOST,
    NOT_STARTED,
    UNHEALTHY,
    Fault,
    Observed,
    Outcome,
    Track,
)
from aiidpd.components.containers.runtime import ContainerReading
from aiidpd.contracts.messages import Cure

ORPHANED_CODE: Final = 128  # Docker's own, where it could not start a container at all
HUNG: Final = "engine_hung"


@dataclass(frozen=True, slots=True)
class Faults:
    """Finds the fault of one container, in its relation to the others."""

    observed: Observed
    relations: Dependencies
    tracks: Mapping[str, Track]

    def of(self, track: Track, reading: ContainerReading, policy: HealPolicy) -> Fault | None:
        """Return the fault of the container of ``reading``; None where nothing is wrong that a heal ends."""
        if reading.state == "exited":
            if track.owed:
                reason = "a heal of aiidpd has stopped it, and it could not be started again"
                return Fault(NOT_STARTED, reason)
            return self._orphaned(reading) if joined(reading) else None
        if reading.state != "running":
            return None
        request = self.observed.requests.get(reading.id)
        if request is not None:
            hung = request.fault == HUNG
            return Fault(request.fault, request.reason, request.cure, 0.0, hung, request.evidence)
        if reading.health == "unhealthy":
            return self._unhealthy(reading, policy)
        lost = self._network_lost(reading) if joined(reading) else None
        return lost or (self._follows(reading) if policy.follow_restarts else None)

    def _unhealthy(self, reading: ContainerReading, policy: HealPolicy) -> Fault:
        now, wall = self.observed.now, self.observed.wall
        started = wall if reading.started_at is None else min(wall, reading.started_at)
        evidence = {"running_seconds": round(wall - started, 1)}
        settled = started + policy.grace - wall + now
        return Fault(UNHEALTHY, "its health check fails", settled=settled, evidence=evidence)

    def _orphaned(self, reading: ContainerReading) -> Fault | None:
        """Return the fault of one that could not start, for the network that it shares was not there."""
        if reading.exit_code != ORPHANED_CODE or reading.id in self.observed.stopped:
            return None
        other = self._network_of(reading)
        if other is None:
            return self._without_network()
        if not other.running:
            return None
        reason = f"it could not start while {other.name}, whose network it shares, did not run"
        return Fault(NETWORK_LOST, reason, evidence={"network_of": other.name})

    def _network_lost(self, reading: ContainerReading) -> Fault | None:
        """Return the fault of one that runs in the network of an earlier run of another container."""
        other = self._network_of(reading)
        if other is None:
            return self._without_network()
        if not other.running or other.started_at is None or reading.started_at is None:
            return None
        if other.started_at <= reading.started_at:
            return None
        reason = f"it shares the network of {other.name}, which was started again since: it has none"
        return Fault(NETWORK_LOST, reason, evidence={"network_of": other.name})

    def _network_of(self, reading: ContainerReading) -> Track | None:
        return self.tracks.get(self.relations.network.get(reading.id, ""))

    def _without_network(self) -> Fault | None:
        if self.observed.unreadable:
            return None  # the other may be one of them
        reason = "it shares the network of a container that does not exist any more"
        return Fault(NETWORK_LOST, reason, Cure.RECREATE)

    def _follows(self, reading: ContainerReading) -> Fault | None:
        """Return the fault of one that is to be restarted after a heal of what it needs."""
        now, wall = self.observed.now, self.observed.wall
        for identity in self.relations.needs.get(reading.id, ()):
            other = self.tracks.get(identity)
            last = None if other is None else other.last
            if other is None or last is None or last.outcome is not Outcome.HEALED:
                continue
            if reading.started_at is not None and last.at - now + wall > reading.started_at:
                reason = f"{other.name}, which it depends on, was healed"
                return Fault(DEPENDENCY_HEALED, reason, evidence={"depends_on": other.name})
        return None
