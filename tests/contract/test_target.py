"""Promises of every target, be it simulated, scripted or a real engine."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import pytest

from aiidpd.components.bench.schedule import request
from aiidpd.components.bench.settings import BenchSettings
from aiidpd.engines.openai import OpenAITarget
from aiidpd.engines.simulated import SimulatedTarget
from aiidpd.engines.target import Target
from aiidpd.kernel.clock import SystemClock
from tests.fakes import llama
from tests.fakes.inference import InferenceServer, steady
from tests.tables import made
from tests.waiting import PATIENCE

TOKENS = 8
PROMPT_TOKENS = 64
SETTINGS = made(BenchSettings, max_tokens=TOKENS, first_token_timeout=20, timeout=30)


@pytest.fixture(params=["simulated", "scripted", "llama"])
async def target(
    request: pytest.FixtureRequest, tmp_path: Path, missing: Callable[[str, str], None]
) -> AsyncIterator[Target]:
    if request.param == "simulated":
        yield SimulatedTarget(SystemClock(), seed=1)
    elif request.param == "scripted":
        async with InferenceServer(steady(TOKENS, first=0.02, each=0.005)) as server:
            yield OpenAITarget("scripted", server.url, "any")
    else:
        if llama.find_server() is None:
            missing("llama-server", llama.HOW_TO_GET)
        with llama.running(tmp_path) as served:
            yield OpenAITarget("llama", served.url, "tiny")


async def test_it_says_what_it_is(target: Target):
    assert target.name
    assert target.url
    assert target.model
    assert target.simulated == isinstance(target, SimulatedTarget)
    assert ("SIMULATED" in target.name + target.model) == target.simulated
    await target.aclose()


async def test_a_probe_records_what_arrives_in_order_and_within_its_bounds(target: Target):
    before = SystemClock().monotonic()
    timeline = await target.probe(request(SETTINGS, "nonce-1", PROMPT_TOKENS))
    after = SystemClock().monotonic()
    await target.aclose()

    arrivals = [chunk.at for chunk in timeline.chunks]
    moments = [before, timeline.started, *arrivals, timeline.ended, after]
    assert all(earlier <= later for earlier, later in itertools.pairwise(moments))
    assert timeline.started < arrivals[0]
    assert all(chunk.characters > 0 for chunk in timeline.chunks)
    assert timeline.output_tokens == TOKENS
    assert timeline.prompt_tokens is not None
    assert timeline.prompt_tokens > 0
    assert timeline.finish == "length"


async def test_it_can_be_probed_again_also_after_it_was_closed(target: Target):
    for nonce in ("a", "b"):
        assert (await target.probe(request(SETTINGS, nonce, PROMPT_TOKENS))).chunks
    await target.aclose()
    await target.aclose()
    assert (await target.probe(request(SETTINGS, "c", PROMPT_TOKENS))).chunks
    await target.aclose()


async def test_a_probe_that_is_cancelled_ends_at_once_and_harms_nothing(target: Target):
    with anyio.fail_after(PATIENCE):
        with anyio.move_on_after(0.001) as scope:
            await target.probe(request(SETTINGS, "d", PROMPT_TOKENS))
        assert scope.cancelled_caught
        assert (await target.probe(request(SETTINGS, "e", PROMPT_TOKENS))).chunks
    await target.aclose()
