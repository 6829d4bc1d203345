"""Governor controller: applies the decisions, and sets nothing that could not be restored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import anyio
import anyio.to_thread

from aiidpd.components.thermal.commands import Command
from aiidpd.components.thermal.faults import NO_ANSWER, GpuFault
from aiidpd.components.thermal.governor import tuning
from aiidpd.components.thermal.governor.decide import step
from aiidpd.components.thermal.governor.events import BackOffRequester, GovernorPublisher
from aiidpd.components.thermal.governor.journal import Baseline, RestoreJournal
from aiidpd.components.thermal.governor.refusals import NO_JOURNAL, refused
from aiidpd.components.thermal.governor.restore import restore
from aiidpd.components.thermal.governor.state import (
    BackOff,
    Blind,
    Effect,
    GovernanceView,
    GovernorState,
    GpuGovernance,
    Move,
    Restored,
    Tally,
    Yielded,
)
from aiidpd.components.thermal.gpu import GpuLibrary
from aiidpd.components.thermal.settings import GovernorMode, GovernorSettings
from aiidpd.components.thermal.signals.checked import CheckedSnapshot
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.inbox import Messages
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.publisher import Publisher
from aiidpd.platform.statefile import StateUnreadable

_APPLY_WITHIN = 2.0
_NOTHING: Mapping[str, Baseline] = MappingProxyType({})


class JournalWriter:
    """Restore journal of one run, in memory as on the disk.

    ``gpus`` has the entries of ``file``, and those that it may have where a write was cut short; ``loaded``
    is true once they were read.
    """

    def __init__(self, file: RestoreJournal, publisher: GovernorPublisher) -> None:
        self._file = file
        self._publisher = publisher
        self.loaded = False
        self.gpus: Mapping[str, Baseline] = _NOTHING

    async def read(self) -> bool:
        """Read the entries of an earlier run and drop void ones; return whether they are known now."""
        try:
            found = await anyio.to_thread.run_sync(self._file.read, abandon_on_cancel=True)
        except StateUnreadable as error:
            self._publisher.journal_unreadable(self._file.path, error)
            return False
        self.gpus, self.loaded = dict(found.gpus), True
        if found.gpus and self._file.stale(found):
            why = "the machine was booted since, and the driver has forgotten what was set"
            await self._forget(frozenset(found.gpus), why)
        simulated = frozenset(uuid for uuid, gpu in self.gpus.items() if gpu.simulated)
        if simulated:
            await self._forget(simulated, "it was simulated, and ended with its process")
        return True

    async def _forget(self, uuids: frozenset[str], why: str) -> None:
        before = self.gpus
        if await self.remove(uuids):
            for uuid in sorted(uuids):
                self._publisher.void(uuid, before[uuid], why)

    async def add(self, uuid: str, baseline: Baseline) -> bool:
        """Add ``uuid`` with ``baseline``; return whether that is on the disk, and report where it is not."""
        if self.gpus.get(uuid) == baseline:
            return True
        return await self._write({**self.gpus, uuid: baseline})

    async def remove(self, uuids: frozenset[str]) -> bool:
        """Remove ``uuids``; return whether that is on the disk, and report where it is not."""
        return await self._write({uuid: gpu for uuid, gpu in self.gpus.items() if uuid not in uuids})

    async def rebase(self, uuid: str, watts: float) -> None:
        """Make ``watts`` the baseline of a GPU that the journal has."""
        named = self.gpus.get(uuid)
        if named is not None:
            await self._write({**self.gpus, uuid: replace(named, power_limit_watts=watts)})

    async def _write(self, gpus: Mapping[str, Baseline]) -> bool:
        before, written = self.gpus, False
        write = self._file.writing(gpus)
        try:
            await anyio.to_thread.run_sync(write, abandon_on_cancel=True)
            written = True
        except OSError as error:
            gpus, written = before, True
            self._publisher.cannot_write(self._file.path, error)
            return False
        finally:
            # Where the wait for its end was cancelled it may be either.
            self.gpus = gpus if written else {**before, **gpus}
        self._publisher.journal_works(self._file.path)
        return True


class GovernorController:
    """Governs the GPUs of ``library``, for one run of the worker.

    :meth:`act` is called after each reading, :meth:`restore` before the library is closed or released.
    Containers that ``settings`` name are named in the request to back off.
    """

    def __init__(
        self,
        library: GpuLibrary,
        settings: GovernorSettings,
        journal: RestoreJournal,
        *,
        latest: Latest[GovernanceView],
        tally: Tally,
        publish: Publisher,
        messages: Messages,
        conditions: Conditions,
        clock: Clock,
    ) -> None:
        self._library = library
        self._settings = settings
        self._latest = latest
        self._clock = clock
        publish = publish.marked(simulated=library.simulated)
        self._publisher = GovernorPublisher(tally, publish, conditions)
        self._requester = BackOffRequester(publish, messages, clock, settings.back_off_containers)
        self._journal = JournalWriter(journal, self._publisher)
        self._state = GovernorState()
        self._leftover: frozenset[str] = frozenset()  # in the journal from before this run, not restored yet
        self._retry_at = 0.0
        self._acting = False

    async def act(self, snapshot: CheckedSnapshot) -> None:
        """Decide on ``snapshot``, read just now, and apply the effects; bounded in time."""
        self._acting = True
        if not await self._reconciled():
            return
        ours = tuple(gpu for gpu in snapshot.gpus if gpu.reading.uuid not in self._leftover)
        self._state, effects = step(self._state, replace(snapshot, gpus=ours), self._settings)
        for effect in effects:
            await self._apply(effect)
        self._renew_requests(frozenset(gpu.reading.uuid for gpu in ours))
        self._put_view()

    async def restore(self) -> None:
        """Restore every GPU; what can't be restored stays in the journal. Bounded by the library's bounds.

        Does nothing where :meth:`act` was not called since the last time.
        """
        if not self._acting:
            return
        self._acting = False
        for uuid in self._requester.active:
            self._requester.end(uuid, "the governor stops")
        if self._journal.gpus:
            await self._restore(self._journal.gpus, "the governor stops")
        self._state = GovernorState(permitted=self._state.permitted)
        self._leftover = frozenset(self._journal.gpus)
        self._latest.clear()

    async def _reconciled(self) -> bool:
        """Restore what an earlier run left; return whether GPUs may be governed in this pass."""
        now = self._clock.monotonic()
        if self._journal.loaded and (not self._leftover or now < self._retry_at):
            return True
        if not self._journal.loaded and now < self._retry_at:
            return False
        self._retry_at = now + tuning.RETRY
        if not self._journal.loaded:
            self._publisher.begin()
            if not await self._journal.read():
                return False
            self._leftover = frozenset(self._journal.gpus)
        if self._leftover:
            leftover = {uuid: gpu for uuid, gpu in self._journal.gpus.items() if uuid in self._leftover}
            await self._restore(leftover, "an earlier run of the daemon left it changed")
            self._leftover &= frozenset(self._journal.gpus)
            return False  # the snapshot of this pass is older than that: no baseline may come from it
        return True

    async def _restore(self, gpus: Mapping[str, Baseline], why: str) -> None:
        outcomes = await restore(self._library, gpus)
        await self._journal.remove(frozenset(outcome.uuid for outcome in outcomes if outcome.restored))
        for outcome in outcomes:
            if outcome.restored:
                self._publisher.restored(outcome.uuid, outcome.baseline, why)
            else:
                self._publisher.not_restored(outcome)

    async def _apply(self, effect: Effect) -> None:
        match effect:
            case Move():
                await self._move(effect)
            case BackOff(requested=True) if not effect.dry_run:
                # Not where the step that it belongs to was refused.
                if self._state.gpus[effect.uuid].step.back_off:
                    self._requester.request(effect.index, effect.uuid, effect.reason)
            case BackOff(requested=False) if effect.uuid in self._requester.active:
                self._requester.end(effect.uuid, effect.reason)
            case Restored():
                await self._restored(effect)
            case Yielded():
                await self._journal.rebase(effect.uuid, effect.watts)
                self._publisher.yielded(effect)
            case Blind():
                self._publisher.blind(effect)

    async def _move(self, move: Move) -> None:
        done = await self._add_baseline(move)
        for command in move.commands:
            fault = await self._set(command) if done else GpuFault(move.index, "journal", None, NO_JOURNAL)
            if fault is not None:
                await self._refused(move, command, fault)
                return
        self._publisher.moved(move)

    async def _add_baseline(self, move: Move) -> bool:
        """Save the GPU's baseline before it is changed; return whether it is on the disk."""
        if not move.commands:
            return True
        simulated = self._library.simulated
        baseline = Baseline(move.index, move.name, move.baseline_watts, move.clocks_touched, simulated)
        return await self._journal.add(move.uuid, baseline)

    async def _set(self, command: Command) -> GpuFault | None:
        # A cancellation waits for the driver: half a call would cost the NVML process, and the restoring that
        # follows would have to start another.
        with anyio.move_on_after(_APPLY_WITHIN, shield=True):
            return await self._library.apply(command)
        return GpuFault(None, type(command).__name__, None, NO_ANSWER)

    async def _refused(self, move: Move, command: Command, fault: GpuFault) -> None:
        retry_at = self._clock.monotonic() + tuning.RETRY
        self._state, refusal = refused(self._state, move, command, fault, retry_at=retry_at)
        if fault.name == NO_JOURNAL:
            return  # it is a condition already
        self._publisher.refused(move, refusal, self._journal.gpus.get(move.uuid))
        if not self._state.gpus[move.uuid].touched and move.uuid in self._journal.gpus:
            await self._journal.remove(frozenset({move.uuid}))

    async def _restored(self, effect: Restored) -> None:
        baseline = self._journal.gpus.get(effect.uuid)
        # Where it stays in the journal, it is with the limit that it has: to restore it again does no harm.
        if baseline is not None and await self._journal.remove(frozenset({effect.uuid})):
            self._publisher.restored(effect.uuid, baseline, "it is cool again")

    def _renew_requests(self, present: frozenset[str]) -> None:
        for uuid in self._requester.due(self._clock.monotonic()):
            if uuid in present:
                gpu = self._state.gpus[uuid]
                self._requester.request(gpu.number, uuid, f"GPU {gpu.number} ({gpu.name}) is still too hot")

    def _put_view(self) -> None:
        mode = self._settings.mode if self._state.permitted else GovernorMode.DRY_RUN
        gpus = tuple(
            GpuGovernance(gpu.number, uuid, gpu.level, max(0, len(gpu.ladder) - 1), gpu.step)
            for uuid, gpu in self._state.gpus.items()
        )
        self._latest.put(GovernanceView(mode, gpus, len(self._journal.gpus)))
