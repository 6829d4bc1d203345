"""Requests beside users, on a clock that only the test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import anyio.abc
import pytest

from aiidpd.components.bench.alone.prober import AloneProber, Answered, Busy, Disturbed, Stopped
from aiidpd.contracts.engines import EngineState, EnginesView, Residency
from aiidpd.engines.target import Chunk, ProbeRequest, Timeline
from aiidpd.kernel.errors import Unavailable
from tests.fakes.clock import FakeClock

REQUEST = ProbeRequest("a prompt", 10, 30.0, 60.0)
IDLE = EngineState(
    "a",
    "m",
    False,
    residency=Residency.LOADED,
    requests_running=0,
    requests_waiting=0,
    generated_tokens=100,
    requests_finished=5,
    read=0.0,
)


class Engine:
    """An engine, the endpoint behind it, and users; ``page_takes`` is what reading it takes, in seconds."""

    name, url, model, simulated = "a", "http://127.0.0.1:1", "m", False

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.page_takes = 0.001
        self.hangs = False
        self.users = 0
        self.ours = 0
        self.generated = 100
        self.finished = 5
        self.lags = 0.0  # seconds by which its counters lag behind our answer
        self.fails = ""
        self.group: anyio.abc.TaskGroup | None = None
        self.reads = 0
        self.left_at: float | None = None

    async def read(self, name: str) -> EngineState | None:
        assert name == "a"
        self.reads += 1
        await self.clock.sleep(1e9 if self.hangs else self.page_takes)
        return self.state()

    def state(self) -> EngineState:
        return replace(
            IDLE,
            requests_running=self.users + self.ours,
            generated_tokens=self.generated,
            requests_finished=self.finished,
            read=self.clock.monotonic(),
        )

    async def probe(self, request: ProbeRequest) -> Timeline:
        started = self.clock.monotonic()
        self.ours += 1
        chunks = []
        try:
            for _ in range(request.max_tokens):
                await self.clock.sleep(0.05)
                chunks.append(Chunk(self.clock.monotonic(), 4, 1))
        except BaseException:
            self.left_at = self.clock.monotonic()
            raise
        finally:
            self.ours -= 1
        if self.fails:
            raise Unavailable("measure", "a", reason=self.fails)
        if self.lags and self.group is not None:
            self.group.start_soon(self._count, self.lags, len(chunks))
        else:
            await self._count(0, len(chunks))
        return Timeline(started, chunks[-1].at, tuple(chunks), "length", 100, len(chunks), 0)

    async def _count(self, lag: float, tokens: int) -> None:
        if lag:
            await self.clock.sleep(lag)
        self.generated += tokens
        self.finished += 1

    async def aclose(self) -> None:
        """Nothing is open."""


class Room:
    """A request of ours and what came of it."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.engine = Engine(clock)
        self.polled: EngineState | None = IDLE
        self.fresh = True
        self.running: set[str] = set()
        self.stop: Callable[[], bool] = lambda: False
        self.looks = 0
        self.outcome: Answered | Exception | None = None
        self.prober = AloneProber(
            clock=clock,
            engines=lambda: EnginesView((self.polled,)) if self.polled else None,
            reads=lambda: self.engine if self.fresh else None,
            running=self.running,
        )

    def _stop(self) -> bool:
        return self.stop()

    def _look(self) -> None:
        self.looks += 1

    async def _send(self) -> None:
        try:
            self.outcome = await self.prober.send(self.engine, REQUEST, stop=self._stop, during=self._look)
        except (Busy, Disturbed, Stopped, Unavailable) as error:
            self.outcome = error

    @asynccontextmanager
    async def sending(self) -> AsyncIterator[None]:
        async with anyio.create_task_group() as group:
            self.engine.group = group
            group.start_soon(self._send)
            yield
            await self.clock.advance(20.0)
            group.cancel_scope.cancel()

    @property
    def answered(self) -> Answered:
        assert isinstance(self.outcome, Answered), self.outcome
        return self.outcome


