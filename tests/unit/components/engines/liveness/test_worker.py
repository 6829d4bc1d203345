"""The task that forms verdicts: what it shows, reports, requests and remembers."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from aiidpd.components.engines.liveness.history import EngineHistories, EngineHistory
from aiidpd.components.engines.liveness.memory import NAME, LivenessMemory
from aiidpd.components.engines.liveness.metrics import LivenessCollector
from aiidpd.components.engines.liveness.worker import HOLD_SECONDS
from aiidpd.components.engines.settings import LivenessSettings
from aiidpd.contracts.engines import Residency, Verdict
from aiidpd.contracts.messages import BackOffRequested, Cure
from aiidpd.contracts.probes import ProbedEndpoint, ProbesView
from aiidpd.kernel.reading import Reading
from aiidpd.platform.statefile import StateFile
from tests.fakes.clock import FakeClock
from tests.tables import made
from tests.unit.components.engines.liveness.room import ID, Room, working


@pytest.fixture
def room(clock: FakeClock, tmp_path: Path) -> Room:
    return Room(clock, tmp_path)


async def test_a_hung_engine_is_reported_and_healed_until_it_is_well(room: Room) -> None:
    room.works()
    async with working(room):
        await room.clock.advance(60)
        assert room.verdict() is Verdict.WORKING
        assert room.active() == set()
        room.hangs()
        await room.clock.advance(30)
        assert room.verdict() is Verdict.HUNG
        assert room.active() == {"engine_hung"}
        assert room.kinds() == ["engine.hung"]
        (hung,) = room.said
        await room.clock.advance(20)
        heals = room.heals.take()
        assert len(heals) >= 4
        assert heals[0].event_id == hung.id
        assert (heals[0].container, heals[0].name, heals[0].fault) == (ID, "llm", "engine_hung")
        assert (heals[0].cure, heals[0].hold_seconds) == (Cure.RESTART, HOLD_SECONDS)
        assert "no decode step" in heals[0].reason
        assert heals[0].evidence["steps"] == heals[1].evidence["steps"]
        gaps = [later.sent_at - earlier.sent_at for earlier, later in pairwise(heals)]
        assert max(gaps) < HOLD_SECONDS
        room.works()
        await room.clock.advance(30)
        assert room.active() == set()
        assert room.kinds() == ["engine.hung", "engine.recovered"]
        assert room.heals.take() == []


async def test_what_is_only_stalled_is_reported_and_not_healed(room: Room) -> None:
    room.works()
    async with working(room):
        await room.clock.advance(30)
        room.rate = 0
        await room.clock.advance(400)
        assert room.verdict() is Verdict.STALLED
        assert room.active() == {"engine_stalled"}
        assert room.kinds() == ["engine.stalled"]
        assert room.heals.take() == []


async def test_an_idle_engine_is_sent_one_token_at_its_interval(room: Room) -> None:
    async with working(room):
        await room.clock.advance(290)
        assert room.target.requests == []
        await room.clock.advance(15)
        assert [each.max_tokens for each in room.target.requests] == [1]
        await room.clock.advance(3000)
        assert len(room.target.requests) == 11
        assert room.target.closed == 11
        assert room.verdicts.checks == {"answered": 11}
        assert room.verdict() is Verdict.IDLE


async def test_a_check_that_is_missed_is_repeated_with_more_time_before_it_counts(room: Room) -> None:
    room.target.takes = 1e6
    async with working(room):
        await room.clock.advance(345)
        assert room.verdict() is Verdict.IDLE
        assert len(room.target.requests) == 2
        assert room.target.requests[1].timeout == 2 * room.target.requests[0].timeout
        await room.clock.advance(60)
        assert room.verdict() is Verdict.HUNG
        assert "two completions of one token" in room.verdicts.all()[0][1].reason
        room.target.takes = 0.1
        await room.clock.advance(320)
        assert room.verdict() is Verdict.IDLE


async def test_a_refusal_is_an_answer(room: Room) -> None:
    room.target.fails = True
    async with working(room):
        await room.clock.advance(1000)
        assert room.verdicts.checks == {"error": 3}
        assert room.verdict() is Verdict.IDLE


@pytest.mark.parametrize("why", ["sleeps", "back off", "probed", "switched off", "works"])
async def test_no_check_is_sent_when_it_must_not(room: Room, why: str) -> None:
    if why == "sleeps":
        room.engine["may_sleep"] = True
    elif why == "probed":
        room.probes = ProbesView((ProbedEndpoint("llama", simulated=False),), frozenset({"llama"}))
    elif why == "switched off":
        room.settings = made(LivenessSettings, check_interval=0.0)
    elif why == "works":
        room.works()
    async with working(room):
        if why == "back off":
            for _ in range(20):
                request = BackOffRequested(reason="hot", gpu="GPU-0", label="GPU 0", hold_seconds=120.0)
                room.messages.send(request)
                await room.clock.advance(100)
        else:
            await room.clock.advance(2000)
        assert room.target.requests == []


async def test_the_view_of_the_engines_has_the_verdicts(room: Room) -> None:
    async with working(room):
        await room.clock.advance(5)
        view = room.view()
        assert view is not None
        reading = Reading(view, room.clock.time(), room.clock.monotonic())
        merged = room.verdicts.merged(reading)
        assert merged is not None
        assert merged is room.verdicts.merged(reading)
        engine = merged.value.engine("llama")
        assert engine is not None
        assert (engine.verdict, engine.verdict_reason) == (Verdict.IDLE, "no request runs")
        assert engine.verdict_since is not None
        assert (
            replace(engine, verdict=Verdict.UNKNOWN, verdict_since=None, verdict_reason="") == view.engines[0]
        )
        room.engines = False
        await room.clock.advance(2)
        assert room.verdicts.merged(reading) is reading
    assert room.verdicts.merged(None) is None


async def test_the_metrics_have_verdicts_starts_and_checks(room: Room) -> None:
    registry = CollectorRegistry()
    registry.register(LivenessCollector(room.verdicts))
    room.container["started_at"] = room.clock.time()
    room.engine |= {"residency": Residency.LOADING}
    async with working(room):
        await room.clock.advance(20)
        room.engine |= {"residency": Residency.LOADED}
        await room.clock.advance(10)
        assert "engine.loaded" in room.kinds()
        room.works()
        await room.clock.advance(5)
        labels = {"endpoint": "llama", "model": "tiny"}
        assert registry.get_sample_value("aiidpd_engine_verdict", {**labels, "verdict": "working"}) == 1
        loaded = registry.get_sample_value("aiidpd_engine_start_seconds", {**labels, "phase": "loaded"})
        assert loaded == pytest.approx(21, abs=1.5)
        step = registry.get_sample_value("aiidpd_engine_start_seconds", {**labels, "phase": "first_step"})
        assert step == pytest.approx(31, abs=1.5)


async def test_what_was_learned_outlives_the_daemon(room: Room) -> None:
    async with working(room):
        await room.clock.advance(310)
    room.memory.wait(60)
    stored = StateFile(room.folder / NAME, EngineHistories).load()
    assert stored is not None
    history = stored.engines["llama tiny"]
    assert history.check_seconds is not None
    assert history.idle_cpu == 0.0
    again = LivenessMemory(StateFile(room.folder / NAME, EngineHistories))
    assert again.load() == ""
    assert again.history("llama", "tiny") == history
    assert again.history("llama", "another") == EngineHistory()


async def test_a_history_that_cannot_be_read_is_set_aside_and_said(room: Room) -> None:
    (room.folder / NAME).write_text('{"version": 1, "engines": {"a b": {"gaps": {}, "idle_cpu": -1}}}')
    async with working(room):
        await room.clock.advance(1)
        assert room.kinds() == ["engine.history_unreadable"]
        assert room.verdict() is Verdict.IDLE
    assert (room.folder / f"{NAME}.unreadable").exists()
