"""A control server on a real socket, with the real kernel behind it and no workers that run."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from aiidpd.alerts import api as alerts_api
from aiidpd.api import jobs as jobs_api
from aiidpd.api.access import AccessPolicy
from aiidpd.api.route import Route
from aiidpd.api.server import ControlApi
from aiidpd.components.audit import api as audit_api
from aiidpd.components.backup import api as backup_api
from aiidpd.components.backup.offsite import api as offsite_api
from aiidpd.components.bench import api as bench_api
from aiidpd.components.bench.alone.prober import AloneProber
from aiidpd.components.bench.compare import api as compare_api
from aiidpd.components.bench.compare.requests import ComparisonControl
from aiidpd.components.bench.compare.store import ComparisonStore
from aiidpd.components.bench.guard import api as guard_api
from aiidpd.components.bench.guard.guard import Guard
from aiidpd.components.bench.guard.run import GuardViews
from aiidpd.components.bench.guard.store import UpgradeStore
from aiidpd.components.bench.regression import api as regression_api
from aiidpd.components.bench.regression.monitor import RegressionMonitor
from aiidpd.components.bench.regression.record import BenchRecords
from aiidpd.components.containers import api as containers_api
from aiidpd.components.containers.detail import DetailSources, detail_routes
from aiidpd.components.containers.heal.api import HealApi
from aiidpd.components.containers.heal.book import HealBook
from aiidpd.components.containers.heal.record import HealRecords
from aiidpd.components.containers.logs.named import NamedFailures
from aiidpd.components.engines import api as engines_api
from aiidpd.components.engines.polls import Polls
from aiidpd.components.models.api import ModelRoutes
from aiidpd.components.models.memory import ModelsMemory
from aiidpd.components.models.record import ModelRecords
from aiidpd.components.thermal.api import energy as energy_api
from aiidpd.components.thermal.api import gpus as gpus_api
from aiidpd.components.thermal.api.history import HistoryExport
from aiidpd.components.thermal.energy.meter import EnergyMeter
from aiidpd.components.thermal.maintenance import DriverMaintenance
from aiidpd.contracts.messages import HealRequested
from aiidpd.daemon import api as daemon_api
from aiidpd.history import api as history_api
from aiidpd.history.store import History
from aiidpd.incidents import api as incidents_api
from aiidpd.incidents.store import IncidentStore
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock import Clock, SystemClock
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.errors import Misconfigured
from aiidpd.kernel.events import Event, Severity
from aiidpd.kernel.inbox import Messages
from aiidpd.kernel.jobs import JobBook, JobQueue
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.task import WorkerState, WorkerStatus
from aiidpd.kernel.views import Views
from aiidpd.platform.connection import Limits
from aiidpd.platform.sockets import listen_unix
from aiidpd.platform.statefile import StateFile
from aiidpd.platform.web import WebServer
from tests.waiting import PATIENCE

WORKERS = ("thermal", "containers", "backup", "bench", "engines", "models", "audit")


def idle_guard(folder: Path, clock: Clock, bus: EventBus) -> Guard:
    """Return a guard of upgrades to which nobody offers anything."""
    return Guard(
        UpgradeStore(folder),
        messages=Messages(clock),
        trials=lambda: None,
        gpus=lambda: None,
        endpoints=tuple,
        views=GuardViews(lambda: None, lambda: None, lambda: None),
        clock=clock,
        publish=Publisher(bus, clock, "bench"),
        prober=AloneProber(clock=clock, engines=lambda: None, reads=lambda: None, running=set()),
    )


@dataclass
class Workers:
    """Worker statuses that a test sets."""

    statuses: tuple[WorkerStatus, ...]

    def __getitem__(self, name: str) -> WorkerStatus:
        return next(status for status in self.statuses if status.name == name)


@dataclass
class Reloads:
    """What a reload finds: ``answer`` is what changed, or why it can't be."""

    answer: list[str] | Misconfigured = field(default_factory=list)
    asked: int = 0

    async def __call__(self) -> Sequence[str]:
        self.asked += 1
        if isinstance(self.answer, Misconfigured):
            raise self.answer
        return self.answer


@dataclass
class ControlDaemon:
    """The parts of the server, for tests to look at and turn."""

    path: Path
    bus: EventBus
    history: History
    conditions: Conditions
    workers: Workers
    jobs: JobBook
    queues: dict[str, JobQueue]
    views: dict[str, Latest[Any]]
    reloads: Reloads
    hold: DriverMaintenance
    api: ControlApi
    server: WebServer
    pauses: list[Any]

    def say(self, kind: str = "test.said", reason: str = "it was said", **more: Any) -> None:
        """Publish an event."""
        clock: Clock = SystemClock()
        self.bus.publish(Event(clock.time(), "test", kind, reason, **more))

    async def events(self, kind: str) -> list[Event]:
        """Return what was published of ``kind``."""
        return await self.history.events(kinds=kind, min_severity=Severity.DEBUG)


