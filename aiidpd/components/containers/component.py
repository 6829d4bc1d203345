"""Component containers: those of the container runtime; stopped, paused and healed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from aiidpd.component import Component, Context, Spec
from aiidpd.components.containers.actions import ContainerActions
from aiidpd.components.containers.api import routes
from aiidpd.components.containers.cause import Witnesses
from aiidpd.components.containers.conditions import SILENT, WATCHED
from aiidpd.components.containers.detail import DetailSources, detail_routes
from aiidpd.components.containers.evidence.collector import IncidentCollector
from aiidpd.components.containers.evidence.heals import NAME as HEALS
from aiidpd.components.containers.evidence.heals import TRIGGERS as HEAL_TRIGGERS
from aiidpd.components.containers.evidence.heals import HealEvidence
from aiidpd.components.containers.evidence.running import NAME as EVIDENCE
from aiidpd.components.containers.evidence.running import ContainerEvidence
from aiidpd.components.containers.heal.absent import NoRecreator
from aiidpd.components.containers.heal.protocols import Recreator
from aiidpd.components.containers.heal.wiring import TASK as HEAL
from aiidpd.components.containers.heal.wiring import HealAdapters, Healer
from aiidpd.components.containers.info import INTERVAL as INFO_INTERVAL
from aiidpd.components.containers.info import NAME as INFO
from aiidpd.components.containers.info import InfoWorker
from aiidpd.components.containers.logs.conditions import TYPES as LOG_TYPES
from aiidpd.components.containers.logs.metrics import LogsCollector
from aiidpd.components.containers.logs.named import Deaths, NamedFailures
from aiidpd.components.containers.logs.namer import FailureNamer
from aiidpd.components.containers.logs.watcher import LogMemory, LogWatcher
from aiidpd.components.containers.memory import ContainersMemory
from aiidpd.components.containers.metrics import ContainersCollector
from aiidpd.components.containers.off import OFF, SwitchedOffRuntime
from aiidpd.components.containers.pause.controller import PauseController, Pauses
from aiidpd.components.containers.pause.events import PausePublisher
from aiidpd.components.containers.pause.journal import NAME as PAUSES
from aiidpd.components.containers.pause.journal import EngineAddress, PauseJournal
from aiidpd.components.containers.pause.metrics import PausesCollector
from aiidpd.components.containers.recreate.compose import Compose
from aiidpd.components.containers.recreate.controller import ContainerRecreator
from aiidpd.components.containers.recreate.journal import NAME as RECREATIONS
from aiidpd.components.containers.recreate.journal import RecreationJournal
from aiidpd.components.containers.remembered import LIMIT as KNOWN_LIMIT
from aiidpd.components.containers.remembered import NAME as KNOWN
from aiidpd.components.containers.remembered import KnownRecords, RememberedContainers
from aiidpd.components.containers.runtime import ContainerRuntime, RuntimeSnapshot
from aiidpd.components.containers.settings import ContainersSettings
from aiidpd.components.containers.stop import EmergencyStopper, StopPolicy
from aiidpd.components.containers.stopped import NAME as STOPS
from aiidpd.components.containers.stopped import StoppedContainers, StoppedRecords
from aiidpd.components.containers.trial.wiring import TASK as TRIALS
from aiidpd.components.containers.trial.wiring import Trials
from aiidpd.components.containers.usage.memory import UseMemory
from aiidpd.components.containers.usage.worker import DEADLINE as USE_DEADLINE
from aiidpd.components.containers.usage.worker import NAME as USE
from aiidpd.components.containers.usage.worker import UseWorker
from aiidpd.components.containers.view import Inspected, summary
from aiidpd.components.containers.worker import ContainersWorker
from aiidpd.config.schema import Settings
from aiidpd.contracts.checks import Check, Surroundings
from aiidpd.contracts.containers import CONTAINER_USE, CONTAINERS, ContainersView
from aiidpd.contracts.engines import ENGINES
from aiidpd.contracts.inspections import INSPECTIONS, EngineFacts
from aiidpd.contracts.messages import BackOffMessage, EmergencyStop
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.reading import Reading
from aiidpd.kernel.task import InactiveWorker, Task
from aiidpd.platform.installed import Installed
from aiidpd.platform.statefile import StateFile

if TYPE_CHECKING:
    from aiidpd.components.containers.simulated import SimulatedRuntime

NAME: Final = "containers"
SEEN: Final = "containers-seen.json"
_DISK: Final = 1.0  # seconds that the end of the daemon waits for the disk
_SLACK: Final = 60.0  # seconds that a task may be without a beat besides the calls that it waits for


class ContainersComponent:
    """Owns what outlives its tasks: the watcher, and those that stop, pause, read logs and heal."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._settings = context.settings("containers", ContainersSettings)
        self._recreations = RecreationJournal(context.state_directory / RECREATIONS)
        self._trials = Trials(context, self._settings, self._recreations)
        self._healer = Healer(context, self._settings, self._stopped_on_request, lambda: self._trials.names)
        self._latest: Latest[RuntimeSnapshot] = Latest(context.clock, max_age=0, changed=self._healer.wake)
        self._memory = ContainersMemory()
        self._installed = Installed(
            context.state_directory / SEEN,
            context.clock,
            "containers.engine",
            lambda: self._settings().engine,
        )
        self._stops = context.messages.inbox(EmergencyStop)
        self._stopped = StoppedContainers(
            StateFile(context.state_directory / STOPS, StoppedRecords), context.conditions, context.clock
        )
        self._known = StateFile(context.state_directory / KNOWN, KnownRecords, limit=KNOWN_LIMIT)
        self._remembered: RememberedContainers | None = None
        self._pauses = Pauses(context.clock, context.messages.inbox(BackOffMessage))
        self._simulated: tuple[int, SimulatedRuntime] | None = None
        self._view: tuple[Reading[RuntimeSnapshot], Reading[ContainersView]] | None = None
        self._use = UseMemory(context.clock)
        self._witnesses = Witnesses(
            oom_kills=self._use.oom_kills, machine_oom_kills=self._killed_around, acted=self._stopped.acted
        )
        self._info: Latest[EngineFacts] = Latest(context.clock, max_age=2 * INFO_INTERVAL)
        self._inspected = Inspected(self._latest.get, self._info.get)
        context.views.offer(CONTAINERS, self._containers)
        context.views.offer(INSPECTIONS, self._inspected.view)
        context.views.offer(CONTAINER_USE, self._use.latest.get)
        context.incidents.contribute(EVIDENCE, ContainerEvidence(self._latest))
        self._heals = HealEvidence()
        context.incidents.contribute(HEALS, self._heals, triggers=HEAL_TRIGGERS)
        self._failures = NamedFailures()
        self._namer = FailureNamer(self._failures, self._latest.get, context.publish, context.clock)
        self._deaths = Deaths(self._latest.get)
        self._logs = LogMemory()
        context.publish.bus.attach(events=self._deaths.on_event)

    def component(self) -> Component:
        """Return what the daemon runs, collects and serves."""
        return Component(
            tasks=(
                Task(NAME, self._watcher, self._watcher_deadline),
                Task(f"{NAME}.stop", self._stopper, self._call_deadline),
                Task(f"{NAME}.pause", self._pauser, self._call_deadline),
                Task(f"{NAME}.logs", self._log_watcher, self._call_deadline),
                Task(INFO, self._informer, self._call_deadline),
                Task(USE, self._user, lambda: USE_DEADLINE),
                Task(
                    TRIALS,
                    lambda: self._trials.task(self._actions, self._healer, self._stopped),
                    self._call_deadline,
                ),
                Task(HEAL, lambda: self._healer.task(self._latest, self._heal_adapters), self._call_deadline),
            ),
            collectors={
                NAME: ContainersCollector(self._latest, self._memory),
                "pauses": PausesCollector(self._pauses),
                "logs": LogsCollector(self._logs, self._failures, self._latest.get),
                "heals": self._healer.collector,
            },
            close=self._close,
            routes=(
                *routes(self._latest, self._pauses.active, lambda: self._context.status(NAME)),
                *detail_routes(self._detail()),
                *self._healer.routes(),
            ),
        )

    def _watcher(self) -> ContainersWorker | InactiveWorker:
        settings = self._settings()
        if settings.engine == "off":
            self._latest.clear()
            self._context.conditions.update((*WATCHED, SILENT), (), announce=False)
            self._stopped.switched_off()
            self._installed.forget()
            return InactiveWorker(OFF)
        self._stopped.load()
        self._remembered = RememberedContainers(self._known, str(settings.socket))
        self._latest.max_age = 2 * settings.reconcile_interval + settings.call_timeout
        return ContainersWorker(
            self._runtime(),
            settings,
            latest=self._latest,
            publish=self._context.publish,
            conditions=self._context.conditions,
            stopped=self._stopped,
            clock=self._context.clock,
            memory=self._memory,
            owned=self._pauses.owned,
            installed=self._installed,
            failure=self._failures.sentence,
            remembered=self._remembered,
            witnesses=self._witnesses,
        )

    def _informer(self) -> InfoWorker | InactiveWorker:
        settings = self._settings()
        if settings.engine in ("off", "simulated"):
            self._info.clear()
            return InactiveWorker(OFF if settings.engine == "off" else "made-up containers have no engine")
        from aiidpd.components.containers.docker.info import DockerInfo

        source = DockerInfo(settings.socket, call_timeout=settings.call_timeout)

        def version() -> str:
            reading = self._latest.get()
            return reading.value.version if reading is not None else ""

        return InfoWorker(source, self._info, version=version, clock=self._context.clock)

    def _user(self) -> UseWorker:
        return UseWorker(
            self._use,
            self._latest,
            self._settings().usage,
            conditions=self._context.conditions,
            clock=self._context.clock,
            engines=self._engines,
            ending=self._ending,
            simulated=self._settings().engine == "simulated",
        )

    def _killed_around(self, at: float) -> int:
        """Return how many processes the kernel killed for memory about ``at`` (Unix seconds)."""
        if self._settings().engine == "simulated":
            return 0
        return self._use.machine_oom_kills.around(at, self._context.clock.time())

    def _engines(self) -> set[str]:
        """Return the containers in which inference engines run."""
        reading = self._context.views.get(ENGINES)
        return {each.container for each in reading.value.engines} if reading else set()

    def _ending(self) -> set[str]:
        """Return the containers whose end somebody requested, and that run still."""
        return {each.id for each in self._memory.state.known.values() if each.running and each.signal}

    def _stopper(self) -> EmergencyStopper:
        return EmergencyStopper(
            self._runtime(),
            self._stops,
            stopped=self._stopped,
            publish=self._context.publish,
            clock=self._context.clock,
            policy=StopPolicy(grace=self._settings().emergency_grace),
        )

    def _pauser(self) -> PauseController:
        settings, context = self._settings(), self._context
        runtime = self._runtime()
        publisher = PausePublisher(
            self._pauses.tally,
            context.publish,
            context.conditions,
            context.clock,
            simulated=runtime.simulated,
        )
        return PauseController(
            runtime,
            PauseJournal(
                context.state_directory / PAUSES, EngineAddress(settings.socket, settings.call_timeout)
            ),
            pauses=self._pauses,
            publisher=publisher,
            clock=context.clock,
            settings=settings.pause,
        )

    def _log_watcher(self) -> LogWatcher | InactiveWorker:
        settings, context = self._settings(), self._context
        if settings.engine in ("off", "simulated"):
            context.conditions.update(LOG_TYPES, ())
            return InactiveWorker(OFF if settings.engine == "off" else "made-up containers write no log")
        return LogWatcher(
            self._actions(),
            settings.logs,
            containers=self._latest.get,
            engines=lambda: context.views.get(ENGINES),
            deaths=self._deaths,
            namer=self._namer,
            memory=self._logs,
            conditions=context.conditions,
            messages=context.messages,
            clock=context.clock,
        )

    def _heal_adapters(self) -> HealAdapters:
        actions = self._actions()
        return HealAdapters(self._runtime(), actions, self._evidence_collector(actions), self._recreator())

    def _recreator(self) -> Recreator:
        """Return what creates containers anew, on an adapter of its own."""
        settings = self._settings()
        if settings.engine == "simulated":
            return NoRecreator()
        # Compose creates by bodies of its own, which no gate lets through.
        compose = None if settings.gate else Compose(settings.socket, os.environ)
        return ContainerRecreator(
            self._actions(), self._recreations, compose=compose, clock=self._context.clock
        )

    def _stopped_on_request(self) -> frozenset[str]:
        """Return the ids of containers whose last run Docker was told to end."""
        known = self._memory.state.known.values()
        return frozenset(each.id for each in known if not each.running and each.signal)

    def _close(self) -> None:
        self._stopped.wait(_DISK)
        self._healer.wait(_DISK)
        self._known.wait(_DISK)

    def _evidence_collector(self, actions: ContainerActions) -> IncidentCollector:
        """Return what writes an incident before a heal, by the ``actions`` of whoever heals."""
        context = self._context
        return IncidentCollector(
            actions,
            evidence=self._heals,
            failures=self._failures,
            recorder=context.incidents,
            views=context.views,
            publish=context.publish,
            clock=context.clock,
        )

    def _detail(self) -> DetailSources:
        context = self._context

        async def describe(identity: str) -> Mapping[str, Any] | None:
            actions = self._actions()
            try:
                return await actions.describe(identity)
            finally:
                await actions.aclose()

        return DetailSources(
            latest=self._latest,
            status=lambda: context.status(NAME),
            pauses=self._pauses.active,
            describe=describe,
            failures=self._failures,
            unreadable=self._logs.unreadable.get,
            conditions=context.conditions,
            views=context.views,
            history=context.history,
        )

    def _actions(self) -> ContainerActions:
        """Return an adapter of its own for acts on the containers of the configured engine."""
        settings = self._settings()
        if settings.engine == "simulated":
            return self._simulation(settings)
        from aiidpd.components.containers.docker.actions import DockerActions
        from aiidpd.components.containers.docker.gated import GatedActions

        kind = GatedActions if settings.gate else DockerActions
        return kind(settings.socket, call_timeout=settings.call_timeout)

    def _simulation(self, settings: ContainersSettings) -> SimulatedRuntime:
        """Return the simulated runtime: what is made up has one state, which all tasks must see."""
        if self._simulated is None or self._simulated[0] != settings.simulated_containers:
            from aiidpd.components.containers.simulated import SimulatedRuntime

            runtime = SimulatedRuntime(self._context.clock, count=settings.simulated_containers)
            self._simulated = settings.simulated_containers, runtime
        return self._simulated[1]

    def _runtime(self) -> ContainerRuntime:
        """Return the adapter of one task: a real one each, so that a slow reading holds up no act."""
        settings = self._settings()
        if settings.engine == "simulated":
            return self._simulation(settings)
        if settings.engine == "off":
            return SwitchedOffRuntime()
        from aiidpd.components.containers.docker.client import DockerRuntime

        return DockerRuntime(settings.socket, call_timeout=settings.call_timeout)

    def _watcher_deadline(self) -> float:
        settings = self._settings()
        return settings.reconcile_interval + 4 * settings.call_timeout

    def _call_deadline(self) -> float:
        return _SLACK + 4 * self._settings().call_timeout

    def _containers(self) -> Reading[ContainersView] | None:
        """Return the view of the last reading, made once a reading."""
        reading = self._latest.get()
        if reading is None:
            return None
        if self._view is None or self._view[0] is not reading:
            summaries = (
                summary(each, paused_by_us=self._pauses.owned(each.id)) for each in reading.value.containers
            )
            view = ContainersView(tuple(summaries), reading.value.simulated)
            self._view = reading, Reading(view, reading.at, reading.read)
        return self._view[1]


def build(context: Context) -> Component:
    """Return the component."""
    return ContainersComponent(context).component()


def _checks(settings: Settings, around: Surroundings) -> tuple[Check, ...]:
    from aiidpd.components.containers.checks import checks

    return checks(settings.table("containers", ContainersSettings), around)


SPEC: Final = Spec(NAME, {"containers": ContainersSettings}, build, checks=_checks)
