"""Scheduled probes wait while a request to leave a GPU alone is in force."""

from __future__ import annotations

import anyio

from aiidpd.components.bench.settings import BenchSettings
from aiidpd.components.bench.worker import BenchWorker
from aiidpd.contracts.messages import BackOffEnded, BackOffMessage, BackOffRequested
from aiidpd.engines.simulated import SimulatedTarget
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.events import Event
from aiidpd.kernel.inbox import Messages
from aiidpd.kernel.jobs import JobBook, JobQueue, JobState
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.publisher import Publisher
from tests.fakes.clock import FakeClock, settle
from tests.heartbeat import heartbeat
from tests.tables import made

HOT = BackOffRequested(reason="it is hot", gpu="GPU-0", label="GPU 0", hold_seconds=600.0)


async def test_what_is_due_waits_and_what_somebody_asks_for_does_not(clock: FakeClock) -> None:
    bus, messages, measured = EventBus(), Messages(clock), list[Event]()
    bus.attach(events=lambda told: measured.append(told) if told.kind == "bench.measured" else None)
    queue = JobQueue(JobBook(clock), "bench")
    worker = BenchWorker(
        [SimulatedTarget(clock, name="local")],
        made(BenchSettings, interval=100.0),
        queue=queue,
        latest=Latest(clock, 1000.0),
        publish=Publisher(bus, clock, "bench"),
        clock=clock,
        back_offs=messages.inbox(BackOffMessage),
    )
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run, heartbeat(clock))
        await settle()
        await clock.advance(50)
        assert len(measured) == 1

        messages.send(HOT)
        await clock.advance(300)
        assert len(measured) == 1

        job = queue.submit()
        await clock.advance(20)
        assert job.status.state is JobState.SUCCEEDED
        assert len(measured) == 2

        messages.send(BackOffEnded(reason="it is cool", gpu="GPU-0"))
        await clock.advance(110)
        assert len(measured) == 3
        group.cancel_scope.cancel()
