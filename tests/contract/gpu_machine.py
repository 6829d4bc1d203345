"""A real thermal worker on the fake NVML, beside a worker that only reads the clock."""

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

from aiidpd.components.thermal.driver.client import NvmlLibrary
from aiidpd.components.thermal.gpu import GpuReading, GpuSnapshot
from aiidpd.components.thermal.maintenance import DriverMaintenance
from aiidpd.components.thermal.metrics import ThermalCollector
from aiidpd.components.thermal.settings import GpuSettings
from aiidpd.components.thermal.worker import ThermalWorker
from aiidpd.components.thermal.xid import XidLedger
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock import SystemClock
from aiidpd.kernel.events import Event
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.task import Heartbeat, WorkerState, WorkerStatus
from tests.fakes.nvml import FakeNvml
from tests.tables import made
from tests.waiting import PATIENCE, Stopwatch

# Bounds for where nothing hangs: what takes longer is a slow machine, not a fault.
UNHURRIED = {"call_timeout": 10.0, "start_timeout": 30.0, "grace": 10.0}
HANGS_AFTER = 0.9  # a call_timeout for where something does: that of the default configuration
RECOVERS_WITHIN = 3.0


def children() -> set[int]:
    """The processes that this one started in a session of their own, as an NVML process is."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        pid, (parent, _, session) = int(path.parent.name), map(int, fields[1:4])
        if parent == os.getpid() and session == pid:
            found.add(pid)
    return found


class GpuHouse:
    """A running worker and its neighbour, as a test reads them; ``options`` are the library's."""

    def __init__(self, fake: FakeNvml, **options: Any) -> None:
        clock = SystemClock()
        self.fake = fake
        self.bus = EventBus()
        self.events: list[Event] = []
        self.bus.attach(events=self.events.append)
        self.latest: Latest[GpuSnapshot] = Latest(clock, max_age=PATIENCE)
        self.ledger = XidLedger()
        self.maintenance = DriverMaintenance(clock)
        self.status = WorkerStatus("thermal")
        self.neighbour = WorkerStatus("neighbour")
        self.longest_wait = 0.0
        self.library = NvmlLibrary(env=fake.env, ledger=self.ledger, **(UNHURRIED | options))
        self._clock = clock
        self._registry = CollectorRegistry()
        self._registry.register(ThermalCollector(self.latest, self.ledger))
        settings = made(GpuSettings, interval=0.05)
        self._worker = ThermalWorker(
            self.library,
            settings,
            self.latest,
            Publisher(self.bus, clock, "thermal"),
            clock,
            maintenance=self.maintenance,
            ledger=self.ledger,
            retry_interval=0.05,
        )

    def gpus(self) -> tuple[GpuReading, ...]:
        """Return what is known now."""
        reading = self.latest.get()
        return reading.value.gpus if reading else ()

    def page(self) -> str:
        """Return what a scrape gives now."""
        return generate_latest(self._registry).decode()

    async def until(self, what: Callable[[], object]) -> None:
        """Wait until ``what`` holds."""
        waited = Stopwatch()
        while not what():
            if waited.seconds > PATIENCE:
                pytest.fail(f"it did not come about; the worker is {self.status.state}: {self.status.reason}")
            await anyio.sleep(0.01)

    async def until_degraded(self, because: str = "") -> str:
        """Wait until a pass failed because of ``because``; return the whole reason.

        A fault that comes in the middle of a reading shows in the calls after it, first in that pass
        alone.
        """
        await self.until(lambda: self.status.state is WorkerState.DEGRADED and because in self.status.reason)
        return self.status.reason

    async def until_right(self, temperature: float, *uuids: str) -> None:
        """Wait until all is well and GPU 0 is at ``temperature``.

        It takes two readings: one that is under way while the state changes may have half of each.
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
                first = None
                return False
            first = first or reading.value
            return reading.value is not first

        await self.until(right)

    async def until_recovered(self, temperature: float, *uuids: str) -> None:
        """As :meth:`until_right`, which must be so in the time that is promised once a cause is gone."""
        since = Stopwatch()
        await self.until_right(temperature, *uuids)
        assert since.within(RECOVERS_WITHIN)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run both workers for as long as the block does; the neighbour must not have noticed a thing."""
        since = Stopwatch()
        async with anyio.create_task_group() as group:
            group.start_soon(self._worker.run, Heartbeat(self._clock, self.status, anyio.Event()))
            group.start_soon(self._look_at_the_clock)
            try:
                yield
                assert self.neighbour.failed_passes == 0
                # A call that hangs hangs for ever here: a loop that waited for one would not have come back.
                assert self.neighbour.passes > 0
                assert since.within(RECOVERS_WITHIN, self.longest_wait)
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
