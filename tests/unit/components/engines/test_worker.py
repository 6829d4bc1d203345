"""When engines are looked at, and what stands then; on a clock that only the test moves."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from aiidpd.components.engines.discovery import FoundEngine
from aiidpd.components.engines.fresh import FreshReads
from aiidpd.components.engines.metrics import EnginesCollector
from aiidpd.components.engines.polls import Polls
from aiidpd.components.engines.state import due, with_answer
from aiidpd.components.engines.worker import EnginePoller
from aiidpd.contracts.engines import EngineState, EnginesView, Residency
from aiidpd.contracts.probes import ProbedEndpoint, ProbesView
from aiidpd.engines.figures import EngineFigures, EngineReading, EngineSource, NotKnown, PollLoad
from aiidpd.engines.simulated import SimulatedEngine
from aiidpd.kernel.errors import Misconfigured
from aiidpd.kernel.latest import Latest
from tests.fakes.clock import FakeClock, settle
from tests.heartbeat import heartbeat

INTERVAL = 5.0
FRESH = EngineState("a", "m", simulated=False)


def figures(generated: int | None = 100, running: int = 1) -> EngineFigures:
    return EngineFigures("vllm", running, 0, generated, 10, running)


@dataclass
class StubSource:
    """An engine whose next answers the test decides."""

    clock: FakeClock
    answer: EngineFigures | NotKnown = field(default_factory=figures)
    takes: float = 0.0
    residency: Residency | None = None
    may_sleep: bool = False
    busy: bool = False
    asked: list[float] = field(default_factory=list)
    closed: int = 0
    cut: int = 0
    load: PollLoad = field(default_factory=PollLoad)

    async def read(self) -> EngineReading:
        began = self.clock.monotonic()
        self.asked.append(began)
        self.load.requests += 1
        self.load.pending_since = began
        try:
            await self.clock.sleep(self.takes)
        except BaseException:
            self.cut += 1
            raise
        finally:
            self.load.pending_since = None
            self.load.seconds += self.clock.monotonic() - began
        known = Residency.UNKNOWN if isinstance(self.answer, NotKnown) else Residency.LOADED
        residency = known if self.residency is None else self.residency
        return EngineReading(self.answer, "vllm", residency, self.may_sleep, self.busy)

    async def aclose(self) -> None:
        self.closed += 1


class Room:
    """A reader with everything around it."""

    def __init__(self, clock: FakeClock, **sources: StubSource) -> None:
        self.clock = clock
        self.found = tuple(FoundEngine(name, "m") for name in sources)
        self.sources = dict(sources)
        self.polls = Polls()
        self.latest: Latest[EnginesView] = Latest(clock, float("inf"))
        self.probed: dict[str, float] = {}
        self.running_probes: set[str] = set()
        self.states: list[EngineState] = []
        self.fresh = FreshReads()
        self.reader = EnginePoller(
            lambda: self.found,
            lambda engine: self.sources[engine.name],
            INTERVAL,
            latest=self.latest,
            probes=self.probes,
            clock=clock,
            polls=self.polls,
            on_state=self.states.append,
            fresh=self.fresh,
        )

    def probes(self) -> ProbesView:
        endpoints = (ProbedEndpoint(name, False, probed=at) for name, at in self.probed.items())
        return ProbesView(tuple(endpoints), frozenset(self.running_probes))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with anyio.create_task_group() as group:
            group.start_soon(self.reader.run, heartbeat(self.clock))
            await settle()
            yield
            group.cancel_scope.cancel()

    def view(self) -> EnginesView:
        reading = self.latest.get()
        assert reading is not None
        return reading.value

    def state(self, name: str = "a") -> EngineState:
        state = self.view().engine(name)
        assert state is not None
        return state


async def test_each_engine_is_asked_in_its_period_and_a_slow_one_delays_no_other(clock: FakeClock) -> None:
    quick, slow = StubSource(clock), StubSource(clock, takes=50.0)
    room = Room(clock, a=quick, b=slow)
    async with room.running():
        await clock.advance(12.0)
        assert quick.asked == [0.0, 5.0, 10.0]
        assert slow.asked == [0.0]
        assert room.state("a").requests_running == 1
        assert room.state("b").read is None
    assert (quick.closed, slow.closed) == (1, 1)
    assert room.latest.get() is None  # what nobody keeps up is no longer known


async def test_each_answer_is_handed_on_once_also_one_without_figures(clock: FakeClock) -> None:
    room = Room(clock, a=StubSource(clock), b=StubSource(clock, NotKnown("no page", lasting=True)))
    async with room.running():
        await clock.advance(12.0)
    assert [(each.read, each.reason) for each in room.states if each.name == "a"] == [
        (0.0, ""),
        (5.0, ""),
        (10.0, ""),
    ]
    assert [(each.read, each.reason) for each in room.states if each.name == "b"] == [(0.0, "no page")]


async def test_tokens_a_second_are_those_between_two_looks_and_a_restart_is_no_negative_rate(
    clock: FakeClock,
) -> None:
    source = StubSource(clock, figures(100))
    room = Room(clock, a=source)
    async with room.running():
        assert room.state().generated_tokens_per_second is None
        source.answer = figures(600)
        await clock.advance(5.0)
        assert room.state().generated_tokens_per_second == 100.0
        source.answer = figures(20)
        await clock.advance(5.0)
        assert room.state().generated_tokens == 20
        assert room.state().generated_tokens_per_second is None


async def test_a_probe_of_ours_is_told_also_where_it_began_or_ended_meanwhile(clock: FakeClock) -> None:
    source = StubSource(clock, takes=0.2)
    room = Room(clock, a=source, b=StubSource(clock, takes=0.2))
    async with room.running():
        await clock.advance(0.1)
        room.running_probes.add("a")  # from the middle of the first look to that of the second
        await clock.advance(1.0)
        assert room.state("a").includes_probe
        assert not room.state("b").includes_probe
        await clock.advance(4.2)
        room.running_probes.clear()
        await clock.advance(1.0)
        assert room.state("a").includes_probe
        await clock.advance(6.0)
        assert not room.state("a").includes_probe


async def test_an_engine_without_figures_is_asked_again_rarely_and_after_a_probe_that_succeeded(
    clock: FakeClock,
) -> None:
    source = StubSource(clock, NotKnown("it answers 404", lasting=True))
    room = Room(clock, a=source)
    async with room.running():
        await clock.advance(3500.0)
        assert source.asked == [0.0]
        assert room.state().reason == "it answers 404"
        assert room.state().requests_running is None
        await clock.advance(200.0)
        assert source.asked == [0.0, 3600.0]
        room.probed["a"] = clock.monotonic()  # it may have been started anew, with a page
        source.answer = figures()
        await clock.advance(6.0)
        assert len(source.asked) == 3
        assert room.state().reason == ""
        await clock.advance(10.0)
        assert len(source.asked) > 4


async def test_a_slow_one_is_polled_less_often_and_one_that_is_busy_too(clock: FakeClock) -> None:
    slow, busy = StubSource(clock, takes=1.0), StubSource(clock, NotKnown("429", lasting=False), busy=True)
    room = Room(clock, a=slow, b=busy)
    async with room.running():
        await clock.advance(100.0)
    assert slow.asked == [0.0, 21.0, 42.0, 63.0, 84.0]
    assert busy.asked == [0.0, 10.0, 30.0, 70.0]
    polls = room.polls.known("a")
    assert polls is not None
    assert (polls.requests, polls.interval) == (5, 20.0)


async def test_a_page_that_does_not_answer_is_waited_for_and_shows_since_when(clock: FakeClock) -> None:
    source = StubSource(clock)
    room = Room(clock, a=source, b=StubSource(clock))
    async with room.running():
        source.takes = 1800.0
        await clock.advance(900.0)
        assert source.asked == [0.0, 5.0]
        assert room.state().pending_since == 5.0
        assert (room.state().read, room.state().requests_running) == (0.0, 1)
        assert room.state("b").pending_since is None
        assert room.state("b").read == 900.0
        await clock.advance(930.0)
        assert room.state().read == 1805.0
        assert room.state().pending_since is None
        assert source.cut == 0


async def test_engines_at_one_address_take_turns(clock: FakeClock) -> None:
    first, second = StubSource(clock, takes=3.0), StubSource(clock, takes=3.0)
    room = Room(clock, a=first, b=second)
    room.found = tuple(replace(each, url="http://127.0.0.1:8080") for each in room.found)
    async with room.running():
        await clock.advance(7.0)
    assert (first.asked, second.asked) == ([0.0], [3.0])
    assert (first.cut, second.cut) == (0, 0)


async def test_engines_come_and_go_and_one_that_was_started_anew_is_read_anew(clock: FakeClock) -> None:
    source = StubSource(clock)
    room = Room(clock, a=source)
    room.sources["b"] = StubSource(clock)
    async with room.running():
        await clock.advance(1.0)
        room.found += (FoundEngine("b"),)
        await clock.advance(1.5)
        assert [each.name for each in room.view().engines] == ["a", "b"]
        assert room.state("b").requests_running == 1
        room.found = (replace(room.found[0], run=50.0), room.found[1])
        await clock.advance(1.0)
        assert source.closed == 1
        assert source.asked == [0.0, 3.0]
        room.found = room.found[1:]
        await clock.advance(1.0)
        assert [each.name for each in room.view().engines] == ["b"]
        room.found = ()
        await clock.advance(1.0)
        assert room.view() == EnginesView()
        assert room.sources["b"].closed == 1


async def test_a_request_that_is_open_is_cut_only_when_its_engine_is_gone_and_no_second_is_sent_before(
    clock: FakeClock,
) -> None:
    source = StubSource(clock, takes=500.0)
    room = Room(clock, a=source)
    async with room.running():
        await clock.advance(10.0)
        room.found = (replace(room.found[0], off="its container is paused"),)
        await clock.advance(10.0)
        assert (source.asked, source.cut) == ([0.0], 0)
        room.found = (replace(room.found[0], off="", run=15.0),)
        await clock.advance(2.0)
        assert source.cut == 1
        assert len(source.asked) == 2


async def test_one_that_is_switched_off_is_not_asked_and_says_why(clock: FakeClock) -> None:
    source = StubSource(clock)
    room = Room(clock, a=source)
    async with room.running():
        await clock.advance(6.0)
        running = room.found
        room.found = tuple(replace(each, off="its container is paused") for each in running)
        await clock.advance(60.0)
        assert source.asked == [0.0, 5.0]
        assert (room.state().reason, room.state().lasting) == ("its container is paused", True)
        assert (room.state().read, room.state().requests_running) == (None, None)
        room.found = running
        await clock.advance(2.0)
        assert len(source.asked) == 3
        assert room.state().requests_running == 1


async def test_an_engine_whose_url_cannot_be_used_says_so_and_harms_no_other(clock: FakeClock) -> None:
    room = Room(clock, a=StubSource(clock), b=StubSource(clock))
    good = room.reader._source

    def source(engine: FoundEngine) -> EngineSource:
        if engine.name == "a":
            raise Misconfigured("use", "a", reason="its key is none", remedy="mend it")
        return good(engine)

    room.reader._source = source
    async with room.running():
        await clock.advance(1.0)
        assert "its key is none" in room.state("a").reason
        assert room.state("b").requests_running == 1


async def test_one_that_says_how_its_model_is_without_figures_is_polled_each_minute(clock: FakeClock) -> None:
    source = StubSource(clock, NotKnown("no page", lasting=True), residency=Residency.LOADED)
    room = Room(clock, a=source)
    async with room.running():
        await clock.advance(130.0)
    assert source.asked == [0.0, 60.0, 120.0]


async def test_what_it_says_of_its_model_is_in_its_state(clock: FakeClock) -> None:
    source = StubSource(
        clock, NotKnown("asleep", lasting=False), residency=Residency.SLEEPING, may_sleep=True
    )
    room = Room(clock, a=source)
    room.found = (replace(room.found[0], container="c1", url="http://h"),)
    async with room.running():
        await clock.advance(1.0)
        state = room.state()
        assert (state.residency, state.may_sleep) == (Residency.SLEEPING, True)
        assert (state.engine, state.container, state.url) == ("vllm", "c1", "http://h")


async def test_one_that_is_only_away_for_a_moment_is_asked_in_its_period(clock: FakeClock) -> None:
    source = StubSource(clock, NotKnown("connection refused", lasting=False))
    room = Room(clock, a=source)
    async with room.running():
        await clock.advance(11.0)
        assert source.asked == [0.0, 5.0, 10.0]


@given(
    st.booleans(),
    st.floats(0, 1e6),
    st.one_of(st.none(), st.floats(0, 2e6)),
    st.floats(1.0, 60.0),
)
def test_no_engine_is_asked_too_often_nor_forgotten(
    lasting: bool, read: float, probed: float | None, interval: float
) -> None:

    state = with_answer(FRESH, EngineReading(NotKnown("x", lasting)), 0.0, read, includes_probe=False)
    wait = due(state, probed, interval) - read
    assert wait >= (60.0 if lasting else interval) - 1e-6
    assert wait <= (3600.0 if lasting else interval) + 1e-6


@given(st.lists(st.tuples(st.floats(0.1, 600), st.one_of(st.none(), st.integers(0, 10**9))), max_size=20))
def test_a_rate_is_never_negative_nor_of_another_time(looks: list[tuple[float, int | None]]) -> None:
    state, now, before = FRESH, 0.0, None
    for gap, generated in looks:
        now += gap
        state = with_answer(state, EngineReading(figures(generated)), now, now, includes_probe=False)
        rate = state.generated_tokens_per_second
        if rate is not None:
            assert before is not None
            assert generated is not None
            assert rate == pytest.approx((generated - before) / gap, rel=1e-3, abs=1e-6)
            assert rate >= 0
        before = generated


async def test_the_simulated_engine_grows_by_its_users_and_counts_our_probe(clock: FakeClock) -> None:
    (probed,) = [(await SimulatedEngine(clock, lambda: True).read()).figures]
    assert isinstance(probed, EngineFigures)
    assert probed.requests_running == 1
    engine = SimulatedEngine(clock)
    seen = []
    for _ in range(240):
        await clock.advance(1.0)
        found = (await engine.read()).figures
        assert isinstance(found, EngineFigures)
        seen.append(found)
    assert {each.requests_running for each in seen} == {0, 1, 2, 3}
    tokens = [each.generated_tokens or 0 for each in seen]
    assert tokens == sorted(tokens)
    for before, after in itertools.pairwise(seen):
        grown = (after.generated_tokens or 0) - (before.generated_tokens or 0)
        assert abs(grown - 80 * (before.requests_running or 0)) <= 81
    assert tokens[-1] == 2 * 9 * 20 * 80
    assert seen[0].engine == "SIMULATED"


def test_what_a_scrape_shows(clock: FakeClock) -> None:
    latest: Latest[EnginesView] = Latest(clock, float("inf"))
    registry = CollectorRegistry()
    registry.register(EnginesCollector(latest.get, Polls()))
    assert list(registry.collect()) == []
    known = with_answer(FRESH, EngineReading(figures(generated=None)), 0.0, 0.0, includes_probe=False)
    unknown = with_answer(
        EngineState("b", "m", simulated=False),
        EngineReading(NotKnown("no", True)),
        0.0,
        0.0,
        includes_probe=False,
    )
    latest.put(EnginesView((known, unknown)))
    labels = {"endpoint": "a", "model": "m", "engine": "vllm"}
    assert registry.get_sample_value("aiidpd_bench_engine_requests_running", labels) == 1
    assert registry.get_sample_value("aiidpd_bench_engine_prompt_tokens_total", labels) == 10
    samples = [sample for family in registry.collect() for sample in family.samples]
    assert not [each for each in samples if "generated" in each.name or each.labels.get("endpoint") == "b"]


class Fresh:
    """Callers that have an engine read at once, and what they got."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.found: list[EngineState | None] = []

    async def read(self, name: str = "a") -> None:
        self.found.append(await self.room.fresh.read(name))


