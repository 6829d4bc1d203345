"""What is kept of the GPUs: wires flight recorder, minutes, energy and emergency to what the others know."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from functools import cached_property
from typing import Any, Final

from prometheus_client.registry import Collector

from aiidpd.components.thermal.emergency import EmergencyPolicy, EmergencyWatch
from aiidpd.components.thermal.energy.meter import EnergyMeter
from aiidpd.components.thermal.energy.metrics import EnergyCollector
from aiidpd.components.thermal.export import SampleHistory
from aiidpd.components.thermal.gpu import GpuSnapshot
from aiidpd.components.thermal.observer import SnapshotListener
from aiidpd.components.thermal.record import GpuRecord
from aiidpd.components.thermal.rollup import MinuteLog
from aiidpd.config.model import Settings
from aiidpd.incidents.incident import IncidentPolicy
from aiidpd.incidents.recorder import IncidentRecorder
from aiidpd.incidents.store import IncidentStore
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.latest import Latest
from aiidpd.wiring.alarms import alarm_policies
from aiidpd.wiring.looks import Looks

INCIDENTS: Final = "incidents"
ENERGY: Final = "energy.json"


class Keeping:
    """Made once, for the life of the daemon; ``settings`` gives the configuration as it now is."""

    def __init__(
        self,
        settings: Callable[[], Settings],
        clock: Clock,
        bus: EventBus,
        *,
        gpus: Latest[GpuSnapshot],
        looks: Looks,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._gpus = gpus
        state = settings().daemon.state_directory
        self._store = IncidentStore(state / INCIDENTS)
        self._follow()
        gpu = settings().gpu
        fastest = min(gpu.fast_interval, gpu.interval)
        self._flight = IncidentRecorder(
            self._store,
            bus,
            clock,
            containers=looks.running,
            requests=looks.requests,
            counts=looks.counts,
            policy=IncidentPolicy(fastest=fastest),
        )
        self._energy = EnergyMeter(
            state / ENERGY,
            bus,
            clock,
            names=looks.names,
            generations=looks.generations,
            counts=looks.token_counts,
        )
        self._minutes = MinuteLog(bus)
        self._emergency = EmergencyWatch(bus, lambda: self._emergency_policy)

    @property
    def observers(self) -> Sequence[SnapshotListener]:
        """Who sees each snapshot, in this order: what begins an incident is on record before it does."""
        self._follow()
        return self._flight, self._minutes, self._energy, self._emergency

    @property
    def companions(self) -> Sequence[Callable[[], Coroutine[Any, Any, None]]]:
        """What runs beside the thermal worker."""
        return self._flight.run, self._energy.run

    @cached_property
    def collector(self) -> Collector:
        """What turns the account of energy into metrics."""
        return EnergyCollector(self._energy, self._gpus)

    def record(self, history: SampleHistory) -> GpuRecord:
        """Return what the control API asks."""
        return GpuRecord(self._store, self._energy, self._gpus, history, self._clock, price=self._price)

    def _follow(self) -> None:
        """Take over the configuration as it now is: each new worker asks for the observers."""
        settings = self._settings()
        self._store.keep, self._store.max_bytes = settings.incidents.keep, settings.incidents.max_size
        self._emergency_policy = EmergencyPolicy(
            settings.gpu.emergency_stop, alarm_policies(settings.gpu).alarms
        )

    def _price(self) -> tuple[float, str]:
        energy = self._settings().energy
        return energy.price_per_kwh, energy.currency
