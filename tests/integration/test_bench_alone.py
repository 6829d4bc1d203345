"""Measurements of a real llama.cpp server beside users: ended for them, proven alone, with circumstances."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from aiidpd.api.client import ControlClient
from aiidpd.components.bench.alone import prober as module
from aiidpd.components.bench.alone.prober import AloneProber, Busy, Disturbed
from aiidpd.components.bench.drops import Drop, Dropped
from aiidpd.components.bench.measurer import Measurer
from aiidpd.components.bench.schedule import request
from aiidpd.components.bench.settings import BenchSettings
from aiidpd.components.engines.discovery import FoundEngine
from aiidpd.components.engines.fresh import FreshReads
from aiidpd.components.engines.worker import EnginePoller
from aiidpd.contracts.engines import EngineState, EnginesView
from aiidpd.contracts.probes import ProbesView
from aiidpd.engines.all import profile_named
from aiidpd.engines.answer import AnswerReader
from aiidpd.engines.openai import OpenAITarget
from aiidpd.engines.profile import Facts
from aiidpd.engines.reader import EngineReader
from aiidpd.engines.target import Chunk, ProbeRequest
from aiidpd.kernel.clock import SystemClock
from aiidpd.kernel.latest import Latest
from tests.daemon import running
from tests.fakes import llama
from tests.fakes.nvml import FakeNvml, shape
from tests.fakes.shared_servers import shared_llama
from tests.heartbeat import heartbeat
from tests.tables import made
from tests.waiting import PATIENCE, eventually, until

pytestmark = pytest.mark.real("llama")

LONG = ProbeRequest("tell", 6000, PATIENCE, 2 * PATIENCE)  # 6 s at the very least
SETTINGS = made(BenchSettings, max_tokens=64, first_token_timeout=PATIENCE, timeout=2 * PATIENCE)


server = shared_llama(layers=8, width=256)
"""A server that takes about a millisecond a token."""


@pytest.fixture
def fresh_server(tmp_path: Path, missing: Callable[[str, str], None]) -> Iterator[llama.LlamaServer]:
    """A server that has answered nothing yet."""
    if llama.find_server() is None:
        missing("llama-server", llama.HOW_TO_GET)
    with llama.running(tmp_path, layers=8, width=256) as served:
        yield served


class House:
    """A server, what polls it, and what measures it."""

    def __init__(self, server: llama.LlamaServer) -> None:
        self.clock = SystemClock()
        self.url = server.url
        self.latest: Latest[EnginesView] = Latest(self.clock, float("inf"))
        self.fresh = FreshReads()
        self.running: set[str] = set()
        self.target = OpenAITarget("llama", server.url, "tiny")
        self.nonces = iter(f"{number:04x}{time.monotonic_ns():x}" for number in range(1000))
        self.prober = AloneProber(
            clock=self.clock, engines=self._engines, reads=lambda: self.fresh, running=self.running
        )

    def measurer(self, settings: BenchSettings = SETTINGS) -> Measurer:
        return Measurer(self.prober, settings, clock=self.clock, nonce=lambda: next(self.nonces))

    def _engines(self) -> EnginesView | None:
        reading = self.latest.get()
        return reading.value if reading else None

    def _source(self, _: FoundEngine) -> EngineReader:
        facts = Facts("tiny", may_sleep=False)
        return EngineReader("llama", self.url, profile=profile_named("llama.cpp"), facts=facts)

    async def state(self) -> EngineState:
        found = await self.prober.state("llama")
        assert found is not None
        return found

    @asynccontextmanager
    async def polled(self) -> AsyncIterator[None]:
        poller = EnginePoller(
            lambda: (FoundEngine("llama", "tiny"),),
            self._source,
            3600.0,  # so that whatever is known in time was read at once
            latest=self.latest,
            probes=lambda: ProbesView((), frozenset(self.running)),
            clock=self.clock,
            fresh=self.fresh,
        )
        async with anyio.create_task_group() as group:
            group.start_soon(poller.run, heartbeat(self.clock))
            await eventually(self._polled, bool)
            yield
            group.cancel_scope.cancel()
        await self.target.aclose()

    async def _polled(self) -> bool:
        state = self.prober.polled("llama")
        return state is not None and state.read is not None


class User(threading.Thread):
    """Somebody who asks once; ``answer`` is what they got."""

    def __init__(self, url: str, tokens: int = 4) -> None:
        super().__init__(daemon=True)
        self._url = f"{url}/v1/chat/completions"
        self._tokens = tokens
        self.answer: Any = None

    def run(self) -> None:
        document = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": self._tokens}
        headers = {"Content-Type": "application/json"}
        asked = urllib.request.Request(self._url, json.dumps(document).encode(), headers)
        with urllib.request.urlopen(asked, timeout=PATIENCE) as answer:
            self.answer = json.load(answer)


def watched_feed(monkeypatch: pytest.MonkeyPatch, arrivals: list[float]) -> None:
    """Have the arrival of each of our chunks noted."""
    feed = AnswerReader.feed

    def noting(reader: AnswerReader, data: bytes, at: float, waited: float, *, stamped: bool) -> list[Chunk]:
        found = feed(reader, data, at, waited, stamped=stamped)
        arrivals.extend(each.at for each in found)
        return found

    monkeypatch.setattr(AnswerReader, "feed", noting)


async def test_a_user_who_comes_ends_our_request_and_is_answered(
    server: llama.LlamaServer, monkeypatch: pytest.MonkeyPatch
):
    """The server has one slot: as long as ours runs, no user is served."""
    house, arrivals = House(server), list[float]()
    watched_feed(monkeypatch, arrivals)
    user = User(server.url)

    ended: list[Disturbed] = []

    async def probe() -> None:
        try:
            await house.prober.send(house.target, LONG)
        except Disturbed as error:
            ended.append(error)

    async def arrived() -> int:
        return len(arrivals)

    async with house.polled():
        async with anyio.create_task_group() as group:
            group.start_soon(probe)
            await eventually(arrived, lambda count: count >= 20)
            came = time.monotonic()
            user.start()
        assert "it serves 1 request of others since" in str(ended[0])
        await anyio.to_thread.run_sync(user.join, PATIENCE)
        assert user.answer["usage"]["completion_tokens"] == 4
        assert len(arrivals) < LONG.max_tokens
    after = [each for each in arrivals if each > came]
    late = 1e3 * (arrivals[-1] - came)
    print(f"{len(after)} of our tokens came after the user, the last {late:.1f} ms after")  # noqa: T201


async def test_nothing_is_sent_while_users_are_served(server: llama.LlamaServer):
    house, user = House(server), User(server.url, tokens=3000)
    async with house.polled():
        user.start()
        await eventually(house.state, lambda state: state.requests_running)
        with pytest.raises(Busy, match="it serves 1 request of others"):
            await house.prober.send(house.target, LONG)
        await anyio.to_thread.run_sync(user.join, PATIENCE)


async def test_the_counters_prove_that_nobody_else_was_served_or_that_somebody_was(
    server: llama.LlamaServer, monkeypatch: pytest.MonkeyPatch
):
    house = House(server)
    async with house.polled():
        sample = await house.measurer().measure(house.target, lambda: None)
        assert (sample.alone, sample.alone_reason) == (True, "")

        # Somebody who came and went between two readings is seen by nothing but the counters.
        probe = house.target.probe

        async def beside(request: ProbeRequest) -> Any:
            timeline = await probe(request)
            user = User(server.url)
            user.start()
            await anyio.to_thread.run_sync(user.join, PATIENCE)
            return timeline

        monkeypatch.setattr(module, "pause", lambda _: PATIENCE)
        monkeypatch.setattr(house.target, "probe", beside)
        with pytest.raises(Dropped, match="it generated 4 tokens more than those of ours") as dropped:
            await house.measurer().measure(house.target, lambda: None)
        assert dropped.value.label is Drop.SHARED


async def test_the_first_request_is_cold_and_the_one_that_counts_is_warm(fresh_server: llama.LlamaServer):
    house = House(fresh_server)
    async with house.polled():
        first = await house.measurer().measure(house.target, lambda: None)
        assert first.warm
        assert first.cold_reason == "the engine had answered nothing since its start"
        assert first.cold_ttft_seconds
        assert (await house.state()).generated_tokens == SETTINGS.max_tokens + 8
        # The poller, which polls once an hour here, has not seen it at work: what it knows is the same.
        assert first.output_tokens == SETTINGS.max_tokens


async def test_a_cached_prompt_does_not_count(server: llama.LlamaServer):
    house = House(server)
    house.nonces = iter(["same"] * 100)
    async with house.polled():
        await house.prober.send(house.target, request(SETTINGS, "same"))
        with pytest.raises(Dropped, match="the prefix cache answered") as dropped:
            await house.measurer().measure(house.target, lambda: None)
        assert dropped.value.label is Drop.CACHED


def test_a_sample_has_its_circumstances_and_a_throttled_one_says_so(
    fresh_server: llama.LlamaServer, fake_nvml: FakeNvml, tmp_path: Path
):
    """The server, the daemon and its child that loads NVML are real; NVML itself is made up, by the test."""
    fake_nvml.install(shape("rtx_3090"))
    endpoint = f'[{{name = "llama", url = "{fresh_server.url}", model = "tiny"}}]'
    settings = {
        "AIIDPD_BENCH__ENDPOINTS": endpoint,
        "AIIDPD_BENCH__INTERVAL": "7d",
        "AIIDPD_BENCH__MAX_TOKENS": "2000",  # long enough for a reading of the GPU to fall into it
        "AIIDPD_ENGINES__INTERVAL": "1s",
        "AIIDPD_ENGINES__SERVERS": f'[{{name = "llama", url = "{fresh_server.url}", may_sleep = "no"}}]',
        "AIIDPD_GPU__LIBRARY": "nvml",
        **fake_nvml.env,
    }
    with running(tmp_path, settings) as daemon:
        daemon.wait_for("aiidpd_bench_ttft_seconds", "aiidpd_gpu_temperature_celsius")
        with ControlClient(str(daemon.folder / "run" / "control.sock")) as client:

            def measured() -> Any:
                (found,) = client.get("/v1/bench/results")["endpoints"]
                return found

            def by_hand() -> Any:
                client.post("/v1/bench/runs", {})
                probes = measured()["probes"]
                until(
                    lambda: measured()["probes"] > probes, why=lambda: (tmp_path / "log").read_text()[-3000:]
                )
                return measured()["sample"]

            known = by_hand()["circumstances"]
            assert known["engine"] == "llama.cpp"
            assert known["hottest GPU in C"] == 61
            assert known["driver"]
            assert known["kernel"]
            assert known["throttled"] == "no"
            assert known["PCIe lanes of GPU 0"] == 16
            assert known["lowest SM clock in MHz"] == 1815
            fake_nvml.install(shape("rtx_3090", temperature=80, clock_event_bits="0x40"))
            sample = by_hand()
            assert sample["circumstances"]["hottest GPU in C"] == 80
            assert "because of heat" in sample["throttled"]
            assert "aiidpd_bench_throttled" in daemon.exposition()


async def test_the_acceptance_of_a_draft_model_is_the_engine_s_own(
    tmp_path: Path, missing: Callable[[str, str], None]
):
    """The draft model has the same weights, so that most of what it proposes is accepted."""
    if llama.find_server() is None:
        missing("llama-server", llama.HOW_TO_GET)
    draft = tmp_path / "draft.gguf"
    llama.make_model(draft, layers=8, width=256)
    options = ("--model-draft", str(draft), "--spec-type", "draft-simple")
    with llama.running(tmp_path, *options, layers=8, width=256) as server:
        house = House(server)
        async with house.polled():
            sample = await house.measurer().measure(house.target, lambda: None)
    assert sample.speculative_acceptance_ratio is not None
    assert 0.5 < sample.speculative_acceptance_ratio <= 1
