"""A real llama-server that sleeps, or loads on demand: a day of watching and probing leaves it alone."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from aiidpd.components.bench.schedule import max_age
from aiidpd.components.bench.settings import BenchSettings
from aiidpd.components.bench.view import BenchView
from aiidpd.components.bench.worker import BenchWorker
from aiidpd.components.engines.discovery import FoundEngine
from aiidpd.components.engines.polls import Polls
from aiidpd.components.engines.processes import find_start
from aiidpd.components.engines.worker import EnginePoller
from aiidpd.contracts.engines import EngineState, EnginesView, Residency
from aiidpd.contracts.probes import ProbesView
from aiidpd.engines.openai import OpenAITarget
from aiidpd.engines.profile import EngineProfile, Facts, Start
from aiidpd.engines.reader import EngineReader
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.jobs import JobBook, JobQueue, JobState
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.publisher import Publisher
from tests.fakes import llama
from tests.forms import short_and_long
from tests.heartbeat import heartbeat
from tests.tables import made
from tests.waiting import PATIENCE, eventually

pytestmark = pytest.mark.real("llama")

FASTER = 1440.0  # a day in a minute
HOUR = 3600.0
SETTINGS = made(
    BenchSettings, interval=900.0, first_token_timeout=PATIENCE, timeout=2 * PATIENCE, max_tokens=8
)


class FastClock:
    """The machine's clock, so many times as fast."""

    def __init__(self, factor: float) -> None:
        self._factor = factor
        self._began = time.monotonic()

    def monotonic(self) -> float:
        return (time.monotonic() - self._began) * self._factor

    def boottime(self) -> float:
        return self.monotonic()

    def time(self) -> float:
        return 1_800_000_000.0 + self.monotonic()

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds / self._factor)


class Watched:
    """Engines at one server that are polled, and whose endpoints are probed, as the daemon does it."""

    def __init__(self, server: llama.LlamaServer, *models: str) -> None:
        self.clock = FastClock(FASTER)
        self.engines = tuple(FoundEngine(model, model, server.url) for model in models)
        self.latest: Latest[EnginesView] = Latest(self.clock, float("inf"))
        self.bench: Latest[BenchView] = Latest(self.clock, max_age(SETTINGS))
        self.polls = Polls()
        self.queue = JobQueue(JobBook(self.clock), "bench")
        self.poller = EnginePoller(
            lambda: self.engines,
            self._reader,
            5.0,
            latest=self.latest,
            probes=ProbesView,
            clock=self.clock,
            polls=self.polls,
        )
        self.prober = BenchWorker(
            [OpenAITarget(model, server.url, model) for model in models],
            SETTINGS,
            queue=self.queue,
            latest=self.bench,
            publish=Publisher(EventBus(), self.clock, "bench"),
            clock=self.clock,
            engines=self._view,
        )

    def _reader(self, engine: FoundEngine) -> EngineReader:
        async def find(profile: EngineProfile) -> Start | None:
            return await anyio.to_thread.run_sync(find_start, profile, engine.url)

        facts = Facts(engine.model)
        return EngineReader(
            engine.name, engine.url, facts=facts, find_start=find, monotonic=self.clock.monotonic
        )

    def _view(self) -> EnginesView | None:
        reading = self.latest.get()
        return reading.value if reading else None

    async def state(self, name: str) -> EngineState:
        found = self._view()
        return (found and found.engine(name)) or EngineState(name, name, simulated=False)

    def left_out(self, name: str) -> str:
        reading = self.bench.get()
        endpoint = reading.value.endpoint(name) if reading else None
        assert endpoint is not None
        assert endpoint.error == ""
        return endpoint.left_out

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with anyio.create_task_group() as group:
            group.start_soon(self.poller.run, heartbeat(self.clock))
            group.start_soon(self.prober.run, heartbeat(self.clock))
            yield
            group.cancel_scope.cancel()


@pytest.fixture(autouse=True)
def _there_is_one(missing: Callable[[str, str], None]) -> None:
    if llama.find_server() is None:
        missing("llama-server", llama.HOW_TO_GET)


