"""A comparison as one of the jobs of the worker."""

from __future__ import annotations

from pathlib import Path

import anyio
import anyio.lowlevel

from aiidpd.components.bench.view import BenchView
from aiidpd.components.bench.worker import BenchWorker
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.jobs import JobBook, JobQueue, JobState
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.task import Heartbeat, WorkerState, WorkerStatus
from tests.fakes.clock import FakeClock
from tests.unit.components.bench.compare.sides import SETTINGS, Bench, Side


async def test_the_worker_carries_it_out_and_goes_on(clock: FakeClock, tmp_path: Path):
    sides = [Side(clock, "a"), Side(clock, "b", pace=0.03)]
    bench = Bench(clock, tmp_path, sides)
    queue, status = JobQueue(JobBook(clock), "bench"), WorkerStatus("bench")
    latest: Latest[BenchView] = Latest(clock, 0)
    worker = BenchWorker(
        sides,
        SETTINGS,
        queue=queue,
        latest=latest,
        publish=Publisher(EventBus(), clock, "bench"),
        clock=clock,
        comparer=bench.comparer,
    )
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run, Heartbeat(clock, status, anyio.Event()))
        job = queue.submit(compare_a="a", compare_b="b", pairs=4)
        later = queue.submit(endpoint="a")
        while not later.status.state.final:
            await clock.advance(0.5)
            await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()
    assert job.status.state is later.status.state is JobState.SUCCEEDED
    assert job.status.result["ttft_seconds.outcome"] == "slower"
    assert status.state is WorkerState.RUNNING
    assert bench.store.load(str(job.status.result["comparison"])).a.name == "a"
