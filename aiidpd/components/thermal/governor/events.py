"""Events, conditions and counts of the governor, and its requests to others to back off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from aiidpd.components.thermal.governor.journal import Baseline
from aiidpd.components.thermal.governor.refusals import NO_PERMISSION
from aiidpd.components.thermal.governor.restore import RIGHTS, Outcome
from aiidpd.components.thermal.governor.state import Blind, Move, Refused, Tally, Yielded, count
from aiidpd.contracts.messages import BackOffEnded, BackOffRequested
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.conditions import Condition, Conditions
from aiidpd.kernel.errors import describe
from aiidpd.kernel.events import Severity
from aiidpd.kernel.inbox import Messages
from aiidpd.kernel.publisher import Publisher
from aiidpd.platform.statefile import StateUnreadable

BACK_OFF_SECONDS: Final = 600.0
"""Seconds that a request holds unless it is renewed: so none outlives a daemon that can't end it."""

_DENIED: Final = "gpu_governor_denied"
_BLIND: Final = "gpu_governor_blind"
_RESTORE: Final = "gpu_governor_restore"
_JOURNAL: Final = "gpu_governor_lease"
CONDITIONS: Final = (_DENIED, _BLIND, _RESTORE, _JOURNAL)


class GovernorPublisher:
    """Publishes the acts of the governor, reports what prevents them, and counts in ``tally``."""

    def __init__(self, tally: Tally, publish: Publisher, conditions: Conditions) -> None:
        self._tally = tally
        self._publish = publish
        self._conditions = conditions

    def begin(self) -> None:
        """Clear the conditions of the run before this one: what still holds is set again."""
        self._conditions.update((_DENIED, _BLIND, _JOURNAL), ())

    def moved(self, move: Move) -> None:
        """Publish a step that was carried out, or would have been."""
        down = move.after >= move.before
        if move.after != move.before and not move.dry_run:
            count(self._tally.lowered if down else self._tally.raised, move.index, move.uuid)
        what = str(move.step) if move.after else "its baseline"
        reason = f"{move.reason}; {'would set' if move.dry_run else 'sets'} {what}"
        self._publish.event(
            "gpu.governor_acted" if down else "gpu.governor_eased",
            reason,
            about=move.uuid,
            severity=Severity.WARNING if down and not move.dry_run else Severity.INFO,
            gpu=move.index,
            level_before=move.before,
            level=move.after,
            power_limit_watts=move.step.power_watts,
            clock_limit_hertz=move.step.clock_hertz,
            back_off=move.step.back_off,
            dry_run=move.dry_run,
            **move.evidence,
        )

    def refused(self, move: Move, refusal: Refused, baseline: Baseline | None) -> None:
        """Publish a setting that the driver did not take; ``baseline`` is what the journal has of the GPU."""
        fault, uuid = refusal.fault, refusal.uuid
        count(self._tally.refused, refusal.index, uuid)
        reason = f"GPU {refusal.index} ({move.name}): its {refusal.actuator} can't be set: {fault}"
        if fault.name == NO_PERMISSION:
            what = f"may not set anything, so it only reports what it would do: {fault}"
            self._set(_DENIED, "", Severity.WARNING, f"the governor {what}", RIGHTS)
        elif move.after == 0 and baseline is not None:
            self.not_restored(Outcome(uuid, baseline, str(fault), fault.remedy))
        self._publish.event(
            "gpu.governor_refused",
            reason,
            about=uuid,
            severity=Severity.WARNING,
            gpu=refusal.index,
            lever=refusal.actuator,
            fault=fault.name,
            final=refusal.final,
        )

    def yielded(self, effect: Yielded) -> None:
        """Publish that somebody else's limit is the baseline now."""
        self._publish.event(
            "gpu.governor_yielded",
            f"{effect.reason}; that is the baseline now",
            about=effect.uuid,
            severity=Severity.WARNING,
            gpu=effect.index,
            power_limit_watts=effect.watts,
        )

    def blind(self, effect: Blind) -> None:
        """Report that a GPU can't be governed, or can again."""
        if effect.reason:
            reason = f"GPU {effect.index} is not governed: {effect.reason}"
            self._set(_BLIND, effect.uuid, Severity.WARNING, reason)
        else:
            self._conditions.clear(_BLIND, effect.uuid)

    def restored(self, uuid: str, baseline: Baseline, why: str) -> None:
        """Publish that a GPU is at its baseline again."""
        self._conditions.clear(_RESTORE, uuid)
        count(self._tally.restored, baseline.index, uuid)
        self._publish.event(
            "gpu.governor_restored",
            f"GPU {baseline.index} ({baseline.name}) is back at its baseline: {why}",
            about=uuid,
            gpu=baseline.index,
            power_limit_watts=baseline.power_limit_watts,
            clocks_unlocked=baseline.clocks,
        )

    def not_restored(self, outcome: Outcome) -> None:
        """Report that a GPU is not at its baseline, and why."""
        baseline = outcome.baseline
        reason = f"GPU {baseline.index} ({baseline.name}) is not back at its baseline: {outcome.problem}"
        remedy = f"{outcome.remedy}; it is tried again" if outcome.remedy else "it is tried again"
        self._set(_RESTORE, outcome.uuid, Severity.ERROR, reason, remedy)

    def void(self, uuid: str, baseline: Baseline, why: str) -> None:
        """Publish that the journal's entry of a GPU is void."""
        self._conditions.clear(_RESTORE, uuid)
        reason = f"the restore journal of GPU {baseline.index} ({baseline.name}) is void: {why}"
        self._publish.event("gpu.governor_lease_void", reason, about=uuid, gpu=baseline.index)

    def journal_unreadable(self, path: Path, error: StateUnreadable) -> None:
        """Report that no GPU is governed, since the journal can't be read."""
        reason = f"no GPU is governed, since what they were like is not known: {error.reason}"
        self._set(_JOURNAL, path.name, Severity.ERROR, reason, error.remedy)

    def cannot_write(self, path: Path, error: OSError) -> None:
        """Report that the journal can't be written."""
        reason = f"cannot write {path}: {describe(error)}; no GPU is changed without it"
        remedy = "see that the disk has room and that daemon.state_directory can be written to"
        self._set(_JOURNAL, path.name, Severity.ERROR, reason, remedy)

    def journal_works(self, path: Path) -> None:
        """Clear the condition of the journal."""
        self._conditions.clear(_JOURNAL, path.name)

    def _set(self, type_: str, subject: str, severity: Severity, reason: str, remedy: str = "") -> None:
        self._conditions.set(
            Condition(
                type_,
                subject,
                severity,
                reason,
                remedy,
                source=self._publish.source,
                simulated=self._publish.simulated,
            )
        )


