"""Carries out what the governor decides, and never sets anything that it could not put back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import anyio

from aiidpd.components.thermal.commands import Command
from aiidpd.components.thermal.faults import NO_ANSWER, GpuFault
from aiidpd.components.thermal.governor.asking import BackOffRequester
from aiidpd.components.thermal.governor.decide import step
from aiidpd.components.thermal.governor.events import GovernorPublisher
from aiidpd.components.thermal.governor.journal import Baseline, RestoreJournal
from aiidpd.components.thermal.governor.leasing import JournalWriter
from aiidpd.components.thermal.governor.refusals import NO_LEASE, refused
from aiidpd.components.thermal.governor.restore import restore
from aiidpd.components.thermal.governor.state import (
    BackOff,
    Blind,
    Effect,
    GovernorPolicy,
    GovernorState,
    Mode,
    Move,
    Settled,
    Yielded,
)
from aiidpd.components.thermal.governor.view import GovernanceView, GpuGovernance, Tally
from aiidpd.components.thermal.gpu import GpuLibrary, GpuSnapshot
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.inbox import Messages
from aiidpd.kernel.latest import Latest

_APPLY_WITHIN = 2.0


class GovernorController:
    """Governs the GPUs of ``library``, for one run of the worker.

    :meth:`act` is called after each reading, :meth:`restore` before the library is closed or let go.
    ``containers`` are named in the ask to back off.
    """

    def __init__(
        self,
        library: GpuLibrary,
        policy: GovernorPolicy,
        lease: RestoreJournal,
        *,
        latest: Latest[GovernanceView],
        tally: Tally,
        bus: EventBus,
        messages: Messages,
        health: Conditions,
        clock: Clock,
        containers: tuple[str, ...] = (),
    ) -> None:
        self._library = library
        self._policy = policy
        self._latest = latest
        self._clock = clock
        self._teller = GovernorPublisher(tally, bus, health, clock, simulated=library.simulated)
        self._requester = BackOffRequester(self._teller, messages, clock, containers)
        self._lease = JournalWriter(lease, self._teller)
        self._state = GovernorState()
        self._left: frozenset[str] = frozenset()  # in the lease from before this run, not restored yet
        self._retry_at = 0.0
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
        for uuid in self._requester.active:
            self._requester.end(uuid, "the governor stops")
        if self._lease.gpus:
            await self._put_back(self._lease.gpus, "the governor stops")
        self._state = GovernorState(permitted=self._state.permitted)
        self._left = frozenset(self._lease.gpus)
        self._latest.clear()

    async def _reconciled(self) -> bool:
        """Put back what an earlier run left; return whether GPUs may be governed in this pass."""
        now = self._clock.monotonic()
        if self._lease.known and (not self._left or now < self._retry_at):
            return True
        if not self._lease.known and now < self._retry_at:
            return False
        self._retry_at = now + self._policy.retry
        if not self._lease.known:
            self._teller.begin()
            if not await self._lease.read():
                return False
            self._left = frozenset(self._lease.gpus)
        if self._left:
            leftover = {uuid: gpu for uuid, gpu in self._lease.gpus.items() if uuid in self._left}
            await self._put_back(leftover, "an earlier run of the daemon left it changed")
            self._left &= frozenset(self._lease.gpus)
            return False  # this pass's snapshot is older than that: no baseline may come from it
        return True

    async def _put_back(self, gpus: Mapping[str, Baseline], why: str) -> None:
        outcomes = await restore(self._library, gpus)
        await self._lease.drop(frozenset(outcome.uuid for outcome in outcomes if outcome.restored))
        for outcome in outcomes:
            if outcome.restored:
                self._teller.restored(outcome.uuid, outcome.baseline, why)
            else:
                self._teller.not_restored(outcome)

    async def _do(self, effect: Effect) -> None:
        match effect:
            case Move():
                await self._move(effect)
            case BackOff(asked=True) if not effect.dry_run:
                # Not where the step that it belongs to was refused.
                held = self._state.gpus[effect.uuid]
                if held.rung.back_off:
                    self._requester.request(effect.index, effect.uuid, effect.reason)
            case BackOff(asked=False) if effect.uuid in self._requester.active:
                self._requester.end(effect.uuid, effect.reason)
            case Settled():
                await self._settled(effect)
            case Yielded():
                await self._lease.rebase(effect.uuid, effect.watts)
                self._teller.yielded(effect)
            case Blind():
                self._teller.blind(effect)

    async def _move(self, move: Move) -> None:
        done = await self._lease_for(move)
        for command in move.commands:
            fault = await self._apply(command) if done else GpuFault(move.index, "lease", None, NO_LEASE)
            if fault is not None:
                await self._refused(move, command, fault)
                return
        self._teller.moved(move)

    async def _lease_for(self, move: Move) -> bool:
        """Have the GPU's baseline on the disk before it is changed; return whether it is."""
        if not move.commands:
            return True
        simulated = self._library.simulated
        baseline = Baseline(move.index, move.name, move.baseline_watts, move.clocks_touched, simulated)
        return await self._lease.take(move.uuid, baseline)

    async def _apply(self, command: Command) -> GpuFault | None:
        # A cancellation waits for the driver's answer: half a call would cost the child, and the restoring
        # that follows would have to start another.
        with anyio.move_on_after(_APPLY_WITHIN, shield=True):
            return await self._library.apply(command)
        return GpuFault(None, type(command).__name__, None, NO_ANSWER)

    async def _refused(self, move: Move, command: Command, fault: GpuFault) -> None:
        retry_at = self._clock.monotonic() + self._policy.retry
        self._state, refusal = refused(self._state, move, command, fault, retry_at=retry_at)
        if fault.name == NO_LEASE:
            return  # a finding tells it already
        self._teller.refused(move, refusal, self._lease.gpus.get(move.uuid))
        if not self._state.gpus[move.uuid].touched and move.uuid in self._lease.gpus:
            await self._lease.drop(frozenset({move.uuid}))

    async def _settled(self, settled: Settled) -> None:
        baseline = self._lease.gpus.get(settled.uuid)
        # Where it stays in the lease, it is with the limit that it has: to restore it again does no harm.
        if baseline is not None and await self._lease.drop(frozenset({settled.uuid})):
            self._teller.restored(settled.uuid, baseline, "it is cool again")

    def _ask_again(self, *, ours_are: frozenset[str], now: float) -> None:
        for uuid in self._requester.due(now):
            if uuid in ours_are:
                held = self._state.gpus[uuid]
                self._requester.request(
                    held.number, uuid, f"GPU {held.number} ({held.name}) is still too hot"
                )

    def _show(self) -> None:
        mode = self._policy.mode if self._state.permitted else Mode.DRY_RUN
        gpus = tuple(
            GpuGovernance(held.number, uuid, held.level, max(0, len(held.ladder) - 1), held.rung)
            for uuid, held in self._state.gpus.items()
        )
        self._latest.put(GovernanceView(mode, gpus, len(self._lease.gpus)))
