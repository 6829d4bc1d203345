"""A monitor of one endpoint with everything around it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from aiidpd.components.bench.regression.circumstances import Value
from aiidpd.components.bench.regression.monitor import RegressionMonitor
from aiidpd.components.bench.regression.record import FILE, LIMIT, BenchRecords
from aiidpd.components.bench.stats import BenchSample
from aiidpd.components.bench.view import EndpointView
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.events import Event
from aiidpd.kernel.publisher import Publisher
from aiidpd.platform.statefile import StateFile
from bench.regression import INTERVAL
from tests.fakes.clock import FakeClock
from tests.unit.components.bench.regression.series import shifted

QUIET = shifted("iid", 1, 1.0, before=200, after=0)
SLOW = shifted("iid", 2, 0.9, before=0, after=12)  # with the last of those before, the first is enough


def sample(speed: float | None, first: float | None = 0.05) -> BenchSample:
    return BenchSample(
        ttft_seconds=first,
        time_per_output_token_seconds=None if speed is None else 1 / speed,
        output_tokens_per_second=speed,
        chunk_gap_p50_seconds=None,
        chunk_gap_p95_seconds=None,
        chunk_gap_max_seconds=None,
        total_seconds=1.0,
        chunks=10,
        prompt_tokens=100,
        output_tokens=64,
        cached_tokens=0,
        finish="length",
        engine=None,
        withheld=(),
    )


class Room:
    """A monitor, its events and conditions; ``known`` and ``gpu`` are the circumstances of the next probe."""

    def __init__(
        self, folder: Path, clock: FakeClock | None = None, conditions: Conditions | None = None
    ) -> None:
        self.clock = clock or FakeClock()
        self.events: list[Event] = []
        self.bus = EventBus()
        self.bus.attach(events=self.events.append, samples=lambda _: None)
        self.conditions = conditions or Conditions(self.clock, self.bus)
        self.known: dict[str, Value] = {"image": "vllm:1"}
        self.gpu = "H100"
        self.file = StateFile(folder / FILE, BenchRecords, limit=LIMIT)
        self.view = EndpointView("local", "http://127.0.0.1:8000", "m", simulated=False)
        self.monitor = RegressionMonitor(
            self.file,
            publish=Publisher(self.bus, self.clock, "bench"),
            conditions=self.conditions,
            clock=self.clock,
        )

    async def begin(self) -> None:
        await self.monitor.begin((self.view,))

    async def probe(self, *speeds: float | None) -> None:
        for speed in speeds:
            await self.clock.advance(INTERVAL)
            self.view = self.view.measured(self._sample(speed), self.clock.time(), self.clock.monotonic())
            self.monitor.measured(self.view)

    def _sample(self, speed: float | None) -> BenchSample:
        return replace(sample(speed), gpu=self.gpu, circumstances=self.known)

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events if event.kind.startswith("bench.")]

    def active(self) -> dict[str, str]:
        return {each.type: each.reason for each in self.conditions.active()}
