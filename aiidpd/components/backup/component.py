"""Component backup: verified copies of the model folder."""

from __future__ import annotations

import math
from typing import Final

from aiidpd.component import Component, Context, Spec
from aiidpd.components.backup.api import routes
from aiidpd.components.backup.metrics import BackupCollector
from aiidpd.components.backup.settings import BackupSettings
from aiidpd.components.backup.view import BackupView
from aiidpd.components.backup.worker import BackupWorker
from aiidpd.contracts.backups import BACKUP, BackupActivity
from aiidpd.kernel.jobs import JobQueue
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.reading import Reading
from aiidpd.kernel.task import Task

NAME: Final = "backup"
_DEADLINE: Final = 120.0


def build(context: Context) -> Component:
    """Return the component; it offers the view of the backup that runs."""
    settings = context.settings("backup", BackupSettings)
    latest: Latest[BackupView] = Latest(context.clock, max_age=math.inf)
    queue = JobQueue(context.jobs, NAME)

    def worker() -> BackupWorker:
        return BackupWorker(
            settings(),
            queue=queue,
            latest=latest,
            publish=context.publish,
            conditions=context.conditions,
            clock=context.clock,
        )

    def activity() -> Reading[BackupActivity] | None:
        reading = latest.get()
        if reading is None:
            return None
        source = reading.value.source if reading.value.running else ""
        return Reading(BackupActivity(source), reading.at, reading.read)

    context.views.offer(BACKUP, activity)
    return Component(
        tasks=(Task(NAME, worker, lambda: _DEADLINE),),
        collectors={NAME: BackupCollector(latest)},
        routes=routes(latest, queue, lambda: context.status(NAME)),
    )


SPEC: Final = Spec(NAME, {"backup": BackupSettings}, build)
