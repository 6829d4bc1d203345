"""Component thermal: the GPUs, from a reading to metrics, alerts, energy and the governor."""

from __future__ import annotations

from typing import Final

from aiidpd.component import Component, Context, Spec
from aiidpd.components.thermal.alerts.evaluator import AlertEvaluator, EvaluatorMemory
from aiidpd.components.thermal.alerts.rules import rules
from aiidpd.components.thermal.api import energy as energy_api
from aiidpd.components.thermal.api import gpus as gpus_api
from aiidpd.components.thermal.api.history import HistoryExport
from aiidpd.components.thermal.emergency import EmergencyWatch
from aiidpd.components.thermal.energy.meter import EnergyMeter
from aiidpd.components.thermal.energy.metrics import EnergyCollector
from aiidpd.components.thermal.energy.sources import Sources
from aiidpd.components.thermal.evidence import NAME as EVIDENCE
from aiidpd.components.thermal.evidence import NOISE, TRIGGERS, GpuEvidence
from aiidpd.components.thermal.forecast.baseline import Baselines
from aiidpd.components.thermal.forecast.forecast import Forecast
from aiidpd.components.thermal.forecast.metrics import ForecastCollector
from aiidpd.components.thermal.governor.controller import GovernorController
from aiidpd.components.thermal.governor.events import CONDITIONS as GOVERNOR_CONDITIONS
from aiidpd.components.thermal.governor.journal import NAME as JOURNAL
from aiidpd.components.thermal.governor.journal import RestoreJournal
from aiidpd.components.thermal.governor.metrics import GovernorCollector
from aiidpd.components.thermal.governor.state import GovernanceView, Tally
from aiidpd.components.thermal.gpu import GpuLibrary, GpuSnapshot
from aiidpd.components.thermal.maintenance import DriverMaintenance
from aiidpd.components.thermal.metrics import ThermalCollector
from aiidpd.components.thermal.rollup import MinuteLog
from aiidpd.components.thermal.settings import GpuSettings
from aiidpd.components.thermal.signals.validate import SnapshotValidator
from aiidpd.components.thermal.view import gpus_view
from aiidpd.components.thermal.worker import SnapshotListener, ThermalWorker
from aiidpd.components.thermal.xid import XidLedger
from aiidpd.config.schema import Settings
from aiidpd.contracts.checks import Check, Surroundings
from aiidpd.contracts.gpus import GPUS, GpusView
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.reading import Reading
from aiidpd.kernel.task import InactiveWorker, Task
from aiidpd.platform.installed import Installed
from aiidpd.platform.statefile import StateFile

NAME: Final = "thermal"
ENERGY: Final = "energy.json"
BASELINES: Final = "gpu-baselines.json"
SEEN: Final = "gpus-seen.json"
# The first call of an NVML process may initialise every GPU, and a stuck one is waited for.
_NVML_START: Final = 30.0
_DISK: Final = 120.0  # seconds that writing may take before the task counts as hung


