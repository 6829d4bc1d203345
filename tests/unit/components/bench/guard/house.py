"""A guard of upgrades with made-up containers and engines, on a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from aiidpd.components.bench.alone.prober import AloneProber
from aiidpd.components.bench.guard import measures, run
from aiidpd.components.bench.guard.document import CriterionRecord, Upgrade
from aiidpd.components.bench.guard.guard import Guard
from aiidpd.components.bench.guard.options import Options
from aiidpd.components.bench.guard.run import GuardViews
from aiidpd.components.bench.guard.store import UpgradeStore
from aiidpd.components.bench.settings import BenchSettings
from aiidpd.contracts.containers import ContainerSummary, ContainersView
from aiidpd.contracts.engines import EngineState, EnginesView, Residency
from aiidpd.contracts.trials import (
    ImageFacts,
    ImageTrialRequested,
    ImageTrialState,
    ImageTrialsView,
    TrialPlan,
    TriedContainer,
    Wish,
)
from aiidpd.engines.target import ProbeRequest, Timeline
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.errors import Unavailable
from aiidpd.kernel.events import Event
from aiidpd.kernel.inbox import Messages
from aiidpd.kernel.jobs import Job, JobBook
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.task import Heartbeat, WorkerStatus
from tests.fakes.clock import FakeClock, settle
from tests.tables import made
from tests.unit.components.bench.compare.sides import Side

SETTINGS = made(BenchSettings, max_tokens=32)
URL = "http://127.0.0.1:80"
PLAN = TrialPlan(ImageFacts("llm:1", "sha256:1"), ImageFacts("llm:2", "sha256:2"), stop_grace=10.0)


class House:
    """Containers that do as it is wished, a second later, unless ``meddle`` changes their state."""

    def __init__(self, clock: FakeClock, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.clock = clock
        self.messages = Messages(clock)
        self.inbox = self.messages.inbox(ImageTrialRequested)
        self.events: list[Event] = []
        self.wishes: list[Wish] = []
        self.plan = PLAN
        self.states: dict[str, ImageTrialState] = {}
        self.problem = ""
        self.meddle: Callable[[ImageTrialState], ImageTrialState] = lambda state: state
        self.old, self.new = Side(clock, "old"), Side(clock, "new")
        self.criteria: tuple[CriterionRecord, ...] = ()
        self.users = 0
        self.figures = True
        self.store = UpgradeStore(folder / "upgrades")
        bus = EventBus()
        bus.attach(events=self.events.append)
        self.guard = Guard(
            self.store,
            messages=self.messages,
            trials=lambda: ImageTrialsView(tuple(self.states.values()), self.problem),
            gpus=lambda: None,
            endpoints=tuple,
            views=GuardViews(self._engines, self._containers, lambda: None),
            clock=clock,
            publish=Publisher(bus, clock, "bench"),
            prober=AloneProber(clock=clock, engines=self._engines, reads=lambda: None, running=set()),
        )
        patch.setattr(measures, "OpenAITarget", lambda name, url, *_, **__: _Target(self, name, url))
        patch.setattr(run, "accepted", self._accepted)

    @property
    def state(self) -> ImageTrialState | None:
        """State of the trial that goes on or has ended, None while there was none."""
        return next((each for key, each in self.states.items() if not key.startswith("plan-")), None)

    def side(self, url: str) -> Side:
        """Return whatever is at ``url`` now."""
        serving = self.state.serving if self.state else "old"
        return self.new if serving == "new" or url != URL else self.old

    async def upgrade(
        self, meanwhile: Callable[[], None] = lambda: None, **options: Any
    ) -> tuple[Job, Upgrade | None]:
        """Carry an upgrade out; return its job, and what is stored of it."""
        given = Options("llm", "llm:2", **{"settle": 5.0, "pairs": 8, "slower": 0.15, **options})
        job = JobBook(self.clock).open("bench", given.arguments())
        heartbeat = Heartbeat(self.clock, WorkerStatus("bench"), anyio.Event())

        async def work() -> None:
            with job.running():
                await self.guard.run(job, SETTINGS, heartbeat)

        async with anyio.create_task_group() as group:
            group.start_soon(work)
            while not job.status.state.final:
                await self.clock.advance(0.25)
                await anyio.sleep(0.0005)  # the disk is written in a thread
                self._act()
                meanwhile()
            await settle()
        stored = self.store.all()[0]
        return job, stored[-1] if stored else None

    def _act(self) -> None:
        for message in self.inbox.take():
            if not self.wishes or self.wishes[-1] is not message.wish:
                self.wishes.append(message.wish)
            known = self.states.get(message.trial) or ImageTrialState(
                message.trial, message.container, message.image, serving="old", old_id="c1"
            )
            if not known.ended:
                self.states[message.trial] = self._after(known, message.wish)
        for key, state in self.states.items():
            self.states[key] = self.meddle(state)

    def _after(self, state: ImageTrialState, wish: Wish) -> ImageTrialState:
        new = TriedContainer("c2", running=True, started_at="run")
        state = replace(state, wish=wish, plan=self.plan)
        if self.plan.refusal:
            return replace(state, wish=Wish.PLAN)
        match wish:
            case Wish.NEW:
                return replace(state, serving="new", new=new, stopped_seconds=1.0)
            case Wish.BESIDE:
                return replace(state, new=replace(new, addresses={8000: "127.0.0.1:4000"}))
            case Wish.KEEP:
                return replace(state, ended="kept")
            case Wish.BACK:
                return replace(state, serving="old", ended="returned")
        return replace(state, serving="old")

    def _engines(self) -> EnginesView:
        running = self.users if self.figures else None
        state = EngineState(
            "llm", "m", simulated=False, container="c1", url=URL, residency=Residency.LOADED,
            requests_running=running, requests_waiting=0 if self.figures else None,
            read=self.clock.monotonic(),
        )  # fmt: skip
        return EnginesView((state,))

    def _containers(self) -> ContainersView:
        summary = ContainerSummary(
            "c1", "llm", "llm:1", "running", None, gpu=True, running=True, addresses={8000: "127.0.0.1:80"}
        )
        return ContainersView((summary,))

    async def _accepted(self, *_: object) -> tuple[tuple[CriterionRecord, ...], str]:
        return self.criteria, ""


class _Target:
    simulated = False
    model = "m"

    def __init__(self, house: House, name: str, url: str) -> None:
        self._house, self.name, self.url = house, name, url

    async def probe(self, request: ProbeRequest) -> Timeline:
        state = self._house.state
        if state is not None and state.serving == "":
            raise Unavailable("measure", self.name, reason="connection refused")
        return await self._house.side(self.url).probe(request)

    async def aclose(self) -> None:
        """Nothing is open."""
