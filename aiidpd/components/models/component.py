"""Component models: which models lie on this machine."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Final

from aiidpd.component import Component, Context, Spec
from aiidpd.components.models.api import ModelRoutes
from aiidpd.components.models.conditions import update_conditions
from aiidpd.components.models.jobs import ModelJobs
from aiidpd.components.models.memory import ModelsMemory
from aiidpd.components.models.metrics import ModelsCollector
from aiidpd.components.models.observe import Seen
from aiidpd.components.models.record import LIMIT, ModelRecords
from aiidpd.components.models.record import NAME as STATE
from aiidpd.components.models.registry import Known, view
from aiidpd.components.models.settings import ModelsSettings
from aiidpd.components.models.stored import stored_models
from aiidpd.components.models.trust import trusted
from aiidpd.components.models.view import ModelsView
from aiidpd.components.models.worker import ModelsWorker
from aiidpd.config.schema import Settings
from aiidpd.contracts.backups import BACKUPS
from aiidpd.contracts.checks import Check, Surroundings
from aiidpd.contracts.containers import CONTAINERS
from aiidpd.contracts.engines import ENGINES
from aiidpd.contracts.models import MODELS, StoredModels
from aiidpd.kernel.jobs import JobQueue
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.reading import Reading
from aiidpd.kernel.task import Task
from aiidpd.platform.statefile import StateFile
from aiidpd.platform.thread import in_daemon_thread

NAME: Final = "models"
JOBS: Final = "models.jobs"
_DEADLINE: Final = 120.0
_DISK: Final = 1.0  # seconds that the end of the daemon waits for the disk


def build(context: Context) -> Component:
    """Return the component; it offers the view of the models."""
    settings = context.settings(NAME, ModelsSettings)
    latest: Latest[ModelsView] = Latest(context.clock, max_age=math.inf)
    memory = ModelsMemory(StateFile(context.state_directory / STATE, ModelRecords, limit=LIMIT), latest)
    scans, jobs = JobQueue(context.jobs, "model-scan"), JobQueue(context.jobs, "model-job")

    def source() -> Path | None:
        table = getattr(context.configuration(), "backup", None)
        found = getattr(table, "source", None)
        return found if isinstance(found, Path) else None

    def seen() -> Seen:
        containers, engines = context.views.get(CONTAINERS), context.views.get(ENGINES)
        catalog = context.views.get(BACKUPS)
        known = containers is not None and not containers.value.simulated
        return Seen(
            containers.value.containers if known and containers else None,
            engines.value.engines if engines else (),
            catalog.value if catalog else None,
        )

    def worker() -> ModelsWorker:
        return ModelsWorker(
            settings(),
            source=source(),
            memory=memory,
            queue=scans,
            seen=seen,
            publish=context.publish,
            conditions=context.conditions,
            clock=context.clock,
        )

    async def changed() -> None:
        known, now = replace(memory.known, signers=trusted(settings())), context.clock.time()
        found = await in_daemon_thread(lambda: view(known, now))
        latest.put(found)
        update_conditions(context.conditions, found, settings(), now)

    def job_worker() -> ModelJobs:
        return ModelJobs(
            settings(),
            memory=memory,
            queue=jobs,
            publish=context.publish,
            clock=context.clock,
            changed=changed,
        )

    stored: list[tuple[Known, StoredModels]] = []

    def models() -> Reading[StoredModels] | None:
        reading = latest.get()
        if reading is None:
            return None
        known = memory.known
        if not stored or stored[0][0] is not known:
            stored[:] = [(known, stored_models(known))]
        return Reading(stored[0][1], reading.at, reading.read)

    context.views.offer(MODELS, models)
    return Component(
        tasks=(Task(NAME, worker, lambda: _DEADLINE), Task(JOBS, job_worker, lambda: _DEADLINE)),
        collectors={NAME: ModelsCollector(latest)},
        routes=ModelRoutes(latest, memory, scans, jobs, lambda: context.status(NAME)).routes(),
        close=lambda: memory.wait(_DISK),
    )


def _checks(settings: Settings, around: Surroundings) -> tuple[Check, ...]:
    from aiidpd.components.models.checks import checks

    return checks(settings.table("models", ModelsSettings), around)


SPEC: Final = Spec(NAME, {NAME: ModelsSettings}, build, follows=("backup",), checks=_checks)
