"""Promises of every engine that has a page of its own, be it simulated, scripted or a real one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest
from aiohttp import web

from aiidpd.components.bench.schedule import request
from aiidpd.components.bench.settings import BenchSettings
from aiidpd.contracts.engines import Residency
from aiidpd.engines.figures import EngineFigures, EngineSource
from aiidpd.engines.openai import OpenAITarget
from aiidpd.engines.profile import Facts
from aiidpd.engines.reader import EngineReader
from aiidpd.engines.simulated import SimulatedEngine, SimulatedTarget
from aiidpd.engines.target import Target
from aiidpd.kernel.clock import SystemClock
from tests.fakes import llama
from tests.fakes.engine_pages import vllm
from tests.fakes.inference import InferenceServer, steady
from tests.tables import made

TOKENS = 8
PROMPT_TOKENS = 64
SETTINGS = made(BenchSettings, max_tokens=TOKENS, first_token_timeout=20, timeout=30)


@dataclass
class Engine:
    """An endpoint, its engine, and whether what it tells follows what it is asked."""

    target: Target
    source: EngineSource
    follows: bool = True


@pytest.fixture(params=["simulated", "scripted", "llama"])
async def engine(
    request: pytest.FixtureRequest, tmp_path: Path, missing: Callable[[str, str], None]
) -> AsyncIterator[Engine]:
    if request.param == "simulated":
        made_up = SimulatedTarget(SystemClock(), seed=1)
        # Its users grow the counters; that they are its target's own would be a secret shared by components.
        yield Engine(made_up, SimulatedEngine(SystemClock()), follows=False)
    elif request.param == "scripted":
        async with InferenceServer(steady(TOKENS, first=0.02, each=0.005)) as server:
            server.page = web.Response(text=vllm())
            found = OpenAITarget("scripted", server.url, "any")
            yield Engine(found, EngineReader("scripted", server.url), follows=False)
            await found.aclose()
    else:
        if llama.find_server() is None:
            missing("llama-server", llama.HOW_TO_GET)
        with llama.running(tmp_path) as served:
            found = OpenAITarget("llama", served.url, "tiny")
            awake = Facts(may_sleep=False)
            yield Engine(found, EngineReader("llama", served.url, facts=awake))
            await found.aclose()


async def look(engine: Engine) -> EngineFigures:
    reading = await engine.source.read()
    assert reading.residency is Residency.LOADED
    assert isinstance(reading.figures, EngineFigures), reading
    return reading.figures


async def test_it_says_who_it_is_and_every_figure(engine: Engine) -> None:
    found = await look(engine)
    await engine.source.aclose()
    assert found.engine
    assert ("SIMULATED" in found.engine) == engine.target.simulated
    for figure in ("requests_running", "requests_waiting", "generated_tokens", "prompt_tokens", "steps"):
        count = getattr(found, figure)
        assert isinstance(count, int)
        assert count >= 0
    assert found.uncounted_tokens is not None
    assert (found.uncounted_tokens == 0) == (found.requests_running == 0)


async def test_its_counters_grow_by_what_was_generated_and_never_fall(engine: Engine) -> None:
    before = await look(engine)
    await engine.target.probe(request(SETTINGS, "nonce", PROMPT_TOKENS))
    after = await look(engine)
    await engine.source.aclose()
    assert before.generated_tokens is not None
    assert after.generated_tokens is not None
    assert before.prompt_tokens is not None
    assert after.prompt_tokens is not None
    assert after.generated_tokens >= before.generated_tokens
    assert after.prompt_tokens >= before.prompt_tokens
    assert after.steps is not None
    assert before.steps is not None
    assert after.steps >= before.steps
    if engine.follows:
        assert after.generated_tokens - before.generated_tokens == TOKENS
        assert after.prompt_tokens > before.prompt_tokens
        assert after.steps > before.steps


async def test_it_can_be_read_again_also_after_it_was_closed_and_after_a_cancellation(engine: Engine) -> None:
    await look(engine)
    await engine.source.aclose()
    await engine.source.aclose()
    with anyio.move_on_after(0):
        await engine.source.read()
    await look(engine)
    await engine.source.aclose()
