"""Two endpoints whose speeds and answers a test sets, and a job that compares them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel

from aiidpd.components.bench.alone.prober import AloneProber
from aiidpd.components.bench.compare.requests import ComparisonControl
from aiidpd.components.bench.compare.result import Comparison
from aiidpd.components.bench.compare.run import Comparer
from aiidpd.components.bench.compare.store import ComparisonStore
from aiidpd.components.bench.settings import BenchSettings
from aiidpd.contracts.engines import EngineState, EnginesView, Residency
from aiidpd.engines.target import Chunk, ProbeRequest, Timeline
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.errors import Unavailable
from aiidpd.kernel.events import Event
from aiidpd.kernel.jobs import Job, JobBook
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.task import Heartbeat, WorkerStatus
from tests.fakes.clock import FakeClock, settle
from tests.tables import made

SETTINGS = made(BenchSettings, max_tokens=32)


@dataclass
class Side:
    """An endpoint that answers at ``pace`` seconds a token with 2 % of noise, or ``fails``."""

    clock: FakeClock
    name: str
    pace: float = 0.02
    url: str = ""
    says: Callable[[ProbeRequest], str] = lambda request: "x" * request.max_tokens
    fails: str = ""
    cached: Callable[[ProbeRequest], int] = lambda _: 0
    simulated: bool = False
    model: str = "m"
    asked: list[ProbeRequest] = field(default_factory=list)
    chance: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        self.chance.seed(self.name)
        self.url = self.url or f"http://{self.name}"

    async def probe(self, request: ProbeRequest) -> Timeline:
        self.asked.append(request)
        if self.fails:
            raise Unavailable("measure", self.name, reason=self.fails)
        text, pace = self.says(request), self.pace * self.chance.lognormvariate(0, 0.02)
        started = self.clock.monotonic()
        first = started + 5 * pace
        chunks = tuple(Chunk(first + at * pace, 1, 1, 1, text=each) for at, each in enumerate(text))
        await self.clock.sleep(chunks[-1].at - started)
        tokens = len(text)
        return Timeline(started, chunks[-1].at, chunks, "length", 100, tokens, self.cached(request))

    async def aclose(self) -> None:
        """Nothing is open."""


class Bench:
    """A component's comparisons on a clock that the test moves."""

    def __init__(self, clock: FakeClock, folder: Path, sides: Sequence[Side]) -> None:
        self.clock = clock
        self.sides = sides
        self.events: list[Event] = []
        bus = EventBus()
        bus.attach(events=self.events.append)
        self.store = ComparisonStore(folder / "comparisons")
        self.control = ComparisonControl()
        self.view: EnginesView | None = None
        self.running: set[str] = set()
        self.nonces = iter(f"{number:016x}" for number in range(10_000))
        self.status = WorkerStatus("bench")
        self.comparer = Comparer(
            self.store,
            self.control,
            clock=clock,
            publish=Publisher(bus, clock, "bench"),
            prober=AloneProber(
                clock=clock, engines=lambda: self.view, reads=lambda: None, running=self.running
            ),
            nonce=lambda: next(self.nonces),
        )

    def engine(self, name: str, **more: Any) -> None:
        """Let the engine of the endpoint ``name`` be so, as read now."""
        idle: dict[str, Any] = {"residency": Residency.LOADED, "requests_running": 0, "requests_waiting": 0}
        state = EngineState(name, "m", simulated=False, read=self.clock.monotonic(), **(idle | more))
        known = [each for each in (self.view.engines if self.view else ()) if each.name != name]
        self.view = EnginesView((*known, state))

    def job(self, **arguments: str | float) -> Job:
        names = [each.name for each in self.sides]
        given = {"compare_a": names[0], "compare_b": names[-1], "seed": 1, **arguments}
        return JobBook(self.clock).open("bench", given)

    async def compare(
        self, job: Job, *, meanwhile: Callable[[], None] = lambda: None, settings: BenchSettings = SETTINGS
    ) -> Comparison | None:
        """Carry out ``job``, calling ``meanwhile`` each tenth of a second, and return the result."""
        targets = {each.name: each for each in self.sides}
        heartbeat = Heartbeat(self.clock, self.status, anyio.Event())

        async def run() -> None:
            with job.running():
                await self.comparer.run(job, targets, settings, heartbeat)

        async with anyio.create_task_group() as group:
            group.start_soon(run)
            while not job.status.state.final:
                await self.clock.advance(0.1)
                await anyio.lowlevel.checkpoint()  # the disk is read in a thread
                meanwhile()
            await settle()
        identity = job.status.result.get("comparison")
        return None if identity is None else self.store.load(str(identity))
