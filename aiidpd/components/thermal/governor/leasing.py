"""Keeps the lease: which GPUs may not be at their baselines, in memory as on the disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

import anyio.to_thread

from aiidpd.components.thermal.governor.events import GovernorPublisher
from aiidpd.components.thermal.governor.journal import Baseline, JournalUnusable, RestoreJournal

_NOTHING: Mapping[str, Baseline] = MappingProxyType({})


class JournalWriter:
    """The lease of one run; ``gpus`` is what ``file`` names, or may name where a write was cut short."""

    def __init__(self, file: RestoreJournal, teller: GovernorPublisher) -> None:
        self._file = file
        self._teller = teller
        self.known = False
        self.gpus: Mapping[str, Baseline] = _NOTHING

    async def read(self) -> bool:
        """Read what an earlier run left, but for what ended without us; return whether that is known now."""
        try:
            found = await anyio.to_thread.run_sync(self._file.read, abandon_on_cancel=True)
        except JournalUnusable as error:
            self._teller.lease_unusable(self._file, error)
            return False
        self.gpus, self.known = dict(found.gpus), True
        if found.gpus and self._file.stale(found):
            why = "the machine was booted since, and the driver has forgotten what was set"
            await self._forget(frozenset(found.gpus), why)
        simulated = frozenset(uuid for uuid, gpu in self.gpus.items() if gpu.simulated)
        if simulated:
            await self._forget(simulated, "it was simulated, and ended with its process")
        return True

    async def _forget(self, uuids: frozenset[str], why: str) -> None:
        before = self.gpus
        if await self.drop(uuids):
            for uuid in sorted(uuids):
                self._teller.void(uuid, before[uuid], why)

    async def take(self, uuid: str, baseline: Baseline) -> bool:
        """Have the lease name ``uuid`` with ``baseline``; return whether it does, and tell if not."""
        if self.gpus.get(uuid) == baseline:
            return True
        return await self._write({**self.gpus, uuid: baseline})

    async def drop(self, uuids: frozenset[str]) -> bool:
        """Have the lease name none of ``uuids``; return whether that is so, and tell where it is not."""
        return await self._write({uuid: gpu for uuid, gpu in self.gpus.items() if uuid not in uuids})

    async def rebase(self, uuid: str, watts: float) -> None:
        """Make ``watts`` the baseline of a GPU that the lease names."""
        standing = self.gpus.get(uuid)
        if standing is not None:
            await self._write({**self.gpus, uuid: replace(standing, power_limit_watts=watts)})

    async def _write(self, gpus: Mapping[str, Baseline]) -> bool:
        before, written = self.gpus, False
        write: Callable[[], None] = self._file.writing(gpus)
        try:
            await anyio.to_thread.run_sync(write, abandon_on_cancel=True)
            written = True
        except OSError as error:
            gpus, written = before, True
            self._teller.cannot_write(self._file, error)
            return False
        finally:
            # Where nobody waited for the end it may be either.
            self.gpus = gpus if written else {**before, **gpus}
        self._teller.lease_works(self._file)
        return True
