"""Healer of a daemon, put together: what outlives its task, its routes, its metrics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import random
from typing import Final

from aiidpd.api.route import Route
from aiidpd.component import Context
from aiidpd.components.containers.actions import ContainerActions
from aiidpd.components.containers.heal.api import HealApi
from aiidpd.components.containers.heal.book import HealBook
from aiidpd.components.containers.heal.controller import HealController, HealSources, local_minute
from aiidpd.components.containers.heal.events import HealPublisher
from aiidpd.components.containers.heal.metrics import HealsCollector
from aiidpd.components.containers.heal.protocols import EvidenceCollector, Recreator
from aiidpd.components.containers.heal.record import LIMIT, NAME, HealRecords
from aiidpd.components.containers.heal.recovery import Recovery
from aiidpd.components.containers.heal.run import HealTools
from aiidpd.components.containers.off import OFF
from aiidpd.components.containers.runtime import ContainerRuntime, RuntimeSnapshot
from aiidpd.components.containers.settings import ContainersSettings
from aiidpd.contracts.backups import BACKUP
from aiidpd.contracts.engines import ENGINES, EngineState, EnginesView
from aiidpd.contracts.messages import HealRequested
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.task import InactiveWorker
from aiidpd.platform.statefile import StateFile

TASK: Final = "containers.heal"


@dataclass(frozen=True, slots=True)
class HealAdapters:
    """Adapters of one run of the task, made when it begins: a slow reading holds up no heal."""

    runtime: ContainerRuntime
    actions: ContainerActions
    collector: EvidenceCollector
    recreator: Recreator


class Healer:
    """Owns the book of the heals. ``stopped`` gives the ids of containers that were ended on request.

    ``tried`` gives the names of those in whose place another image is tried.
    """

    def __init__(
        self,
        context: Context,
        settings: Callable[[], ContainersSettings],
        stopped: Callable[[], frozenset[str]],
        tried: Callable[[], frozenset[str]],
    ) -> None:
        self._tried = tried
        self._context = context
        self._settings = settings
        self._stopped = stopped
        self._book = HealBook(
            context.clock,
            context.messages.inbox(HealRequested),
            StateFile(context.state_directory / NAME, HealRecords, limit=LIMIT),
        )
        self.wake = self._book.wake
        self.collector = HealsCollector(self._book)

    def task(
        self, latest: Latest[RuntimeSnapshot], adapters: Callable[[], HealAdapters]
    ) -> HealController | InactiveWorker:
        """Return the worker of the task, on ``adapters`` of its own."""
        settings, context = self._settings(), self._context
        if settings.engine == "off":
            self._publisher(simulated=False).clear()
            return InactiveWorker(OFF)
        made = adapters()
        publisher = self._publisher(simulated=made.runtime.simulated)
        tools = HealTools(
            made.runtime,
            made.actions,
            collector=made.collector,
            recreator=made.recreator,
            recovery=Recovery(made.recreator, publisher, context.clock),
            book=self._book,
            publisher=publisher,
            clock=context.clock,
            settings=settings.heal,
            engine=self._engine,
            uniform=random,
        )
        sources = HealSources(
            latest, self._stopped, self._engines, self._backup_source, local_minute, self._tried
        )
        return HealController(tools, sources)

    def routes(self) -> tuple[Route, ...]:
        """Return the routes of the heals."""
        return HealApi(
            self._book,
            self._context.jobs,
            self._context.publish,
            dry_run=lambda: self._settings().heal.dry_run,
            inactive=lambda: self._context.status(TASK).reason,
        ).routes()

    def stop_grace(self, name: str) -> float:
        """Return how many seconds a container has to end, by its policy where that is known."""
        observed = self._book.observed
        found = next((each for each in self._book.state.tracks.values() if each.name == name), None)
        policy = None if observed is None or found is None else observed.policies.get(found.id)
        return self._settings().heal.stop_grace if policy is None else policy.stop_grace

    def healing(self, name: str) -> bool:
        """Return whether the container is being healed."""
        return any(each.name == name and each.heal is not None for each in self._book.state.tracks.values())

    def wait(self, seconds: float) -> None:
        """Wait until the file is written, at most ``seconds``. Blocks."""
        self._book.file.wait(seconds)

    def _publisher(self, *, simulated: bool) -> HealPublisher:
        context = self._context
        return HealPublisher(self._book.tally, context.publish, context.conditions, simulated=simulated)

    def _engines(self) -> EnginesView | None:
        reading = self._context.views.get(ENGINES)
        return None if reading is None else reading.value

    def _backup_source(self) -> str:
        reading = self._context.views.get(BACKUP)
        return "" if reading is None else reading.value.source

    def _engine(self, identity: str) -> EngineState | None:
        """Return the engine in a container, None where none is known."""
        engines = self._engines()
        found = () if engines is None else engines.engines
        return next((each for each in found if each.container == identity), None)
