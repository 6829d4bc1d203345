"""Everything around the workers of the component that outlives them, on real files and a fake clock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from aiidpd.api.route import Call
from aiidpd.components.models.api import ModelRoutes
from aiidpd.components.models.conditions import update_conditions
from aiidpd.components.models.jobs import ModelJobs
from aiidpd.components.models.memory import ModelsMemory
from aiidpd.components.models.observe import Seen
from aiidpd.components.models.record import LIMIT, ModelRecords
from aiidpd.components.models.registry import view
from aiidpd.components.models.settings import ModelsSettings
from aiidpd.components.models.view import ModelsView
from aiidpd.components.models.worker import ModelsWorker
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.events import Event
from aiidpd.kernel.jobs import Job, JobBook, JobQueue, JobStatus
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.task import Heartbeat, WorkerStatus
from aiidpd.platform.statefile import StateFile
from tests.fakes.clock import FakeClock
from tests.waiting import PATIENCE


@dataclass
class Desk:
    """The parts of a component and what they leave behind."""

    folder: Path
    clock: FakeClock
    settings: ModelsSettings
    source: Path | None = None
    environ: Mapping[str, str] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    seen: Seen = field(default_factory=lambda: Seen((), (), None))

    def __post_init__(self) -> None:
        self.bus = EventBus()
        self.bus.attach(events=self.events.append, samples=lambda _sample: None)
        self.conditions = Conditions(self.clock, self.bus)
        self.latest: Latest[ModelsView] = Latest(self.clock, 1e12)
        self.book = JobBook(self.clock)
        self.scans, self.jobs = JobQueue(self.book, "model-scan"), JobQueue(self.book, "model-job")
        self.jobs_status = WorkerStatus("models.jobs")
        self.restart()

    def restart(self) -> None:
        """Forget all but what is on the disk."""
        path = self.folder / "models.json"
        self.status = WorkerStatus("models")
        self.memory = ModelsMemory(StateFile(path, ModelRecords, limit=LIMIT), self.latest)

    @property
    def routes(self) -> ModelRoutes:
        return ModelRoutes(self.latest, self.memory, self.scans, self.jobs, lambda: self.status)

    async def answer(self, route_name: str, body: object = None, **path: str) -> object:
        """Return what the route ``route_name`` answers."""
        (route,) = [each for each in self.routes.routes() if each.name == route_name]
        return await route.handler(Call(path, None, body, "tester"))

    @property
    def view(self) -> ModelsView:
        reading = self.latest.get()
        assert reading is not None
        return reading.value

    def kinds(self, source: str = "model.") -> list[tuple[str, str]]:
        return [(each.kind, each.subject) for each in self.events if each.kind.startswith(source)]

    def active(self) -> dict[str, str]:
        return {each.type: each.reason for each in self.conditions.active()}

    async def changed(self) -> None:
        now = self.clock.time()
        self.latest.put(view(self.memory.known, now))
        update_conditions(self.conditions, self.view, self.settings, now)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Run both tasks, from the end of the first pass of each."""
        publish = Publisher(self.bus, self.clock, "models")
        worker = ModelsWorker(
            self.settings,
            source=self.source,
            memory=self.memory,
            queue=self.scans,
            seen=lambda: self.seen,
            publish=publish,
            conditions=self.conditions,
            clock=self.clock,
            environ=self.environ,
        )
        jobs = ModelJobs(
            self.settings,
            memory=self.memory,
            queue=self.jobs,
            publish=publish,
            clock=self.clock,
            changed=self.changed,
        )
        first, second = anyio.Event(), anyio.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(worker.run, Heartbeat(self.clock, self.status, first))
            await self.until(lambda: self.status.passes + self.status.failed_passes >= 2)
            assert first.is_set()
            group.start_soon(jobs.run, Heartbeat(self.clock, self.jobs_status, second))
            with anyio.fail_after(PATIENCE):
                await second.wait()
            yield
            group.cancel_scope.cancel()
        self.memory.wait(PATIENCE)

    async def end(self, job: Job) -> JobStatus:
        """Return the status of ``job`` once it has ended."""
        with anyio.fail_after(PATIENCE):
            async for _ in job.updates():
                pass
        return job.status

    async def scan(self) -> JobStatus:
        """Scan on request, and wait until that is shown."""
        passes = self.status.passes
        status = await self.end(self.scans.submit())
        await self.until(lambda: self.status.passes > passes)
        return status

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait, in real time, for what threads do."""
        with anyio.fail_after(PATIENCE):
            while not holds():  # noqa: ASYNC110 -- threads set no anyio.Event
                await anyio.sleep(0.002)
