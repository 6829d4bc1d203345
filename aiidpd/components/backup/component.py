"""Component backup: verified copies of the model folder."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final

from aiidpd.component import Component, Context, Spec
from aiidpd.components.backup.api import BackupApi
from aiidpd.components.backup.metrics import BackupCollector
from aiidpd.components.backup.offsite import component as offsite
from aiidpd.components.backup.offsite.local import LocalSnapshot
from aiidpd.components.backup.offsite.settings import OffsiteSettings
from aiidpd.components.backup.offsite.view import OffsiteView
from aiidpd.components.backup.record import FILE, BackupMemory, BackupRecord
from aiidpd.components.backup.schedule import Jitter
from aiidpd.components.backup.settings import BackupSettings
from aiidpd.components.backup.view import BackupView, newest
from aiidpd.components.backup.worker import BackupWorker
from aiidpd.config.schema import Settings
from aiidpd.contracts.backups import BACKUP, BACKUPS, BackupActivity, BackupCatalog
from aiidpd.contracts.checks import Check, Surroundings
from aiidpd.contracts.engines import ENGINES, Verdict
from aiidpd.kernel.jobs import JobQueue
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.reading import Reading
from aiidpd.kernel.task import Task
from aiidpd.platform.statefile import StateFile

NAME: Final = "backup"
_DEADLINE: Final = 120.0
_MACHINE: Final = Path("/etc/machine-id")
_SCRATCH: Final = "drill"


def build(context: Context) -> Component:
    """Return the component; it offers the view of the backup that runs."""
    settings = context.settings("backup", BackupSettings)
    latest: Latest[BackupView] = Latest(context.clock, max_age=math.inf)
    queue = JobQueue(context.jobs, NAME)
    sent: Latest[OffsiteView] = Latest(context.clock, max_age=math.inf)
    memory = BackupMemory(StateFile(context.state_directory / FILE, BackupRecord), context.conditions)

    def sending() -> str:
        """Return the snapshot that is being sent elsewhere, empty for none."""
        reading = sent.get()
        return (reading.value.reading or "") if reading is not None else ""

    def worker() -> BackupWorker:
        return BackupWorker(
            settings(),
            queue=queue,
            latest=latest,
            publish=context.publish,
            conditions=context.conditions,
            memory=memory,
            clock=context.clock,
            scratch=context.state_directory / _SCRATCH,
            loading=lambda: _loading(context),
            sending=sending,
            jitter=Jitter(_machine(), settings().jitter),
        )

    def activity() -> Reading[BackupActivity] | None:
        reading = latest.get()
        if reading is None:
            return None
        running = reading.value.running
        source = reading.value.source if running is not None and running.work == "run" else ""
        return Reading(BackupActivity(source), reading.at, reading.read)

    def local() -> LocalSnapshot | None:
        reading, target = latest.get(), settings().target
        found = newest(reading.value.snapshots, reading.value.source) if reading else None
        if found is None or target is None:
            return None
        return LocalSnapshot(found.id, target / "snapshots" / found.id, found.created_at)

    def protected() -> tuple[Path, ...]:
        folders = (settings().source, settings().target, context.state_directory)
        return tuple(each for each in folders if each is not None)

    elsewhere = offsite.build(context, local, protected, sent)

    def catalog() -> Reading[BackupCatalog] | None:
        reading = latest.get()
        if reading is None or reading.value.catalog is None:
            return None
        return Reading(reading.value.catalog, reading.at, reading.read)

    context.views.offer(BACKUP, activity)
    context.views.offer(BACKUPS, catalog)
    return Component(
        tasks=(Task(NAME, worker, lambda: _DEADLINE), *elsewhere.tasks),
        collectors={NAME: BackupCollector(latest), **elsewhere.collectors},
        routes=(*BackupApi(latest, queue, lambda: context.status(NAME)).routes(), *elsewhere.routes),
    )


def _loading(context: Context) -> str:
    """Return the engine that loads a model just now, empty for none."""
    reading = context.views.get(ENGINES)
    engines = reading.value.engines if reading is not None else ()
    loading = (each.name for each in engines if not each.simulated and Verdict.LOADING is each.verdict)
    return next(loading, "")


def _machine() -> str:
    """Return what only this machine has, empty where it has nothing of that kind."""
    try:
        return _MACHINE.read_text().strip()
    except OSError:
        return ""


def _checks(settings: Settings, around: Surroundings) -> tuple[Check, ...]:
    from aiidpd.components.backup.checks import checks

    return checks(settings.table("backup", BackupSettings), around)


SPEC: Final = Spec(NAME, {"backup": BackupSettings, "offsite": OffsiteSettings}, build, checks=_checks)