@short_and_long("hours", 4, 24)
async def test_one_that_sleeps_when_idle_falls_asleep_and_is_not_woken_but_by_a_person(
    tmp_path: Path, hours: float
) -> None:
    with llama.running(tmp_path, "--sleep-idle-seconds", "2") as server:
        watched = Watched(server, "tiny")
        async with watched.running():
            await eventually(
                lambda: watched.state("tiny"), lambda state: state.residency is Residency.SLEEPING
            )
            began = watched.polls.of("tiny").requests
            await watched.clock.sleep(hours * HOUR)
            asked = watched.polls.of("tiny").requests - began
            state = await watched.state("tiny")
            assert (state.residency, state.may_sleep, state.engine) == (Residency.SLEEPING, True, "llama.cpp")
            assert watched.left_out("tiny") == "its model is asleep"
            assert (server.sleeps, server.wakes) == (1, 0)
            assert asked >= 12 * hours
            job = watched.queue.submit()
            await eventually(lambda: _state(job), lambda found: found.final)
            assert job.status.state is JobState.SUCCEEDED, job.status.error
            assert server.wakes == 1
            await eventually(
                lambda: watched.state("tiny"), lambda state: state.residency is Residency.SLEEPING
            )
            assert (server.sleeps, server.wakes) == (2, 1)


@short_and_long("hours", 4, 24)
async def test_models_that_a_router_loads_on_demand_are_neither_loaded_nor_evicted(
    tmp_path: Path, hours: float
) -> None:
    with llama.router(tmp_path, "a", "b", options=("--models-max", "1")) as server:
        watched = Watched(server, "a", "b")
        async with watched.running():
            for name in ("a", "b"):
                await eventually(
                    lambda name=name: watched.state(name), lambda state: state.residency is Residency.UNLOADED
                )
            await watched.clock.sleep(hours / 2 * HOUR)
            assert (server.loads, server.evictions) == (0, 0)
            assert watched.left_out("a") == "its model is not loaded"
            await anyio.to_thread.run_sync(complete, server.url, "a")
            await eventually(lambda: watched.state("a"), lambda state: state.residency is Residency.LOADED)
            await watched.clock.sleep(hours / 2 * HOUR)
            assert (server.loads, server.evictions) == (1, 0)
            assert (await watched.state("a")).residency is Residency.LOADED
            assert (await watched.state("b")).residency is Residency.UNLOADED
            assert watched.left_out("a").startswith("its model may go to sleep or be unloaded")


async def test_steps_move_with_each_token_and_with_each_batch_of_a_prompt(tmp_path: Path) -> None:
    with llama.running(tmp_path, "--batch-size", "64", layers=8, width=256) as server:
        watched = Watched(server, "tiny")
        watched.prober = BenchWorker(
            [],
            SETTINGS,
            queue=watched.queue,
            latest=watched.bench,
            publish=Publisher(EventBus(), watched.clock, "bench"),
            clock=watched.clock,
        )
        async with watched.running():
            first = await eventually(lambda: watched.state("tiny"), lambda state: state.steps is not None)
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.to_thread.run_sync, complete, server.url, "tiny", "hi", 1500)
                before = await eventually(lambda: watched.state("tiny"), lambda state: state.requests_running)
                after = await eventually(
                    lambda: watched.state("tiny"), lambda state: (state.steps or 0) > (before.steps or 0)
                )
                assert after.generated_tokens == before.generated_tokens == first.generated_tokens
            async with anyio.create_task_group() as group:
                prompt = "many words " * 300
                group.start_soon(anyio.to_thread.run_sync, complete, server.url, "tiny", prompt, 2)
                before = await eventually(
                    lambda: watched.state("tiny"), lambda state: (state.longest_prompt_tokens or 0) > 64
                )
                assert before.requests_running == 1


async def _state(job: Any) -> JobState:
    state: JobState = job.status.state
    return state


def complete(url: str, model: str, prompt: str = "hi", tokens: int = 4) -> Any:
    """Do as a user does."""
    messages = [{"role": "user", "content": prompt}]
    document = {"model": model, "messages": messages, "max_tokens": tokens}
    request = urllib.request.Request(
        f"{url}/v1/chat/completions", json.dumps(document).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=2 * PATIENCE) as answer:
        return json.load(answer)
