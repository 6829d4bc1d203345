"""Carries out what the governor decides, and never sets anything that it could not put back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

import anyio
import anyio.to_thread

from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.errors import describe
from aiidpd.kernel.events import Event, Scalar, Severity
from aiidpd.kernel.health import Health
from aiidpd.kernel.latest import Latest
from aiidpd.workers.thermal.commands import Command
from aiidpd.workers.thermal.faults import NO_ANSWER, GpuFault
from aiidpd.workers.thermal.governor.decide import step
from aiidpd.workers.thermal.governor.governing import (
    BackOff,
    Blind,
    Effect,
    GovernorPolicy,
    GovernorState,
    Mode,
    Move,
    Refused,
    Settled,
    Yielded,
)
from aiidpd.workers.thermal.governor.lease import Baseline, LeaseFile, LeaseUnusable
from aiidpd.workers.thermal.governor.refusing import NO_LEASE, NO_PERMISSION, refused
from aiidpd.workers.thermal.governor.restore import RIGHTS, Outcome, restore
from aiidpd.workers.thermal.governor.view import GovernanceView, GpuGovernance, Tally, count
from aiidpd.workers.thermal.gpu import GpuLibrary, GpuSnapshot

SOURCE: Final = "thermal"
BACK_OFF: Final = "gpu.back_off"
BACK_OFF_ENDED: Final = "gpu.back_off_ended"
BACK_OFF_SECONDS: Final = 600.0
"""How long an ask holds unless it is said again: so none outlives a daemon that can't take it back."""

_DENIED = "gpu_governor_denied"
_BLIND = "gpu_governor_blind"
_RESTORE = "gpu_governor_restore"
_LEASE = "gpu_governor_lease"
_APPLY_WITHIN = 2.0