@asynccontextmanager
async def control_daemon(
    folder: Path,
    *,
    limits: Limits | None = None,
    policy: AccessPolicy | None = None,
    mode: int = 0o660,
    more_routes: Sequence[Route] = (),
    jobs: JobBook | None = None,
    models: ModelRoutes | None = None,
    **options: Any,
) -> AsyncIterator[ControlDaemon]:
    """Serve the control API at ``folder/control.sock``."""
    clock = SystemClock()
    history = History.open(folder / "history.sqlite", keep=3600, max_bytes=2**24, clock=clock)
    bus = EventBus(last_id=history.last_event_id)
    bus.attach(events=history.record_event, samples=history.record_sample)
    conditions = Conditions(clock, bus)
    jobs = jobs or JobBook(clock)
    queues = {name: JobQueue(jobs, name) for name in ("backup", "bench")}
    views: dict[str, Latest[Any]] = {
        name: Latest(clock, 3600.0)
        for name in ("gpus", "containers", "backup", "bench", "engines", "models", "audit")
    }
    workers = Workers(tuple(WorkerStatus(name, WorkerState.RUNNING) for name in WORKERS))
    reloads = Reloads()
    hold = DriverMaintenance(clock)
    pauses: list[Any] = []
    started_at, started = clock.time(), clock.monotonic()
    energy = EnergyMeter(folder / "energy.json", Publisher(bus, clock, "thermal"), clock)

    def status() -> daemon_api.StatusDocument:
        return daemon_api.status_document(
            version="1.2.3",
            now=clock.time(),
            started_at=started_at,
            uptime_seconds=clock.monotonic() - started,
            workers=workers.statuses,
            conditions=conditions.active(),
        )

    async def undescribed(_identity: str) -> None:
        return None

    def of(name: str) -> Callable[[], WorkerStatus]:
        return lambda: workers[name]

    model_routes = models or ModelRoutes(
        views["models"],
        ModelsMemory(StateFile(folder / "models.json", ModelRecords), views["models"]),
        JobQueue(jobs, "model-scan"),
        JobQueue(jobs, "model-job"),
        of("models"),
    )
    routes = (
        *daemon_api.routes(
            status=status,
            config_entries=lambda: [
                ("daemon.log_level", '"info"', "default"),
                ("gpu.interval", '"2s"', "a.toml:3"),
            ],
            reload=reloads,
        ),
        *history_api.routes(history, bus),
        *alerts_api.routes(tuple),
        *gpus_api.routes(views["gpus"], hold, of("thermal")),
        *energy_api.routes(energy, lambda: (0.3, "EUR")),
        *HistoryExport(history, views["gpus"], energy, clock).routes,
        *incidents_api.routes(IncidentStore(folder / "incidents")),
        *containers_api.routes(views["containers"], lambda: pauses, of("containers")),
        *detail_routes(
            DetailSources(
                latest=views["containers"],
                status=of("containers"),
                pauses=lambda: pauses,
                describe=undescribed,
                failures=NamedFailures(),
                conditions=conditions,
                views=Views(),
                history=history,
            )
        ),
        *HealApi(
            HealBook(
                clock,
                Messages(clock).inbox(HealRequested),
                StateFile(folder / "heals.json", HealRecords),
            ),
            jobs,
            Publisher(bus, clock, "containers"),
            dry_run=lambda: False,
            inactive=lambda: "nothing is healed here",
        ).routes(),
        *engines_api.routes(views["engines"].get, Polls(), clock, of("engines")),
        *backup_api.BackupApi(views["backup"], queues["backup"], of("backup")).routes(),
        *offsite_api.routes(Latest(clock, 3600.0), JobQueue(jobs, "backup.offsite"), of("backup"), tuple),
        *model_routes.routes(),
        *bench_api.routes(views["bench"], views["engines"].get, queues["bench"], of("bench")),
        *compare_api.routes(
            ComparisonStore(folder / "comparisons"), ComparisonControl(), queues["bench"], history, clock
        ),
        *guard_api.routes(idle_guard(folder / "upgrades", clock, bus), queues["bench"]),
        *regression_api.routes(
            RegressionMonitor(
                StateFile(folder / "bench-baselines.json", BenchRecords),
                publish=Publisher(bus, clock, "bench"),
                conditions=conditions,
                clock=clock,
            )
        ),
        *audit_api.routes(views["audit"], of("audit")),
        *jobs_api.routes(jobs),
        *more_routes,
    )
    listener = listen_unix(folder / "control.sock", mode=mode)
    api = ControlApi(
        routes,
        policy or AccessPolicy(owner=os.getuid(), readers=listener.gid),
        version="1.2.3",
        publish=Publisher(bus, clock, "control"),
        **options,
    )
    server = WebServer(api.application(), [listener.socket], limits=limits, on_failure=api.failed)
    try:
        async with server:
            yield ControlDaemon(
                listener.path,
                bus,
                history,
                conditions,
                workers,
                jobs,
                queues,
                views,
                reloads,
                hold,
                api,
                server,
                pauses,
            )
    finally:
        listener.close()
        history.close()


async def until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait until ``condition`` holds, at most ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not become so in time"
        await anyio.sleep(0.01)
