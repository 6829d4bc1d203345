"""Builds every component of :mod:`aiidpd.components.all`, each with a context of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from prometheus_client.registry import Collector

from aiidpd.alerts import api as alerts_api
from aiidpd.alerts.events import SOURCE as ALERT_SOURCE
from aiidpd.alerts.manager import AlertManager
from aiidpd.alerts.metrics import AlertsCollector
from aiidpd.alerts.record import AlertRecords
from aiidpd.alerts.store import AlertStore
from aiidpd.api import jobs as jobs_api
from aiidpd.api.route import Route
from aiidpd.component import Context, Spec
from aiidpd.components.all import COMPONENTS
from aiidpd.config.schema import Settings
from aiidpd.history import api as history_api
from aiidpd.history.metrics import HistoryCollector
from aiidpd.history.store import History
from aiidpd.incidents import api as incidents_api
from aiidpd.incidents.recorder import IncidentRecorder
from aiidpd.incidents.settings import IncidentSettings
from aiidpd.incidents.store import IncidentStore
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.inbox import Messages
from aiidpd.kernel.jobs import JobBook
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.task import Task, WorkerStatus
from aiidpd.kernel.views import Views
from aiidpd.platform.boot import current_boot
from aiidpd.platform.statefile import StateFile

ALERTS: Final = "alerts.json"
INCIDENTS: Final = "incidents"
_DISK: Final = 120.0  # seconds that writing an incident may take before the task counts as hung
# Scripts filter events by their source, and the events of incidents have had this one since the first.
_INCIDENT_SOURCE: Final = "thermal"


class Assembly:
    """Components of one daemon, built but not running, with the services that they share.

    ``settings`` returns the configuration as it now is, ``status`` how a task fares.
    """

    def __init__(
        self,
        settings: Callable[[], Settings],
        *,
        clock: Clock,
        bus: EventBus,
        conditions: Conditions,
        history: History,
        state_directory: Path,
        status: Callable[[str], WorkerStatus],
        specs: tuple[Spec, ...] = COMPONENTS,
    ) -> None:
        self._bus = bus
        self._history = history
        self._jobs = JobBook(clock)
        boot_id = current_boot()
        records = StateFile(state_directory / ALERTS, AlertRecords)
        store = AlertStore(records, clock, conditions, boot=boot_id)
        self._alerts = AlertManager(clock, Publisher(bus, clock, ALERT_SOURCE), conditions, store)
        self._incident_store = IncidentStore(
            state_directory / INCIDENTS, lambda: settings().table("incidents", IncidentSettings)
        )
        self._incidents = IncidentRecorder(
            self._incident_store, Publisher(bus, clock, _INCIDENT_SOURCE), clock
        )
        messages, views = Messages(clock), Views()
        self.components = {
            spec.name: spec.build(
                Context(
                    clock=clock,
                    publish=Publisher(bus, clock, spec.name),
                    conditions=conditions,
                    messages=messages,
                    views=views,
                    jobs=self._jobs,
                    alerts=self._alerts,
                    incidents=self._incidents,
                    history=history,
                    state_directory=state_directory,
                    boot_id=boot_id,
                    status=status,
                    configuration=settings,
                )
            )
            for spec in specs
        }

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Tasks of every component, in the order of the list, and those of the services."""
        return (
            *(task for component in self.components.values() for task in component.tasks),
            Task(INCIDENTS, lambda: self._incidents, lambda: _DISK),
        )

    @property
    def routes(self) -> tuple[Route, ...]:
        """Routes of the services and of every component."""
        return (
            *history_api.routes(self._history, self._bus),
            *alerts_api.routes(self._alerts.active),
            *incidents_api.routes(self._incident_store),
            *(route for component in self.components.values() for route in component.routes),
            *jobs_api.routes(self._jobs),
        )

    @property
    def collectors(self) -> dict[str, Collector]:
        """Collectors of the services and of every component, by name."""
        found: dict[str, Collector] = {
            "history": HistoryCollector(lambda: self._history.stats),
            "alerts": AlertsCollector(self._alerts),
        }
        for component in self.components.values():
            found |= component.collectors
        return found

    def close(self) -> None:
        """Close every component, and write the alerts."""
        for component in self.components.values():
            component.close()
        self._alerts.close()