class Governor:
    """Governs the GPUs of ``library``, for one run of the worker.

    :meth:`act` is called after each reading, :meth:`restore` before the library is closed or let go.
    ``containers`` are named in the ask to back off.
    """

    def __init__(
        self,
        library: GpuLibrary,
        policy: GovernorPolicy,
        lease: LeaseFile,
        *,
        latest: Latest[GovernanceView],
        tally: Tally,
        bus: EventBus,
        health: Health,
        clock: Clock,
        containers: tuple[str, ...] = (),
    ) -> None:
        self._library = library
        self._policy = policy
        self._file = lease
        self._latest = latest
        self._tally = tally
        self._bus = bus
        self._health = health
        self._clock = clock
        self._containers = ", ".join(containers)
        self._state = GovernorState()
        self._lease: Mapping[str, Baseline] | None = None  # None: not read yet
        self._left: frozenset[str] = frozenset()  # in the lease from before this run, not restored yet
        self._retry_at = 0.0
        self._asked: dict[str, float] = {}
        self._acting = False

    async def act(self, snapshot: GpuSnapshot) -> None:
        """Judge ``snapshot``, read just now, and set what follows; bounded in time."""
        self._acting = True
        if not await self._reconciled():
            return
        ours = tuple(gpu for gpu in snapshot.gpus if gpu.uuid not in self._left)
        now = self._clock.monotonic()
        self._state, effects = step(self._state, replace(snapshot, gpus=ours), now, self._policy)
        for effect in effects:
            await self._do(effect)
        self._ask_again(ours_are=frozenset(gpu.uuid for gpu in ours), now=now)
        self._show()

    async def restore(self) -> None:
        """Put every GPU back; what can't be put back stays in the lease. Bounded by the library's bounds.

        Does nothing where :meth:`act` was not called since the last time.
        """
        if not self._acting:
            return
        self._acting = False
        for uuid in tuple(self._asked):
            self._back_off_ended(uuid, "the governor stops")
        if self._lease:
            await self._put_back(self._lease, "the governor stops")
        self._state = GovernorState(permitted=self._state.permitted)
        self._left = frozenset(self._lease or ())
        self._latest.clear()

    async def _reconciled(self) -> bool:
        """Put back what an earlier run left; return whether GPUs may be governed in this pass."""
        now = self._clock.monotonic()
        if self._lease is not None and (not self._left or now < self._retry_at):
            return True
        if self._lease is None and now < self._retry_at:
            return False
        self._retry_at = now + self._policy.retry
        if self._lease is None:
            self._withdraw_findings()
            try:
                found = await anyio.to_thread.run_sync(self._file.read, abandon_on_cancel=True)
            except LeaseUnusable as error:
                self._health.report(
                    _LEASE,
                    self._file.path.name,
                    severity=Severity.ERROR,
                    reason=f"no GPU is governed, since what they were like is not known: {error.reason}",
                    remedy=error.remedy,
                )
                return False
            self._lease = dict(found.gpus)
            if found.gpus and self._file.stale(found):
                why = "the machine was booted since, and the driver has forgotten what was set"
                await self._forget(frozenset(found.gpus), why)
            simulated = frozenset(uuid for uuid, gpu in self._lease.items() if gpu.simulated)
            if simulated:
                await self._forget(simulated, "it was simulated, and ended with its process")
            self._left = frozenset(self._lease)
        if self._left:
            leftover = {uuid: gpu for uuid, gpu in self._lease.items() if uuid in self._left}
            await self._put_back(leftover, "an earlier run of the daemon left it changed")
            self._left &= frozenset(self._lease)
            return False  # this pass's snapshot is older than that: no baseline may come from it
        return True

    async def _put_back(self, gpus: Mapping[str, Baseline], why: str) -> None:
        outcomes = await restore(self._library, gpus)
        kept = dict(self._lease or {})
        for outcome in outcomes:
            if outcome.restored:
                kept.pop(outcome.uuid, None)
        try:
            await self._write(kept)
        except OSError as error:
            self._cannot_write(error)
        for outcome in outcomes:
            if outcome.restored:
                self._restored(outcome.uuid, outcome.baseline, why)
            else:
                self._not_restored(outcome)

    async def _forget(self, uuids: frozenset[str], why: str) -> None:
        before = self._lease or {}
        try:
            await self._write({uuid: gpu for uuid, gpu in before.items() if uuid not in uuids})
        except OSError as error:
            self._cannot_write(error)
            return
        for uuid in sorted(uuids):
            reason = f"the lease on GPU {before[uuid].index} ({before[uuid].name}) is void: {why}"
            self._publish("gpu.governor_lease_void", uuid, reason, {"gpu": before[uuid].index})

    async def _write(self, gpus: Mapping[str, Baseline]) -> None:
        """Have the lease name ``gpus``; raises :class:`OSError`, and then it names what it named before."""
        before, written = self._lease or {}, False
        try:
            await anyio.to_thread.run_sync(self._file.writing(gpus), abandon_on_cancel=True)
            written = True
        except OSError:
            gpus, written = before, True
            raise
        finally:
            # Where nobody waited for the end it may be either.
            self._lease = gpus if written else {**before, **gpus}
        self._health.clear(_LEASE, self._file.path.name)

    async def _do(self, effect: Effect) -> None:
        match effect:
            case Move():
                await self._move(effect)
            case BackOff(asked=True) if not effect.dry_run:
                # Not where the step that it belongs to was refused.
                held = self._state.gpus[effect.uuid]
                if held.rung.back_off:
                    self._ask(effect.index, effect.uuid, effect.reason)
            case BackOff(asked=False) if effect.uuid in self._asked:
                self._back_off_ended(effect.uuid, effect.reason)
            case Settled():
                await self._settled(effect)
            case Yielded():
                await self._yielded(effect)
            case Blind():
                self._blind(effect)

    async def _move(self, move: Move) -> None:
        done = await self._lease_for(move)
        for command in move.commands:
            fault = await self._apply(command) if done else GpuFault(move.index, "lease", None, NO_LEASE)
            if fault is not None:
                retry_at = self._clock.monotonic() + self._policy.retry
                self._state, refusal = refused(self._state, move, command, fault, retry_at=retry_at)
                await self._refused(move, refusal)
                return
        self._moved(move)

    async def _lease_for(self, move: Move) -> bool:
        """Have the GPU's baseline on the disk before it is changed; return whether it is."""
        lease = self._lease or {}
        clocks, standing = move.clocks_touched, lease.get(move.uuid)
        wanted = Baseline(move.index, move.name, move.baseline_watts, clocks, self._library.simulated)
        if not move.commands or wanted == standing:
            return True
        try:
            await self._write({**lease, move.uuid: wanted})
        except OSError as error:
            self._cannot_write(error)
            return False
        return True

    async def _apply(self, command: Command) -> GpuFault | None:
        # A cancellation waits for the driver's answer: half a call would cost the child, and the restoring
        # that follows would have to start another.
        with anyio.move_on_after(_APPLY_WITHIN, shield=True):
            return await self._library.apply(command)
        return GpuFault(None, type(command).__name__, None, NO_ANSWER)

    def _moved(self, move: Move) -> None:
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
        self._publish(kind, move.uuid, reason, evidence, Severity.WARNING if warn else Severity.INFO)

    async def _refused(self, move: Move, refusal: Refused) -> None:
        fault, uuid = refusal.fault, refusal.uuid
        if fault.name == NO_LEASE:
            return  # a finding tells it already
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
            self._health.report(
                _DENIED, "", severity=Severity.WARNING, reason=f"the governor {what}", remedy=RIGHTS
            )
        elif move.after == 0:
            self._not_restored(Outcome(uuid, (self._lease or {})[uuid], str(fault), fault.remedy))
        self._publish("gpu.governor_refused", uuid, reason, evidence, Severity.WARNING)
        if not self._state.gpus[uuid].touched and uuid in (self._lease or {}):
            await self._release(uuid)

    async def _settled(self, settled: Settled) -> None:
        baseline = (self._lease or {}).get(settled.uuid)
        if baseline is not None and await self._release(settled.uuid):
            self._restored(settled.uuid, baseline, "it is cool again")

    async def _release(self, uuid: str) -> bool:
        try:
            await self._write({other: gpu for other, gpu in (self._lease or {}).items() if other != uuid})
        except OSError as error:
            # It stays in the lease, with the limit that it has: to restore it again does no harm.
            self._cannot_write(error)
            return False
        return True

    async def _yielded(self, effect: Yielded) -> None:
        lease = self._lease or {}
        standing = lease.get(effect.uuid)
        if standing is not None:
            try:
                await self._write({**lease, effect.uuid: replace(standing, power_limit_watts=effect.watts)})
            except OSError as error:
                self._cannot_write(error)
        evidence: dict[str, Scalar] = {"gpu": effect.index, "power_limit_watts": effect.watts}
        reason = f"{effect.reason}; that is the baseline now"
        self._publish("gpu.governor_yielded", effect.uuid, reason, evidence, Severity.WARNING)

    def _blind(self, effect: Blind) -> None:
        if effect.reason:
            reason = f"GPU {effect.index} is not governed: {effect.reason}"
            self._health.report(_BLIND, effect.uuid, severity=Severity.WARNING, reason=reason)
        else:
            self._health.clear(_BLIND, effect.uuid)

    def _restored(self, uuid: str, baseline: Baseline, why: str) -> None:
        self._health.clear(_RESTORE, uuid)
        count(self._tally.restored, baseline.index, uuid)
        evidence: dict[str, Scalar] = {
            "gpu": baseline.index,
            "power_limit_watts": baseline.power_limit_watts,
            "clocks_unlocked": baseline.clocks,
        }
        reason = f"GPU {baseline.index} ({baseline.name}) is back at its baseline: {why}"
        self._publish("gpu.governor_restored", uuid, reason, evidence)

    def _not_restored(self, outcome: Outcome) -> None:
        baseline = outcome.baseline
        reason = f"GPU {baseline.index} ({baseline.name}) is not back at its baseline: {outcome.problem}"
        remedy = f"{outcome.remedy}; it is tried again" if outcome.remedy else "it is tried again"
        self._health.report(_RESTORE, outcome.uuid, severity=Severity.ERROR, reason=reason, remedy=remedy)

    def _cannot_write(self, error: OSError) -> None:
        self._health.report(
            _LEASE,
            self._file.path.name,
            severity=Severity.ERROR,
            reason=f"cannot write {self._file.path}: {describe(error)}; no GPU is changed without it",
            remedy="see that the disk has room and that daemon.state_directory can be written to",
        )

    def _ask(self, index: int, uuid: str, reason: str) -> None:
        self._asked[uuid] = self._clock.monotonic()
        evidence: dict[str, Scalar] = {
            "gpu": index,
            "hold_seconds": BACK_OFF_SECONDS,
            "containers": self._containers,
        }
        self._publish(BACK_OFF, uuid, reason, evidence, Severity.WARNING)

    def _ask_again(self, *, ours_are: frozenset[str], now: float) -> None:
        for uuid, asked in tuple(self._asked.items()):
            if uuid in ours_are and now - asked >= BACK_OFF_SECONDS / 2:
                held = self._state.gpus[uuid]
                self._ask(held.number, uuid, f"GPU {held.number} ({held.name}) is still too hot")

    def _back_off_ended(self, uuid: str, reason: str) -> None:
        del self._asked[uuid]
        self._publish(BACK_OFF_ENDED, uuid, reason, {"containers": self._containers})

    def _withdraw_findings(self) -> None:
        """Withdraw what a run before this one found: what still holds is found again."""
        for finding in self._health.findings():
            if finding.code in (_DENIED, _BLIND, _LEASE):
                self._health.clear(finding.code, finding.subject)

    def _show(self) -> None:
        mode = self._policy.mode if self._state.permitted else Mode.DRY_RUN
        gpus = tuple(
            GpuGovernance(held.number, uuid, held.level, max(0, len(held.ladder) - 1), held.rung)
            for uuid, held in self._state.gpus.items()
        )
        self._latest.put(GovernanceView(mode, gpus, len(self._lease or ())))

    def _publish(
        self,
        kind: str,
        uuid: str,
        reason: str,
        evidence: Mapping[str, Scalar],
        severity: Severity = Severity.INFO,
    ) -> None:
        event = Event(
            time=self._clock.time(),
            source=SOURCE,
            kind=kind,
            subject=uuid,
            severity=severity,
            reason=reason,
            evidence=MappingProxyType(dict(evidence)),
            simulated=self._library.simulated,
        )
        self._bus.publish(event)
