"""Every engine over HTTP: read again and again it is used never, and a request at a time."""

from __future__ import annotations

from typing import Final

import pytest

from aiidpd.contracts.engines import Residency
from aiidpd.engines.all import profile_named
from aiidpd.engines.figures import EngineFigures, EngineReading, NotKnown
from aiidpd.engines.profile import EngineProfile, Facts, Start
from aiidpd.engines.reader import EngineReader
from tests.fakes.clock import FakeClock
from tests.fakes.engine_server import KINDS, EngineServer

READS: Final = 30
AWAKE: Final = Start(("llama-server", "-m", "x.gguf"))
IDLES: Final = Start((*AWAKE.arguments, "--sleep-idle-seconds", "60"))


class House:
    """An engine, and what reads it by a clock that each reading moves by five seconds."""

    def __init__(self, engine: EngineServer, facts: Facts | None = None, start: Start | None = None) -> None:
        self.clock = FakeClock()
        self.searched = 0
        self._start = start
        self.reader = EngineReader(
            "local", engine.url, facts=facts, find_start=self._find, monotonic=self.clock.monotonic
        )

    async def _find(self, _: EngineProfile) -> Start | None:
        self.searched += 1
        return self._start

    async def read(self, times: int = 1) -> EngineReading:
        for _ in range(times):
            reading = await self.reader.read()
            await self.clock.advance(5.0)
        return reading


def figures(reading: EngineReading) -> EngineFigures:
    assert isinstance(reading.figures, EngineFigures), reading
    return reading.figures


@pytest.mark.parametrize("kind", KINDS)
async def test_any_engine_is_found_out_and_used_never(kind: str) -> None:
    async with EngineServer(kind, "a", "b") as engine:
        house = House(engine)
        reading = await house.read(READS)
        assert reading.engine == kind.removesuffix("-router")
        assert reading.residency is Residency.LOADED
        assert (engine.uses, engine.wakes, engine.loads, engine.evictions, engine.drains) == (0, 0, 0, 0, 0)
        assert engine.most_in_flight == 1
        assert all(method == "GET" for method, _ in engine.requests)
        on_demand = kind in ("llama.cpp", "llama.cpp-router", "ollama", "llama-swap")
        assert reading.may_sleep is on_demand  # of a llama-server it is not known how it was started
        assert isinstance(reading.figures, NotKnown) is on_demand
        assert house.reader.load.requests == len(engine.requests)
        await house.reader.aclose()


@pytest.mark.parametrize("kind", ["vllm", "llama.cpp", "llama.cpp-router"])
async def test_one_that_sleeps_is_left_asleep(kind: str) -> None:
    async with EngineServer(kind) as engine:
        house = House(engine, start=IDLES)
        engine.sleep()
        reading = await house.read(READS)
        assert (reading.residency, reading.may_sleep) == (Residency.SLEEPING, True)
        assert (engine.uses, engine.wakes) == (0, 0)
        await house.reader.aclose()


@pytest.mark.parametrize("kind", ["ollama", "llama-swap", "llama.cpp-router"])
async def test_one_that_is_unloaded_stays_so_and_no_other_is_evicted(kind: str) -> None:
    async with EngineServer(kind, "a", "b") as engine:
        house = House(engine, Facts("b"))
        reading = await house.read(READS)
        assert reading.residency is Residency.UNLOADED
        assert (engine.uses, engine.loads, engine.evictions) == (0, 0, 0)
        await house.reader.aclose()


async def test_how_a_llama_server_was_started_is_searched_once_and_again_after_it_was_away() -> None:
    async with EngineServer("llama.cpp") as engine:
        house = House(engine, start=AWAKE)
        reading = await house.read(3)
        assert figures(reading).engine == "llama.cpp"
        assert (reading.may_sleep, house.searched) == (False, 1)
        await engine.die()
        reading = await house.read()
        assert (reading.residency, reading.may_sleep) == (Residency.UNKNOWN, False)
        house._start = IDLES
        await engine.revive()
        uses = engine.uses
        reading = await house.read(3)
        assert (reading.may_sleep, house.searched) == (True, 2)
        assert engine.uses == uses
        await house.reader.aclose()


async def test_a_counter_that_went_back_is_one_that_was_started_anew() -> None:
    async with EngineServer("llama.cpp", monotonic=(clock := FakeClock()).monotonic) as engine:
        house = House(engine, start=AWAKE)
        engine.serve(2)
        await clock.advance(10.0)
        assert figures(await house.read(2)).steps == 500
        await engine.die()
        house._start = IDLES
        await engine.revive()  # between two readings
        await house.read()
        reading = await house.read()
        assert (reading.may_sleep, house.searched) == (True, 2)
        await house.reader.aclose()


async def test_steps_move_with_each_token_of_a_long_generation_and_tokens_of_a_prefill_do_not() -> None:
    for kind in ("vllm", "llama.cpp", "sglang", "tgi"):
        async with EngineServer(kind, monotonic=(clock := FakeClock()).monotonic) as engine:
            house = House(engine, start=AWAKE)
            engine.prefill()
            before = figures(await house.read())
            await clock.advance(2.0)
            after = figures(await house.read())
            assert before.steps is not None
            assert after.steps is not None
            assert after.steps > before.steps
            assert after.generated_tokens == before.generated_tokens
            assert after.requests_running == 1
            engine.hang()
            before = figures(await house.read())
            await clock.advance(2.0)
            assert figures(await house.read()).steps == before.steps
            await house.reader.aclose()


async def test_loading_saturated_and_dead() -> None:
    async with EngineServer("llama.cpp") as engine:
        house = House(engine, start=AWAKE)
        await engine.load()
        reading = await house.read()
        assert reading.residency is Residency.UNKNOWN  # it could not even be found out which one it is
        assert reading.busy
        await engine.loaded()
        engine.saturate()
        found = figures(await house.read())
        assert (found.requests_running, found.requests_waiting) == (8, 100)
        assert found.longest_prompt_tokens == 200
        await engine.load()
        assert (await house.read()).residency is Residency.LOADING
        await engine.die()
        reading = await house.read()
        assert reading.residency is Residency.UNKNOWN
        assert isinstance(reading.figures, NotKnown)
        assert "connection refused" in reading.figures.reason
        await house.reader.aclose()


@pytest.mark.parametrize(
    ("kind", "version", "page"),
    [
        ("vllm", "0.11.0", "/version"),
        ("llama.cpp", "b11434-c3e6c38", ""),  # it has it on a page that is read anyway
        ("tgi", "3.3.6", "/info"),
        ("ollama", "0.30.0", ""),
        ("sglang", "", ""),
    ],
)
async def test_its_version_is_requested_once_in_its_life(kind: str, version: str, page: str) -> None:
    async with EngineServer(kind) as engine:
        house = House(engine)
        assert (await house.read(5)).version == version
        assert engine.requests.count(("GET", page)) == bool(page)
        assert engine.uses == 0
        await house.reader.aclose()


async def test_a_profile_that_is_given_stays() -> None:
    async with EngineServer("vllm") as engine:
        reader = EngineReader("local", engine.url, profile=profile_named("vllm"))
        assert (await reader.read()).engine == "vllm"
        assert engine.requests == [("GET", "/metrics"), ("GET", "/version")]
        await engine.die()
        assert (await reader.read()).engine == "vllm"
        await reader.aclose()
