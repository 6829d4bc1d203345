"""The thermal worker: reads the GPUs, lets the policy judge, tells what it says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import anyio

from aiidpd.kernel.clock import Clock
from aiidpd.kernel.errors import Unavailable
from aiidpd.kernel.events import Event, EventBus, Sample, Scalar, Severity
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.worker import Heartbeat
from aiidpd.workers.thermal.gpu import GpuLibrary, GpuSnapshot
from aiidpd.workers.thermal.observer import Observer
from aiidpd.workers.thermal.policy import (
    Effect,
    GpuAppeared,
    GpuDisappeared,
    Level,
    LevelChanged,
    ThermalPolicy,
    ThermalState,
    step,
)

SOURCE: Final = "thermal"
SERIES: Final = (
    "temperature_celsius",
    "power_watts",
    "fan_ratio",
    "utilisation_ratio",
    "memory_used_bytes",
    "graphics_clock_hertz",
)
"""The figures of a reading that are worth a curve; each is a sample series of that name."""

_CLOSE_WITHIN = 3.0
_SEVERITY = {Level.NORMAL: Severity.INFO, Level.WARNING: Severity.WARNING, Level.CRITICAL: Severity.ERROR}


class ThermalWorker:
    """Reads ``library`` each interval into ``latest``, and owns it: closes it when the run ends.

    Each of the ``observers`` sees every snapshot once; they outlive the worker.
    """

    def __init__(
        self,
        library: GpuLibrary,
        policy: ThermalPolicy,
        latest: Latest[GpuSnapshot],
        bus: EventBus,
        clock: Clock,
        *,
        observers: Sequence[Observer] = (),
    ) -> None:
        self._library = library
        self._policy = policy
        self._latest = latest
        self._bus = bus
        self._clock = clock
        self._observers = tuple(observers)

    @property
    def simulated(self) -> bool:
        return self._library.simulated

    async def run(self, heartbeat: Heartbeat) -> None:
        """Watch the GPUs until cancelled."""
        state = ThermalState()
        try:
            while True:
                started = self._clock.monotonic()
                interval = self._policy.retry_interval
                with heartbeat.working():
                    snapshot = await self._read()
                    interval = self._policy.interval
                    # Before anything is told: what then begins an incident has its own reading in it.
                    for observer in self._observers:
                        observer.observe(snapshot, self._clock.time(), self._clock.monotonic())
                    state, effects = step(state, snapshot, self._clock.monotonic(), self._policy)
                    self._tell(snapshot, effects)
                    _complain(snapshot)
                await self._clock.sleep(max(0.0, started + interval - self._clock.monotonic()))
        finally:
            with anyio.move_on_after(_CLOSE_WITHIN, shield=True):
                await self._library.aclose()

    async def _read(self) -> GpuSnapshot:
        try:
            snapshot = await self._library.read()
        except Unavailable:
            self._latest.clear()  # the last value is no longer known to be true
            raise
        self._latest.put(snapshot)
        return snapshot

    def _tell(self, snapshot: GpuSnapshot, effects: tuple[Effect, ...]) -> None:
        now = self._clock.time()
        for gpu in snapshot.gpus:
            for series in SERIES:
                value = getattr(gpu, series)
                if value is not None:
                    self._bus.sample(Sample(now, SOURCE, series, gpu.uuid, value, snapshot.simulated))
        for effect in effects:
            self._bus.publish(_event(effect, now, simulated=snapshot.simulated))


def _complain(snapshot: GpuSnapshot) -> None:
    """Make the pass a degraded one where a call failed: what could be read is told all the same."""
    if snapshot.faults:
        first = snapshot.faults[0]
        more = len(snapshot.faults) - 1
        reason = f"{first} and {more} more" if more else str(first)
        raise Unavailable("read all of", first.subject, reason=reason, remedy=first.remedy)


def _event(effect: Effect, now: float, *, simulated: bool) -> Event:
    evidence: dict[str, Scalar] = {"gpu": effect.index}
    match effect:
        case GpuAppeared():
            kind, severity = "gpu.appeared", Severity.INFO
        case GpuDisappeared():
            kind, severity = "gpu.disappeared", Severity.ERROR
        case LevelChanged():
            kind, severity = f"gpu.temperature_{effect.after.name.lower()}", _SEVERITY[effect.after]
            evidence |= {
                "temperature_celsius": effect.temperature_celsius,
                "before": effect.before.name.lower(),
                "held_seconds": round(effect.held, 3),
            }
    return Event(
        time=now,
        source=SOURCE,
        kind=kind,
        subject=effect.uuid,
        severity=severity,
        reason=effect.reason,
        evidence=evidence,
        simulated=simulated,
    )
