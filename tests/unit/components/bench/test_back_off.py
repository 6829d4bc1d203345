"""Scheduled probes wait while somebody asks to leave a GPU alone."""

from __future__ import annotations

import anyio
import pytest

from aiidpd.components.bench.schedule import BenchPolicy
from aiidpd.components.bench.worker import BenchWorker
from aiidpd.contracts.backoff import BackOffs
from aiidpd.engines.simulated import SimulatedTarget
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.events import Event, Scalar
from aiidpd.kernel.jobs import JobBook, JobQueue, JobState
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.task import Heartbeat, WorkerStatus
from tests.fakes.clock import FakeClock, settle


def event(kind: str, subject: str = "GPU-0", **evidence: Scalar) -> Event:
    return Event(0.0, "thermal", kind, "it is hot", subject=subject, evidence=evidence)


def test_an_ask_holds_until_it_ends_or_runs_out() -> None:
    asks = BackOffs().hear(event("gpu.back_off", hold_seconds=60.0), 100.0)
    assert asks.hold(159.9)
    assert not asks.hold(160.0)
    assert not asks.hear(event("gpu.back_off_ended"), 101.0).hold(102.0)


def test_each_gpu_asks_for_itself() -> None:
    asks = BackOffs().hear(event("gpu.back_off", "GPU-0", hold_seconds=60.0), 0.0)
    asks = asks.hear(event("gpu.back_off", "GPU-1", hold_seconds=60.0), 0.0)

    assert asks.hear(event("gpu.back_off_ended", "GPU-0"), 1.0).hold(2.0)


@pytest.mark.parametrize("seconds", [None, "long", 1e9, True])
def test_no_ask_holds_for_ever(seconds: Scalar) -> None:
    asks = BackOffs().hear(event("gpu.back_off", hold_seconds=seconds), 0.0)

    assert asks.hold(1.0)
    assert not asks.hold(3600.0)


def test_other_events_change_nothing() -> None:
    assert BackOffs().hear(event("gpu.appeared"), 0.0) == BackOffs()


async def test_what_is_due_waits_and_what_somebody_asks_for_does_not(clock: FakeClock) -> None:
    bus, measured = EventBus(), []
    bus.attach(events=lambda told: measured.append(told) if told.kind == "bench.measured" else None)
    queue = JobQueue(JobBook(clock), "bench")
    worker = BenchWorker(
        [SimulatedTarget(clock, name="local")],
        BenchPolicy(interval=100.0),
        queue=queue,
        latest=Latest(clock, 1000.0),
        bus=bus,
        clock=clock,
    )
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run, Heartbeat(clock, WorkerStatus("bench"), anyio.Event()))
        await settle()
        await clock.advance(50)
        assert len(measured) == 1

        bus.publish(event("gpu.back_off", hold_seconds=600.0))
        await clock.advance(300)
        assert len(measured) == 1

        job = queue.submit()
        await clock.advance(20)
        assert job.status.state is JobState.SUCCEEDED
        assert len(measured) == 2

        bus.publish(event("gpu.back_off_ended"))
        await clock.advance(110)
        assert len(measured) == 3
        group.cancel_scope.cancel()
    assert bus.subscribers == 0
