"""Offsite's part of the component backup: its task, its figures, its routes."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from aiidpd.component import Component, Context
from aiidpd.components.backup.offsite.api import routes
from aiidpd.components.backup.offsite.local import LocalSnapshot
from aiidpd.components.backup.offsite.metrics import OffsiteCollector
from aiidpd.components.backup.offsite.open import opener
from aiidpd.components.backup.offsite.settings import OffsiteSettings
from aiidpd.components.backup.offsite.state import OffsiteState
from aiidpd.components.backup.offsite.view import OffsiteView
from aiidpd.components.backup.offsite.worker import OffsiteWorker
from aiidpd.kernel.jobs import JobQueue
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.task import Task
from aiidpd.platform.statefile import StateFile

NAME: Final = "backup.offsite"
_DEADLINE: Final = 60.0
_REMEDY: Final = "move it away: then what was read back counts as never read"


def build(
    context: Context,
    local: Callable[[], LocalSnapshot | None],
    protected: Callable[[], tuple[Path, ...]],
    latest: Latest[OffsiteView] | None = None,
) -> Component:
    """Return the task, the collector and the routes, for the component backup to add to its own.

    ``local`` gives the newest whole local snapshot; ``protected`` the folders into which nothing may be
    restored. ``latest`` is given by whoever reads it: its view's ``reading`` must not be removed.
    """
    settings = context.settings("offsite", OffsiteSettings)
    view: Latest[OffsiteView] = latest or Latest(context.clock, max_age=math.inf)
    queue = JobQueue(context.jobs, NAME)
    directory = context.state_directory / "offsite"
    file = StateFile(context.state_directory / "offsite.json", OffsiteState, remedy=_REMEDY)
    host = os.uname().nodename
    open_repository = opener(settings, directory=directory, host=host, clock=context.clock)

    def worker() -> OffsiteWorker:
        return OffsiteWorker(
            settings(),
            local=local,
            open_repository=open_repository,
            file=file,
            queue=queue,
            latest=view,
            publish=context.publish,
            conditions=context.conditions,
            clock=context.clock,
        )

    return Component(
        tasks=(Task(NAME, worker, lambda: _DEADLINE),),
        collectors={NAME: OffsiteCollector(view)},
        routes=routes(view, queue, lambda: context.status(NAME), protected),
    )
