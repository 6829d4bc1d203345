"""Component: one capability of the daemon, and what it is given to work with.

A component's ``component.py`` has a ``SPEC`` and its ``build``; :mod:`aiidpd.components.all` lists the specs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from prometheus_client.registry import Collector

from aiidpd.alerts.manager import AlertManager
from aiidpd.api.route import Route
from aiidpd.config.fields import Table
from aiidpd.config.schema import Settings
from aiidpd.contracts.checks import Check, Surroundings
from aiidpd.history.store import History
from aiidpd.incidents.recorder import IncidentRecorder
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.inbox import Messages
from aiidpd.kernel.jobs import JobBook
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.task import Task, WorkerStatus
from aiidpd.kernel.views import Views

TableT = TypeVar("TableT", bound=Table)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Means of a component; made once for each by the daemon.

    ``configuration`` returns the whole configuration as it now is; a component reads its own tables of it by
    ``settings``. ``status`` returns how a task fares; it may be called once the daemon runs.
    """

    clock: Clock
    publish: Publisher
    conditions: Conditions
    messages: Messages
    views: Views
    jobs: JobBook
    alerts: AlertManager
    incidents: IncidentRecorder
    history: History
    state_directory: Path
    boot_id: str
    status: Callable[[str], WorkerStatus]
    configuration: Callable[[], Settings]

    def settings(self, name: str, kind: type[TableT]) -> Callable[[], TableT]:
        """Return what gives the table ``name``, of type ``kind``, as it now is: after a reload too."""
        return lambda: self.configuration().table(name, kind)


def _no_checks(_settings: Settings, _surroundings: Surroundings) -> tuple[Check, ...]:
    """Have nothing to check."""
    return ()


def _nothing() -> None:
    """Hold nothing, so that there is nothing to close."""


@dataclass(frozen=True, slots=True)
class Component:
    """One capability, built: its tasks, what turns its readings into metrics, its routes.

    ``close`` is called once, after every task has ended.
    """

    tasks: tuple[Task, ...] = ()
    collectors: Mapping[str, Collector] = field(default_factory=dict)
    routes: tuple[Route, ...] = ()
    close: Callable[[], None] = _nothing


@dataclass(frozen=True, slots=True)
class Spec:
    """Description of a component, before it is built.

    ``tables`` are its tables of the configuration: a change of one replaces its tasks, and so does a change
    of a table that it ``follows``. ``build`` is called once in the daemon's life; what it makes outlives each
    task. It opens nothing that can hang, and leaves adapters to be imported by the tasks. ``checks`` returns
    what `aiidpd doctor` finds out without a daemon.
    """

    name: str
    tables: Mapping[str, type[Table]]
    build: Callable[[Context], Component]
    follows: tuple[str, ...] = ()
    checks: Callable[[Settings, Surroundings], Sequence[Check]] = _no_checks