async def test_an_engine_is_read_at_once_and_nothing_but_the_caller_and_the_load_learns_of_it(
    clock: FakeClock,
) -> None:
    source = StubSource(clock, takes=0.1)
    room = Room(clock, a=source)
    fresh = Fresh(room)
    async with room.running():
        await clock.advance(1.0)
        source.answer = figures(700, 2)
        room.running_probes.add("a")
        async with anyio.create_task_group() as group:
            group.start_soon(fresh.read)
            await clock.advance(0.2)
        (state,) = fresh.found
        assert state is not None
        assert (state.generated_tokens, state.requests_running, state.includes_probe) == (700, 2, True)
        assert state.worked == state.read == pytest.approx(1.1)
        assert room.state("a").generated_tokens == 100
        assert len(room.states) == 1
        await clock.advance(10.0)
        known = room.polls.known("a")
        assert known is not None
        assert known.requests == source.load.requests
    assert await room.fresh.read("a") is None  # there is no poller any more
    assert source.cut == 0


async def test_readings_of_one_engine_take_turns_and_a_caller_who_leaves_cuts_none_off(
    clock: FakeClock,
) -> None:
    source = StubSource(clock, takes=3.0)
    room = Room(clock, a=source)
    fresh = Fresh(room)
    async with room.running():
        await clock.advance(1.0)  # the poll itself is open
        async with anyio.create_task_group() as group:
            group.start_soon(fresh.read)
            await clock.advance(1.0)
            assert source.asked == [0.0]
            await clock.advance(2.0)
            assert source.asked == [0.0, 3.0]
            group.cancel_scope.cancel()
        async with anyio.create_task_group() as group:  # nobody waits for this one when its turn comes
            group.start_soon(fresh.read)
            await clock.advance(0.1)
            group.cancel_scope.cancel()
        await clock.advance(3.0)
        assert source.asked == [0.0, 3.0]
        assert source.cut == 0
    assert fresh.found == []


