"""Worker beside servers that do not answer as they should: a labelled failure each, and it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from aiidpd.components.bench.schedule import max_age
from aiidpd.components.bench.settings import BenchSettings
from aiidpd.components.bench.view import BenchView, EndpointView
from aiidpd.components.bench.worker import BenchWorker
from aiidpd.engines.faults import Fault
from aiidpd.engines.openai import OpenAITarget
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock import SystemClock
from aiidpd.kernel.jobs import Job, JobBook, JobQueue, JobState
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.task import Heartbeat, WorkerState, WorkerStatus
from tests.fakes.inference import InferenceServer, Step
from tests.tables import made
from tests.unit.engines.test_faults import CASES, GOOD
from tests.waiting import PATIENCE

BOUNDS = {"first_token_timeout": PATIENCE, "timeout": PATIENCE, "interval": 1e6}


class Room:
    """A worker of two endpoints, on the machine's clock."""

    def __init__(self, bad: InferenceServer, good: InferenceServer, **bounds: Any) -> None:
        clock = SystemClock()
        settings = made(BenchSettings, **{**BOUNDS, **bounds})
        self.bad = bad
        self.samples: list[str] = []
        bus = EventBus()
        bus.attach(events=lambda _: None, samples=lambda each: self.samples.append(each.subject))
        self.latest: Latest[BenchView] = Latest(clock, max_age(settings))
        self.queue = JobQueue(JobBook(clock), "bench")
        self.status = WorkerStatus("bench")
        self.worker = BenchWorker(
            [OpenAITarget(name, server.url, "m") for name, server in (("bad", bad), ("good", good))],
            settings,
            queue=self.queue,
            latest=self.latest,
            publish=Publisher(bus, clock, "bench"),
            clock=clock,
        )
        self.heartbeat = Heartbeat(clock, self.status, anyio.Event())

    async def by_hand(self) -> JobState:
        """Measure both, after what is due at the start."""
        job: Job = self.queue.submit()
        async for status in job.updates():
            if status.state.final:
                return status.state
        raise AssertionError

    def view(self, name: str) -> EndpointView:
        reading = self.latest.get()
        assert reading is not None
        found = reading.value.endpoint(name)
        assert found is not None
        return found


@pytest.mark.parametrize(
    ("fault", "server", "steps", "bounds"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
async def test_a_bad_server_is_a_labelled_failure_never_a_number_and_the_others_are_measured(
    fault: Fault, server: dict[str, Any], steps: Sequence[Step], bounds: dict[str, Any]
):
    async with InferenceServer(steps=steps, **server) as bad, InferenceServer(GOOD) as good:
        room = Room(bad, good, **bounds)
        with anyio.fail_after(4 * PATIENCE):
            async with anyio.create_task_group() as group:
                group.start_soon(room.worker.run, room.heartbeat)
                assert await room.by_hand() is JobState.FAILED
                found = room.view("bad")
                assert (found.fault, found.sample, found.drop) == (fault.value, None, "")
                assert found.error
                assert room.view("good").current is not None
                assert room.status.state is WorkerState.RUNNING
                assert set(room.samples) == {"good"}
                bad.steps, bad.status, bad.headers = GOOD, 200, {"Content-Type": "text/event-stream"}
                assert await room.by_hand() is JobState.SUCCEEDED
                assert room.view("bad").current is not None
                group.cancel_scope.cancel()
