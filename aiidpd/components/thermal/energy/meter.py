"""Energy meter: adds up the energy of every snapshot, and saves the sums across restarts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import anyio
import anyio.to_thread

from aiidpd.components.thermal.energy.attribution import Shares, bounded, share_out
from aiidpd.components.thermal.energy.counter import (
    CARD_ACCURACY,
    LONGEST_GAP,
    POWER_ACCURACY,
    EnergyCounter,
    Method,
    advance,
)
from aiidpd.components.thermal.energy.per_token import Generation, TokenCount, TokenEnergy, TokenMeter
from aiidpd.components.thermal.energy.state import EnergyState, GpuEnergy, gpus_of, to_state
from aiidpd.components.thermal.gpu import GpuReading
from aiidpd.components.thermal.signals.checked import CheckedSnapshot
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.events import Severity
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.task import Heartbeat
from aiidpd.platform.statefile import StateFile

_SAVE_EVERY: Final = 60.0  # seconds
_SAVE_WITHIN: Final = 1.0
_MOST_HOLDERS: Final = 64
_MOST_GPUS: Final = 64


@dataclass(frozen=True, slots=True)
class EnergyView:
    """Energy account as it now is; ``since`` is when it began, in Unix seconds."""

    since: float
    gpus: tuple[GpuEnergy, ...]
    shares: Shares
    tokens: tuple[TokenEnergy, ...]


class EnergyMeter:
    """Account of energy, and the task that saves it to ``path``. Outlives the worker.

    A :class:`~aiidpd.components.thermal.worker.SnapshotListener`. ``names`` returns the containers' names by
    id, ``generations`` the tokens that probes counted lately, ``counts`` those that engines did.
    """

    def __init__(
        self,
        path: Path,
        publish: Publisher,
        clock: Clock,
        *,
        names: Callable[[], Mapping[str, str]] = dict,
        generations: Callable[[], Iterable[Generation]] = tuple,
        counts: Callable[[], Iterable[TokenCount]] = tuple,
    ) -> None:
        self._file = StateFile(path, EnergyState)
        self._publish = publish
        self._clock = clock
        self._names = names
        self._since = clock.time()
        self._gpus: dict[str, GpuEnergy] = {}
        self._shares: Shares = MappingProxyType({})
        self._present: frozenset[str] = frozenset()
        self._tokens = TokenMeter(generations, counts)
        self._problem = self._load()

    def view(self) -> EnergyView:
        """Return the account as it now is."""
        gpus = tuple(sorted(self._gpus.values(), key=lambda gpu: (gpu.index, gpu.uuid)))
        return EnergyView(self._since, gpus, self._shares, self._tokens.figures())

    def on_snapshot(self, snapshot: CheckedSnapshot) -> None:
        """See :class:`~aiidpd.components.thermal.worker.SnapshotListener`."""
        if any(gpu.simulated != snapshot.simulated for gpu in self._gpus.values()):
            self._reset()  # simulated and real energy have no common account
        present = frozenset(reading.uuid for reading in snapshot.readings)
        if present != self._present:
            self._tokens.interrupt()  # the sums of before and after are not of the same GPUs
            self._present = present
        names = self._names()
        spent = 0.0
        accuracy = CARD_ACCURACY
        for reading in snapshot.readings:
            spent += self._count(reading, names, snapshot.now, simulated=snapshot.simulated)
            if self._gpus[reading.uuid].meter.method is Method.POWER:
                accuracy = POWER_ACCURACY
        self._shares = bounded(self._shares, _MOST_HOLDERS)
        self._tokens.add(spent, snapshot.at, snapshot.now, accuracy=accuracy, simulated=snapshot.simulated)

    @property
    def simulated(self) -> bool:
        """False: the file is real, and each sum in it is marked where it is simulated."""
        return False

    async def run(self, heartbeat: Heartbeat) -> None:
        """Save the sums every minute, and once more at the end."""
        with heartbeat.working():
            pass  # the file was read when this was made
        if self._problem:
            self._publish_problem(self._problem)
            self._problem = ""
        failed = False
        try:
            while True:
                await heartbeat.idle(anyio.Event(), _SAVE_EVERY)
                try:
                    await anyio.to_thread.run_sync(self._saving(), abandon_on_cancel=True)
                except OSError as error:
                    if not failed:
                        self._publish_problem(
                            f"cannot write {self._file.path}: {error}; the sums of now end with the daemon"
                        )
                    failed = True
                else:
                    failed = False
        finally:
            with anyio.move_on_after(_SAVE_WITHIN, shield=True), suppress(OSError):
                await anyio.to_thread.run_sync(self._saving(), abandon_on_cancel=True)

    def _reset(self) -> None:
        self._since = self._clock.time()
        self._gpus.clear()
        self._shares = MappingProxyType({})
        self._tokens.reset()

    def _count(self, reading: GpuReading, names: Mapping[str, str], now: float, *, simulated: bool) -> float:
        known = self._gpus.get(reading.uuid)
        if known is None:
            if len(self._gpus) >= _MOST_GPUS:
                del self._gpus[min(self._gpus, key=lambda uuid: self._gpus[uuid].meter.at or 0.0)]
            known = GpuEnergy(reading.uuid, reading.index, reading.name, EnergyCounter(), simulated)
        elapsed = now - (now if known.meter.at is None else known.meter.at)
        meter, joules = advance(known.meter, reading, now)
        if meter.unknown > known.meter.unknown and known.meter.method is not None:
            self._tokens.interrupt()  # a card that never reports is left out; one that ceased to is not
        self._gpus[reading.uuid] = GpuEnergy(reading.uuid, reading.index, reading.name, meter, simulated)
        # Who held it over a long gap is not known, although the card counted on.
        processes = None if elapsed > LONGEST_GAP else reading.processes
        self._shares = share_out(self._shares, joules, processes, names)
        return joules

    def _publish_problem(self, reason: str) -> None:
        self._publish.event("gpu.energy_not_kept", reason, severity=Severity.WARNING)

    def _saving(self) -> Callable[[], None]:
        time, now = self._clock.time(), self._clock.monotonic()
        return self._file.saving(to_state(self._since, self._gpus.values(), self._shares, time=time, now=now))

    def _load(self) -> str:
        """Restore the sums of the last daemon; return why that could not be, or nothing."""
        state, problem = self._file.load_or_set_aside()
        if state is not None:
            self._since, self._shares = state.since, state.shares
            gpus = gpus_of(state, time=self._clock.time(), now=self._clock.monotonic())
            self._gpus = {gpu.uuid: gpu for gpu in gpus}
        return f"{problem}; the account of energy begins anew" if problem else ""