async def test_what_is_not_polled_is_not_read(clock: FakeClock) -> None:
    room = Room(clock, a=StubSource(clock))
    assert await room.fresh.read("a") is None
    async with room.running():
        assert await room.fresh.read("b") is None


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=12))
def test_work_is_what_moves_a_counter_and_a_start_forgets_it(readings: list[tuple[int, int, int]]) -> None:
    state = FRESH
    for at, (generated, steps, running) in enumerate(readings, 1):
        before = state
        answer = EngineFigures("vllm", running, 0, generated, steps=steps)
        reading = EngineReading(answer, "vllm", Residency.LOADED)
        state = with_answer(before, reading, 0.0, float(at), includes_probe=False)
        pairs = [(before.generated_tokens, generated), (before.steps, steps)]
        known = [(was, now) for was, now in pairs if was is not None]
        if running or any(now > was for was, now in known):
            assert state.worked == at
        elif any(now < was for was, now in known):
            assert state.worked is None
        else:
            assert state.worked == before.worked


def test_a_model_that_is_not_loaded_was_not_at_work() -> None:
    reading = EngineReading(figures(200), "vllm", Residency.LOADED, version="0.11")
    state = with_answer(FRESH, reading, 0.0, 1.0, includes_probe=False)
    assert (state.worked, state.version) == (1.0, "0.11")
    asleep = EngineReading(figures(200, 0), "vllm", Residency.SLEEPING)
    assert with_answer(state, asleep, 0.0, 2.0, includes_probe=False).worked is None