class ThermalComponent:
    """Owns what outlives its tasks: the last readings, evidence, the account of energy, learnt baselines."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._settings = context.settings("gpu", GpuSettings)
        clock, state = context.clock, context.state_directory
        # How long a reading is true follows the settings: each worker sets it anew.
        self._latest: Latest[GpuSnapshot] = Latest(clock, max_age=0)
        self._governance: Latest[GovernanceView] = Latest(clock, max_age=0)
        self._forecasts: Latest[tuple[Forecast, ...]] = Latest(clock, max_age=0)
        self._maintenance = DriverMaintenance(clock)
        self._installed = Installed(state / SEEN, clock, "gpu.library", lambda: self._settings().library)
        self._xids = XidLedger()
        self._tally = Tally()
        self._view: tuple[Reading[GpuSnapshot], Reading[GpusView]] | None = None
        baselines = StateFile(state / BASELINES, Baselines, indent=1)
        self._alerts = EvaluatorMemory(self._forecasts, baselines)
        self._validator = SnapshotValidator()
        sources = Sources(context.views)
        gpu = self._settings()
        evidence = GpuEvidence(fastest=min(gpu.fast_interval, gpu.interval))
        context.incidents.contribute(EVIDENCE, evidence, triggers=TRIGGERS, noise=NOISE)
        self._energy = EnergyMeter(
            state / ENERGY,
            context.publish,
            clock,
            names=sources.names,
            generations=sources.generations,
            counts=sources.token_counts,
        )
        context.views.offer(GPUS, self._gpus)
        # In this order: what begins an incident is on record before it does.
        self._listeners: tuple[SnapshotListener, ...] = (
            evidence,
            MinuteLog(context.publish),
            self._energy,
            EmergencyWatch(context.publish, context.messages, lambda: self._settings().emergency_stop),
        )

    def component(self) -> Component:
        """Return what the daemon runs, collects and serves."""
        history = HistoryExport(self._context.history, self._latest, self._energy, self._context.clock)
        return Component(
            tasks=(
                Task(NAME, self._worker, lambda: _NVML_START + self._settings().call_timeout),
                Task(f"{NAME}.energy", lambda: self._energy, lambda: _DISK),
            ),
            collectors={
                NAME: ThermalCollector(self._latest, self._xids),
                "forecast": ForecastCollector(self._forecasts),
                "governor": GovernorCollector(self._governance, self._tally),
                "energy": EnergyCollector(self._energy, self._latest),
            },
            routes=(
                *gpus_api.routes(self._latest, self._maintenance, lambda: self._context.status(NAME)),
                *energy_api.routes(self._energy, self._price),
                *history.routes,
            ),
        )

    def _worker(self) -> ThermalWorker | InactiveWorker:
        gpu, context = self._settings(), self._context
        if gpu.library == "off":
            return self._switched_off()
        # As long as the next reading may take, and its answer's way here.
        max_age = gpu.interval + 2 * gpu.call_timeout
        self._latest.max_age = self._governance.max_age = self._forecasts.max_age = max_age
        library = self._library()
        client = context.alerts.client(NAME, rules(gpu.alerts))
        return ThermalWorker(
            library,
            gpu,
            self._latest,
            context.publish,
            context.clock,
            validator=self._validator,
            listeners=self._listeners,
            maintenance=self._maintenance,
            installed=self._installed,
            ledger=self._xids,
            governor=self._governor(library),
            evaluator=AlertEvaluator(
                gpu, self._alerts, alerts=client, publish=context.publish, clock=context.clock
            ),
        )

    def _switched_off(self) -> InactiveWorker:
        """Let everything end that only readings could end, and forget that there were GPUs."""
        for latest in (self._latest, self._governance, self._forecasts):
            latest.clear()
        self._context.alerts.client(NAME, ())
        self._context.conditions.update(GOVERNOR_CONDITIONS, ())
        self._installed.forget()
        return InactiveWorker('switched off by gpu.library = "off"')

    def _governor(self, library: GpuLibrary) -> GovernorController:
        gpu, context = self._settings(), self._context
        return GovernorController(
            library,
            gpu.governor,
            RestoreJournal(context.state_directory / JOURNAL, call_timeout=gpu.call_timeout),
            latest=self._governance,
            tally=self._tally,
            publish=context.publish,
            messages=context.messages,
            conditions=context.conditions,
            clock=context.clock,
        )

    def _library(self) -> GpuLibrary:
        gpu = self._settings()
        if gpu.library == "simulated":
            from aiidpd.components.thermal.simulated import SimulatedGpus

            return SimulatedGpus(self._context.clock, count=gpu.simulated_gpus)
        from aiidpd.components.thermal.driver.client import NvmlLibrary

        return NvmlLibrary(
            call_timeout=gpu.call_timeout, pcie_throughput=gpu.pcie_throughput, ledger=self._xids
        )

    def _gpus(self) -> Reading[GpusView] | None:
        """Return the view of the last reading, made once a reading."""
        reading = self._latest.get()
        if reading is None:
            return None
        if self._view is None or self._view[0] is not reading:
            self._view = reading, Reading(gpus_view(reading.value), reading.at, reading.read)
        return self._view[1]

    def _price(self) -> tuple[float, str]:
        energy = self._settings().energy
        return energy.price_per_kwh, energy.currency


def build(context: Context) -> Component:
    """Return the component."""
    return ThermalComponent(context).component()


def _checks(settings: Settings, around: Surroundings) -> tuple[Check, ...]:
    from aiidpd.components.thermal.checks import checks

    return checks(settings.table("gpu", GpuSettings), around)


SPEC: Final = Spec(NAME, {"gpu": GpuSettings}, build, checks=_checks)
