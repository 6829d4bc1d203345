"""The component backup: verified copies of the model folder."""

from __future__ import annotations

import math
from typing import Final

from aiidpd.component import Component, Context, Spec
from aiidpd.components.backup.api import routes
from aiidpd.components.backup.metrics import BackupCollector
from aiidpd.components.backup.policy import BackupPolicy
from aiidpd.components.backup.settings import BackupSettings
from aiidpd.components.backup.view import BackupView
from aiidpd.components.backup.worker import BackupWorker
from aiidpd.kernel.jobs import JobQueue
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.task import Task

NAME: Final = "backup"
_DEADLINE: Final = 120.0


def build(context: Context) -> Component:
    """Return the component."""
    settings = context.settings("backup", BackupSettings)
    latest: Latest[BackupView] = Latest(context.clock, max_age=math.inf)
    queue = JobQueue(context.jobs, NAME)

    def worker() -> BackupWorker:
        backup = settings()
        policy = BackupPolicy(
            source=backup.source,
            target=backup.target,
            schedule=backup.schedule,
            exclude=backup.exclude,
            reserve_bytes=backup.reserve,
        )
        return BackupWorker(policy, queue=queue, latest=latest, bus=context.bus, clock=context.clock)

    return Component(
        tasks=(Task(NAME, worker, lambda: _DEADLINE),),
        collectors={NAME: BackupCollector(latest)},
        routes=routes(latest, queue, lambda: context.status(NAME)),
    )


SPEC: Final = Spec(NAME, {"backup": BackupSettings}, build)
