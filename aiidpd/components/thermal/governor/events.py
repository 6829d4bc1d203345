"""The governor's events, conditions and counts, in words that a person can act on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from aiidpd.components.thermal.governor.journal import Baseline
from aiidpd.components.thermal.governor.refusals import NO_PERMISSION
from aiidpd.components.thermal.governor.restore import RIGHTS, Outcome
from aiidpd.components.thermal.governor.state import Blind, Move, Refused, Yielded
from aiidpd.components.thermal.governor.view import Tally, count
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.conditions import Condition, Conditions
from aiidpd.kernel.errors import describe
from aiidpd.kernel.events import Event, Scalar, Severity
from aiidpd.platform.statefile import StateUnreadable

SOURCE: Final = "thermal"

_DENIED = "gpu_governor_denied"
_BLIND = "gpu_governor_blind"
_RESTORE = "gpu_governor_restore"
_LEASE = "gpu_governor_lease"
CONDITIONS: Final = (_DENIED, _BLIND, _RESTORE, _LEASE)


class GovernorPublisher:
    """Publishes what the governor does, reports what prevents it, and counts in ``tally``."""

    def __init__(
        self, tally: Tally, bus: EventBus, conditions: Conditions, clock: Clock, *, simulated: bool
    ) -> None:
        self._tally = tally
        self._bus = bus
        self._conditions = conditions
        self._clock = clock
        self._simulated = simulated

    def begin(self) -> None:
        """Clear what a run before this one set: what still holds is set again."""
        self._conditions.update((_DENIED, _BLIND, _LEASE), ())

    def moved(self, move: Move) -> None:
        """Publish a step that was carried out, or would have been."""
        evidence: dict[str, Scalar] = {
            "gpu": move.index,
            "level_before": move.before,
            "level": move.after,
            "power_limit_watts": move.rung.power_watts,
            "clock_limit_hertz": move.rung.clock_hertz,
            "back_off": move.rung.back_off,
            "dry_run": move.dry_run,
            **move.evidence,
        }
        down = move.after >= move.before
        if move.after != move.before and not move.dry_run:
            count(self._tally.lowered if down else self._tally.raised, move.index, move.uuid)
        what = str(move.rung) if move.after else "its baseline"
        reason = f"{move.reason}; {'would set' if move.dry_run else 'sets'} {what}"
        warn = down and not move.dry_run
        kind = "gpu.governor_acted" if down else "gpu.governor_eased"
        self.publish(kind, move.uuid, reason, evidence, Severity.WARNING if warn else Severity.INFO)

    def refused(self, move: Move, refusal: Refused, baseline: Baseline | None) -> None:
        """Publish a setting that the driver did not take; ``baseline`` is what the journal has of the GPU."""
        fault, uuid = refusal.fault, refusal.uuid
        count(self._tally.refused, refusal.index, uuid)
        evidence: dict[str, Scalar] = {
            "gpu": refusal.index,
            "lever": refusal.lever,
            "fault": fault.name,
            "final": refusal.final,
        }
        reason = f"GPU {refusal.index} ({move.name}): its {refusal.lever} can't be set: {fault}"
        if fault.name == NO_PERMISSION:
            what = f"may not set anything, so it only tells what it would do: {fault}"
            self._set(_DENIED, "", Severity.WARNING, f"the governor {what}", RIGHTS)
        elif move.after == 0 and baseline is not None:
            self.not_restored(Outcome(uuid, baseline, str(fault), fault.remedy))
        self.publish("gpu.governor_refused", uuid, reason, evidence, Severity.WARNING)

    def yielded(self, effect: Yielded) -> None:
        """Publish that somebody else's limit is the baseline now."""
        evidence: dict[str, Scalar] = {"gpu": effect.index, "power_limit_watts": effect.watts}
        reason = f"{effect.reason}; that is the baseline now"
        self.publish("gpu.governor_yielded", effect.uuid, reason, evidence, Severity.WARNING)

    def blind(self, effect: Blind) -> None:
        """Report that a GPU can't be governed, or can again."""
        if effect.reason:
            reason = f"GPU {effect.index} is not governed: {effect.reason}"
            self._set(_BLIND, effect.uuid, Severity.WARNING, reason)
        else:
            self._conditions.clear(_BLIND, effect.uuid)

    def restored(self, uuid: str, baseline: Baseline, why: str) -> None:
        """Publish that a GPU is as it was."""
        self._conditions.clear(_RESTORE, uuid)
        count(self._tally.restored, baseline.index, uuid)
        evidence: dict[str, Scalar] = {
            "gpu": baseline.index,
            "power_limit_watts": baseline.power_limit_watts,
            "clocks_unlocked": baseline.clocks,
        }
        reason = f"GPU {baseline.index} ({baseline.name}) is back at its baseline: {why}"
        self.publish("gpu.governor_restored", uuid, reason, evidence)

    def not_restored(self, outcome: Outcome) -> None:
        """Report that a GPU is not as it was, and why."""
        baseline = outcome.baseline
        reason = f"GPU {baseline.index} ({baseline.name}) is not back at its baseline: {outcome.problem}"
        remedy = f"{outcome.remedy}; it is tried again" if outcome.remedy else "it is tried again"
        self._set(_RESTORE, outcome.uuid, Severity.ERROR, reason, remedy)

    def void(self, uuid: str, baseline: Baseline, why: str) -> None:
        """Publish that the journal on a GPU counts no longer."""
        self._conditions.clear(_RESTORE, uuid)
        reason = f"the restore journal of GPU {baseline.index} ({baseline.name}) is void: {why}"
        self.publish("gpu.governor_lease_void", uuid, reason, {"gpu": baseline.index})

    def journal_unreadable(self, path: Path, error: StateUnreadable) -> None:
        """Report that no GPU is governed, since the journal can't be read."""
        reason = f"no GPU is governed, since what they were like is not known: {error.reason}"
        self._set(_LEASE, path.name, Severity.ERROR, reason, error.remedy)

    def cannot_write(self, path: Path, error: OSError) -> None:
        """Report that the journal can't be written."""
        reason = f"cannot write {path}: {describe(error)}; no GPU is changed without it"
        remedy = "see that the disk has room and that daemon.state_directory can be written to"
        self._set(_LEASE, path.name, Severity.ERROR, reason, remedy)

    def journal_works(self, path: Path) -> None:
        """Clear what the two above reported."""
        self._conditions.clear(_LEASE, path.name)

    def _set(self, type_: str, subject: str, severity: Severity, reason: str, remedy: str = "") -> None:
        self._conditions.set(
            Condition(type_, subject, severity, reason, remedy, source=SOURCE, simulated=self._simulated)
        )

    def publish(
        self,
        kind: str,
        uuid: str,
        reason: str,
        evidence: Mapping[str, Scalar],
        severity: Severity = Severity.INFO,
    ) -> Event:
        """Publish one event about the GPU ``uuid``, and return it."""
        event = Event(
            time=self._clock.time(),
            source=SOURCE,
            kind=kind,
            subject=uuid,
            severity=severity,
            reason=reason,
            evidence=MappingProxyType(dict(evidence)),
            simulated=self._simulated,
        )
        return self._bus.publish(event)
