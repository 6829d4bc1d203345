"""A real thermal worker on the fake NVML, beside a worker that only looks at the clock."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock import SystemClock
from aiidpd.kernel.events import Event
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.worker import Heartbeat, WorkerState, WorkerStatus
from aiidpd.workers.thermal.driver.child import NvmlLibrary
from aiidpd.workers.thermal.gpu import GpuReading, GpuSnapshot
from aiidpd.workers.thermal.hold import GpuHold
from aiidpd.workers.thermal.metrics import ThermalCollector
from aiidpd.workers.thermal.policy import ThermalPolicy
from aiidpd.workers.thermal.worker import ThermalWorker
from aiidpd.workers.thermal.xid import XidLedger
from tests.fakes.nvml import FakeNvml

CALL_TIMEOUT = 0.3
RECOVERS_WITHIN = 3.0
MAX_AGE = 3.0


def children() -> set[int]:
    """The processes whose parent is this one."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid():
            found.add(int(path.parent.name))
    return found


class GpuHouse:
    """What a test asks of the worker that runs, and of its neighbour."""

    def __init__(self, fake: FakeNvml, **options: Any) -> None:
        clock = SystemClock()
        self.fake = fake
        self.bus = EventBus()
        self.events: list[Event] = []
        self.bus.attach(events=self.events.append)
        self.latest: Latest[GpuSnapshot] = Latest(clock, max_age=MAX_AGE)
        self.ledger = XidLedger()
        self.hold = GpuHold(clock)
        self.status = WorkerStatus("thermal")
        self.neighbour = WorkerStatus("neighbour")
        self.longest_wait = 0.0
        self.library = NvmlLibrary(
            call_timeout=CALL_TIMEOUT,
            start_timeout=2.0,
            env=fake.env,
            ledger=self.ledger,
            **options,
        )
        self._clock = clock
        self._registry = CollectorRegistry()
        self._registry.register(ThermalCollector(self.latest, self.ledger))
        policy = ThermalPolicy(interval=0.05, retry_interval=0.05)
        self._worker = ThermalWorker(
            self.library, policy, self.latest, self.bus, clock, hold=self.hold, ledger=self.ledger
        )

    def gpus(self) -> tuple[GpuReading, ...]:
        """Return what is known now."""
        reading = self.latest.get()
        return reading.value.gpus if reading else ()

    def page(self) -> str:
        """Return what a scrape gives now."""
        return generate_latest(self._registry).decode()

    async def until(self, what: Callable[[], object], within: float = RECOVERS_WITHIN) -> float:
        """Wait until ``what`` holds; return after how many seconds it did."""
        started = time.monotonic()
        while not what():
            if time.monotonic() - started > within:
                pytest.fail(f"not within {within} s; the worker is {self.status.state}: {self.status.reason}")
            await anyio.sleep(0.01)
        return time.monotonic() - started

    async def until_degraded(self, because: str = "") -> str:
        """Wait until a pass failed because of ``because``; return the whole reason.

        A fault that comes in the middle of a reading shows in what is asked after it, first in that pass
        alone.
        """
        await self.until(lambda: self.status.state is WorkerState.DEGRADED and because in self.status.reason)
        return self.status.reason

    async def until_right(self, temperature: float, *uuids: str) -> float:
        """Wait until all is well and GPU 0 is at ``temperature``; return after how many seconds.

        It takes two readings: one that is under way while the state changes may tell half of each.
        """
        first: GpuSnapshot | None = None

        def right() -> bool:
            nonlocal first
            reading = self.latest.get()
            if (
                self.status.state is not WorkerState.RUNNING
                or reading is None
                or reading.value.gpus[0].temperature_celsius != temperature
                or (uuids and tuple(gpu.uuid for gpu in reading.value.gpus) != uuids)
            ):
                return False
            first = first or reading.value
            return reading.value is not first

        return await self.until(right)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run both workers for as long as the block does; the neighbour must not have noticed a thing."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._worker.run, Heartbeat(self._clock, self.status, anyio.Event()))
            group.start_soon(self._look_at_the_clock)
            try:
                yield
                assert self.neighbour.failed_passes == 0
                # A call that hangs hangs for ever here: a loop that waited for one would not have come back.
                # What is allowed is what a busy machine takes from any process.
                assert self.longest_wait < RECOVERS_WITHIN
            finally:
                group.cancel_scope.cancel()
        assert children() == set()

    @asynccontextmanager
    async def watching(self, temperature: float) -> AsyncIterator[None]:
        """As :meth:`running`, once GPU 0 was read at ``temperature``."""
        async with self.running():
            await self.until_right(temperature)
            yield

    async def _look_at_the_clock(self) -> None:
        heartbeat = Heartbeat(self._clock, self.neighbour, anyio.Event())
        while True:
            before = time.monotonic()
            with heartbeat.working():
                await anyio.sleep(0.01)
            self.longest_wait = max(self.longest_wait, time.monotonic() - before)
