"""Builds every part from the configuration.

What outlives a worker (its last reading, its waiting jobs) is made here once; the worker itself is made
anew after a failure or a reload, from the configuration as it then is. Adapters are imported when they
are first needed, so that a start does not pay for libraries that the configuration does not use.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from prometheus_client.registry import Collector

from aiidpd.alerts.manager import AlertManager
from aiidpd.alerts.metrics import AlertsCollector
from aiidpd.alerts.store import AlertStore
from aiidpd.components.backup.metrics import BackupCollector
from aiidpd.components.backup.policy import BackupPolicy
from aiidpd.components.backup.view import BackupView
from aiidpd.components.backup.worker import BackupWorker
from aiidpd.components.containers.metrics import ContainersCollector
from aiidpd.components.containers.pause.controller import PauseController
from aiidpd.components.containers.pause.events import PausePublisher
from aiidpd.components.containers.pause.journal import NAME as PAUSES
from aiidpd.components.containers.pause.journal import EngineAddress, PauseJournal
from aiidpd.components.containers.pause.memory import BackOffAsks, PauseMemory
from aiidpd.components.containers.pause.metrics import PausesCollector
from aiidpd.components.containers.pause.state import PausePolicy
from aiidpd.components.containers.runtime import ContainerRuntime, RuntimeSnapshot
from aiidpd.components.containers.state import ContainersPolicy
from aiidpd.components.containers.stop import EmergencyStopper, StopOrders
from aiidpd.components.containers.worker import ContainersMemory, ContainersWorker
from aiidpd.components.thermal.alerts.evaluator import AlertEvaluator, EvaluatorMemory
from aiidpd.components.thermal.alerts.rules import rules as gpu_alerts
from aiidpd.components.thermal.forecast.baseline_file import BaselineFile
from aiidpd.components.thermal.forecast.forecast import Forecast
from aiidpd.components.thermal.forecast.metrics import ForecastCollector
from aiidpd.components.thermal.governor.controller import GovernorController
from aiidpd.components.thermal.governor.journal import NAME as LEASE
from aiidpd.components.thermal.governor.journal import RestoreJournal, current_boot
from aiidpd.components.thermal.governor.ladder import LadderPolicy
from aiidpd.components.thermal.governor.metrics import GovernorCollector
from aiidpd.components.thermal.governor.state import GovernorPolicy, Mode
from aiidpd.components.thermal.governor.view import GovernanceView, Tally
from aiidpd.components.thermal.gpu import GpuLibrary, GpuSnapshot
from aiidpd.components.thermal.maintenance import DriverMaintenance
from aiidpd.components.thermal.metrics import ThermalCollector
from aiidpd.components.thermal.policy import ThermalPolicy
from aiidpd.components.thermal.polling import PollSettings
from aiidpd.components.thermal.worker import ThermalWorker
from aiidpd.components.thermal.xid import XidLedger
from aiidpd.config.load import Loaded
from aiidpd.config.model import Settings
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.companions import Accompanied
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.jobs import JobBook, JobQueue
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.task import Task, Worker
from aiidpd.platform.statefile import JsonFile
from aiidpd.wiring.alarms import alarm_policies
from aiidpd.wiring.inference import Inference
from aiidpd.wiring.keeping import Keeping
from aiidpd.wiring.looks import Looks

# The first call of an NVML child may initialise every GPU, and a stuck one is waited for.
_NVML_START = 30.0
_BACKUP_DEADLINE = 120.0
BASELINES: Final = "gpu-baselines.json"
ALERTS: Final = "alerts.json"


class Parts:
    """The parts of one daemon. ``loaded`` is replaced by a reload; workers built later follow it."""

    def __init__(self, loaded: Loaded, clock: Clock, bus: EventBus, health: Conditions) -> None:
        self.loaded = loaded
        self._clock = clock
        self._bus = bus
        self._health = health
        self.jobs = JobBook(clock)
        self.backup_queue = JobQueue(self.jobs, "backup")
        self.bench_queue = JobQueue(self.jobs, "bench")
        # How long a reading is true follows the configuration: each factory sets it.
        self.gpus: Latest[GpuSnapshot] = Latest(clock, max_age=0)
        self.gpu_hold = DriverMaintenance(clock)
        self._xids = XidLedger()
        self.governance: Latest[GovernanceView] = Latest(clock, max_age=0)
        self._governor_tally = Tally()
        self.containers: Latest[RuntimeSnapshot] = Latest(clock, max_age=0)
        self.backup: Latest[BackupView] = Latest(clock, max_age=math.inf)
        self.inference = Inference(lambda: self.settings, clock, bus, self.bench_queue)
        self._containers_memory = ContainersMemory()
        self._stop_orders = StopOrders(bus)
        self._back_off_asks = BackOffAsks(bus, clock)
        self.pauses = PauseMemory(clock)
        self.keeping = Keeping(
            lambda: self.settings,
            clock,
            bus,
            gpus=self.gpus,
            looks=Looks(self.containers, self.inference.bench, self.inference.engines),
        )
        kept = JsonFile(loaded.settings.daemon.state_directory / ALERTS)
        keeper = AlertStore(kept, clock, health, boot=current_boot())
        self.alerts = AlertManager(clock, bus, health, keeper)
        self.foreseen: Latest[tuple[Forecast, ...]] = Latest(clock, max_age=0)
        baselines = BaselineFile(loaded.settings.daemon.state_directory / BASELINES)
        self._watch_memory = EvaluatorMemory(self.foreseen, baselines)

    @property
    def settings(self) -> Settings:
        """The configuration as it now is."""
        return self.loaded.settings

    @property
    def specs(self) -> tuple[Task, ...]:
        """The four workers."""
        return (
            Task("thermal", self._thermal, lambda: _NVML_START + self.settings.gpu.call_timeout),
            Task("containers", self._containers, self._containers_deadline),
            Task("backup", self._backup, lambda: _BACKUP_DEADLINE),
            Task("bench", self.inference.worker, lambda: self.inference.policy().worker_deadline),
        )

    @property
    def collectors(self) -> Mapping[str, Collector]:
        """What turns the workers' last readings into metrics."""
        return {
            "thermal": ThermalCollector(self.gpus, self._xids),
            "foresight": ForecastCollector(self.foreseen),
            "alerts": AlertsCollector(self.alerts),
            "governor": GovernorCollector(self.governance, self._governor_tally),
            "energy": self.keeping.collector,
            "containers": ContainersCollector(self.containers),
            "pauses": PausesCollector(self.pauses),
            "backup": BackupCollector(self.backup),
            **self.inference.collectors,
        }

    def _thermal(self) -> Worker:
        gpu = self.settings.gpu
        policy = ThermalPolicy(interval=gpu.interval, alarms=alarm_policies(gpu).alarms)
        # As long as the next reading may take, and its answer's way here.
        self.gpus.max_age = gpu.interval + 2 * gpu.call_timeout
        library = self._gpu_library()
        worker = ThermalWorker(
            library,
            policy,
            self.gpus,
            self._bus,
            self._clock,
            observers=self.keeping.observers,
            cadence=PollSettings(near_interval=gpu.fast_interval),
            hold=self.gpu_hold,
            ledger=self._xids,
            governor=self._governor(library),
            watch=self._gpu_watch(),
        )
        return Accompanied(worker, self.keeping.companions)

    def _gpu_watch(self) -> AlertEvaluator:
        policies = alarm_policies(self.settings.gpu)
        self.foreseen.max_age = self.gpus.max_age
        feed = self.alerts.feed("thermal", gpu_alerts(policies.alarms))
        return AlertEvaluator(policies, self._watch_memory, feed=feed, bus=self._bus, clock=self._clock)

    def _governor(self, library: GpuLibrary) -> GovernorController:
        gpu = self.settings.gpu
        policy = GovernorPolicy(
            mode=Mode(gpu.governor),
            target_celsius=gpu.governor_target_celsius,
            margin=gpu.governor_margin_celsius,
            recovery_dwell=gpu.governor_recovery,
            ladder=LadderPolicy(
                power_floor_ratio=gpu.governor_power_floor_percent / 100,
                lock_clocks=gpu.governor_lock_clocks,
                clock_floor_ratio=gpu.governor_clock_floor_percent / 100,
            ),
        )
        self.governance.max_age = self.gpus.max_age
        return GovernorController(
            library,
            policy,
            RestoreJournal(self.settings.daemon.state_directory / LEASE, call_timeout=gpu.call_timeout),
            latest=self.governance,
            tally=self._governor_tally,
            bus=self._bus,
            health=self._health,
            clock=self._clock,
            containers=gpu.governor_back_off_containers,
        )

    def _gpu_library(self) -> GpuLibrary:
        gpu = self.settings.gpu
        if gpu.library == "simulated":
            from aiidpd.components.thermal.simulated import SimulatedGpus

            return SimulatedGpus(self._clock, count=gpu.simulated_gpus)
        from aiidpd.components.thermal.driver.client import NvmlLibrary

        return NvmlLibrary(
            call_timeout=gpu.call_timeout, pcie_throughput=gpu.pcie_throughput, ledger=self._xids
        )

    def _containers(self) -> Worker:
        containers = self.settings.containers
        policy = ContainersPolicy(reconcile_interval=containers.reconcile_interval)
        self.containers.max_age = 2 * containers.reconcile_interval + containers.call_timeout
        engine = self._engine()
        # Of its own, so that a reading that fails can't break off a stop; what is made up has one state only.
        hands = engine if engine.simulated else self._engine()
        stopper = EmergencyStopper(hands, self._stop_orders, self._bus, self._clock)
        worker = ContainersWorker(
            engine,
            policy,
            latest=self.containers,
            bus=self._bus,
            clock=self._clock,
            memory=self._containers_memory,
            told_of=self.pauses.holds,
        )
        pauser = self._pauser(engine if engine.simulated else self._engine())
        return Accompanied(worker, [stopper.run, pauser.run])

    def _pauser(self, engine: ContainerRuntime) -> PauseController:
        containers = self.settings.containers
        teller = PausePublisher(self.pauses, self._bus, self._health, self._clock, simulated=engine.simulated)
        return PauseController(
            engine,
            self._back_off_asks,
            PauseJournal(
                self.settings.daemon.state_directory / PAUSES,
                EngineAddress(containers.socket, containers.call_timeout),
            ),
            memory=self.pauses,
            teller=teller,
            clock=self._clock,
            policy=PausePolicy(longest=containers.longest_pause, rest=containers.rest_between_pauses),
        )

    def _containers_deadline(self) -> float:
        containers = self.settings.containers
        return containers.reconcile_interval + 4 * containers.call_timeout

    def _engine(self) -> ContainerRuntime:
        containers = self.settings.containers
        if containers.engine == "simulated":
            from aiidpd.components.containers.simulated import SimulatedRuntime

            return SimulatedRuntime(self._clock, count=containers.simulated_containers)
        from aiidpd.components.containers.docker.client import DockerRuntime

        return DockerRuntime(containers.socket, call_timeout=containers.call_timeout)

    def _backup(self) -> Worker:
        backup = self.settings.backup
        policy = BackupPolicy(
            source=backup.source,
            target=backup.target,
            schedule=backup.schedule,
            exclude=backup.exclude,
            reserve_bytes=backup.reserve,
        )
        return BackupWorker(
            policy, queue=self.backup_queue, latest=self.backup, bus=self._bus, clock=self._clock
        )