async def test_a_request_alone_is_proven_so_and_watched_meanwhile(clock: FakeClock):
    room = Room(clock)
    async with room.sending():
        await clock.advance(0.1)
        assert room.running == {"a"}
    assert (room.answered.proof.alone, room.answered.proof.reason) == (True, "")
    assert not room.running
    assert room.looks > 20
    assert room.answered.before is not None
    assert room.answered.before.generated_tokens == 100


async def test_a_user_who_comes_ends_it_within_a_token(clock: FakeClock):
    room = Room(clock)
    async with room.sending():
        await clock.advance(0.22)
        room.engine.users = 1
        came = clock.monotonic()
    assert isinstance(room.outcome, Disturbed)
    assert "it serves 1 request of others since" in str(room.outcome)
    assert room.engine.left_at is not None
    assert room.engine.left_at - came < 0.05  # the time of one token
    assert not room.running


async def test_a_page_that_costs_much_is_read_less_often(clock: FakeClock):
    room = Room(clock)
    room.engine.page_takes = 0.02
    async with room.sending():
        pass
    assert 4 <= room.engine.reads <= 8  # half a second, a fifth of it at most for pages


async def test_where_users_are_served_nothing_is_sent(clock: FakeClock):
    room = Room(clock)
    room.engine.users = 2
    async with room.sending():
        pass
    assert isinstance(room.outcome, Busy)
    assert str(room.outcome) == "it serves 2 requests of others"
    assert room.engine.left_at is None
    assert room.looks == 0


@pytest.mark.parametrize(
    ("generated", "finished", "alone", "reason"),
    [
        (3, 0, False, "3 tokens more than those of ours"),
        (0, 2, False, "besides ours: 2"),
        (-90, -5, False, "its counters began anew"),
        (-1, 0, True, ""),  # it counts a token less, and no answer more
    ],
)
async def test_the_counters_show_who_came_and_went(
    clock: FakeClock, generated: int, finished: int, alone: bool, reason: str
):
    room = Room(clock)
    async with room.sending():
        await clock.advance(0.2)
        room.engine.generated += generated
        room.engine.finished += finished
    assert room.answered.proof.alone is alone
    assert reason in room.answered.proof.reason


async def test_counters_that_lag_are_waited_for(clock: FakeClock):
    room = Room(clock)
    room.engine.lags = 0.3
    async with room.sending():
        pass
    assert room.answered.proof.alone is True


async def test_without_figures_it_is_sent_and_says_so(clock: FakeClock):
    room = Room(clock)
    room.polled, room.fresh = None, False
    async with room.sending():
        pass
    assert room.answered.proof.alone is None
    assert "reports no figures" in room.answered.proof.reason


async def test_where_it_is_only_polled_the_figures_are_too_old_to_prove_anything(clock: FakeClock):
    room = Room(clock)
    room.fresh = False
    async with room.sending():
        pass
    assert room.answered.proof.alone is None
    assert "could not be read afterwards" in room.answered.proof.reason


async def test_a_page_that_hangs_holds_up_no_request_for_long(clock: FakeClock):
    room = Room(clock)
    async with room.sending():
        await clock.advance(0.1)
        room.engine.hangs = True
        await clock.advance(40.0)
    assert room.answered.proof.alone is None
    room.polled = replace(IDLE, pending_since=0.0)
    room.outcome, before = None, room.engine.reads
    async with room.sending():
        pass
    assert isinstance(room.outcome, Answered)
    assert room.engine.reads == before  # no further request waits behind one that hangs


async def test_a_failure_stays_one(clock: FakeClock):
    room = Room(clock)
    room.engine.fails = "it answers 500"
    async with room.sending():
        pass
    assert isinstance(room.outcome, Unavailable)


async def test_the_caller_may_have_it_stopped(clock: FakeClock):
    room = Room(clock)
    async with room.sending():
        await clock.advance(0.1)
        room.stop = lambda: True
    assert isinstance(room.outcome, Stopped)


async def test_users_who_are_made_up_disturb_nothing(clock: FakeClock):
    room = Room(clock)
    room.polled = replace(IDLE, simulated=True, requests_running=3)
    async with room.sending():
        pass
    assert room.answered.proof.alone is None
    assert "made up" in room.answered.proof.reason