class BackOffRequester:
    """Requests to others to leave a GPU alone, for as long as it is on the last step of its ladder.

    Each is renewed at half of its time. ``containers`` are those that are named in it.
    """

    def __init__(
        self, publish: Publisher, messages: Messages, clock: Clock, containers: tuple[str, ...]
    ) -> None:
        self._publish = publish
        self._messages = messages
        self._clock = clock
        self._containers = containers
        self._requested: dict[str, float] = {}

    @property
    def active(self) -> tuple[str, ...]:
        """GPUs, by UUID, that others are requested to leave alone."""
        return tuple(self._requested)

    def due(self, now: float) -> Iterator[str]:
        """Yield the GPUs whose request is to be renewed."""
        for uuid, requested in tuple(self._requested.items()):
            if now - requested >= BACK_OFF_SECONDS / 2:
                yield uuid

    def request(self, index: int, uuid: str, reason: str) -> None:
        """Send a request, or renew it."""
        self._requested[uuid] = self._clock.monotonic()
        event = self._publish.event(
            "gpu.back_off",
            reason,
            about=uuid,
            severity=Severity.WARNING,
            gpu=index,
            hold_seconds=BACK_OFF_SECONDS,
            containers=", ".join(self._containers),
        )
        self._messages.send(
            BackOffRequested(
                reason=reason,
                event_id=event.id,
                simulated=event.simulated,
                gpu=uuid,
                label=f"GPU {index}",
                hold_seconds=BACK_OFF_SECONDS,
                containers=self._containers,
            )
        )

    def end(self, uuid: str, reason: str) -> None:
        """End a request."""
        del self._requested[uuid]
        containers = ", ".join(self._containers)
        event = self._publish.event("gpu.back_off_ended", reason, about=uuid, containers=containers)
        self._messages.send(
            BackOffEnded(reason=reason, event_id=event.id, simulated=event.simulated, gpu=uuid)
        )
