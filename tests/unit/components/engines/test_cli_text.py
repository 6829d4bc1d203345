"""Engines as text for people, in 80 columns and whatever the engines call themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import anyio

from aiidpd.api.route import Call
from aiidpd.cli.text import Paint
from aiidpd.components.engines.api import EnginesDocument, routes
from aiidpd.components.engines.cli_text import engine_details, engine_table
from aiidpd.components.engines.polls import Polls
from aiidpd.contracts.engines import EngineState, EnginesView, Residency, Verdict
from aiidpd.engines.figures import PollLoad
from aiidpd.kernel.reading import Reading
from aiidpd.kernel.task import WorkerStatus
from tests.documents import as_dict
from tests.fakes.clock import FakeClock

NARROW = Paint(width=80)
NOW = 1_800_000_130.0
WORKING = EngineState(
    "llama-70b",
    "llama-3.3-70b",
    simulated=False,
    engine="vllm",
    container="f" * 64,
    url="http://127.0.0.1:8000",
    residency=Residency.LOADED,
    requests_running=3,
    requests_waiting=12,
    steps=900,
    generated_tokens=12_345,
    prompt_tokens=678,
    generated_tokens_per_second=412.25,
    read_at=NOW - 3,
    read=1.0,
    verdict=Verdict.SATURATED,
    verdict_since=NOW - 300,
    verdict_reason="12 requests wait",
)
HUNG = replace(
    WORKING,
    name="hung",
    verdict=Verdict.HUNG,
    verdict_reason="3 requests run, and no step was made for 95 s",
    pending_since=40.0,
)
ASLEEP = EngineState(
    "asleep\x1b[2J" + "x" * 300,
    "m",
    simulated=False,
    engine="llama.cpp",
    residency=Residency.SLEEPING,
    may_sleep=True,
    read_at=NOW - 3,
    reason="its model is asleep",
    verdict=Verdict.SLEEPING,
    model_bytes=5 * 2**30,
    model_gpu_bytes=0,
)


def document(*states: EngineState) -> dict[str, Any]:
    clock, polls = FakeClock(), Polls()
    load = PollLoad()
    for second in (0, 60, 120):
        before = (load.requests, load.seconds, load.bytes)
        load.requests, load.seconds, load.bytes = load.requests + 12, load.seconds + 0.04, load.bytes + 20_000
        polls.of("llama-70b").add(float(second), before, load)
    polls.of("llama-70b").interval = 5.0
    (route,) = routes(
        lambda: Reading(EnginesView(states), NOW, 1.0), polls, clock, lambda: WorkerStatus("engines")
    )

    async def ask() -> EnginesDocument:
        await clock.advance(130.0)
        found = await route.handler(Call({}, None, None))
        assert isinstance(found, EnginesDocument)
        return found

    return as_dict(anyio.run(ask))


def test_the_table_fits_eighty_columns_and_what_is_wrong_stands_below() -> None:
    shown = document(WORKING, HUNG, ASLEEP)
    lines = engine_table(shown, NOW, NARROW)
    text = "\n".join(lines)
    assert max(len(line) for line in lines[:4]) <= 80
    assert "\x1b" not in text
    two = "\n".join(engine_table(document(WORKING, HUNG), NOW, NARROW))
    assert "saturated  loaded      3    12     412.2  3 s ago" in two
    assert "hung: hung: 3 requests run, and no step was made for 95 s" in text
    assert "its model is asleep" in text
    assert engine_table(document(), NOW, NARROW)[0].startswith("no engine was found")


def test_all_that_is_known_of_one() -> None:
    shown = document(WORKING, HUNG, ASLEEP)["engines"]
    lines = "\n".join(engine_details(shown[0], NOW, NARROW))
    assert "saturated, since 5 min ago" in lines
    assert "12 requests wait" in lines
    assert "each 5 s" in lines
    assert "a minute 16.6 requests" in lines
    assert "f" * 13 not in lines
    lines = "\n".join(engine_details(shown[1], NOW, NARROW))
    assert "one open for 90 s" in lines or "one open for 1.5 min" in lines
    lines = "\n".join(engine_details(shown[2], NOW, NARROW))
    assert "sleeping, 5.0 GiB, 0 B of it in the GPU's memory" in lines
    assert "yes: nothing that counts as use is sent to it" in lines
    assert "\x1b" not in lines
