"""Events and readings in the order in which they happened, whatever order they come in.

Each case is one that the storm of faults found: the reducer was given what came last before what came first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from aiidpd.components.containers.runtime import ContainerReading, RuntimeEvent, RuntimeSnapshot
from aiidpd.kernel.errors import Unavailable
from tests.fakes.clock import FakeClock
from tests.fakes.engine import ScriptedEngine
from tests.unit.components.containers.test_worker import Watched, event, vllm, working

BROKEN = Unavailable("follow events of", "the engine", reason="the connection broke")


def later(before: RuntimeEvent, seconds: float, action: str, **more: object) -> RuntimeEvent:
    return replace(before, time=before.time + seconds, action=action, **more)  # type: ignore[arg-type]


def slow_memory(engine: ScriptedEngine, clock: FakeClock, seconds: Callable[[], float]) -> None:
    recall: Callable[[float, float], Awaitable[tuple[RuntimeEvent, ...]]] = engine.recall

    async def slow(since: float, until: float, *, within: float | None = None) -> tuple[RuntimeEvent, ...]:
        del within
        found = await recall(since, until)
        await clock.sleep(seconds())
        return found

    engine.recall = slow  # type: ignore[method-assign]


def refusing_memory(engine: ScriptedEngine) -> list[bool]:
    """Refuse what is remembered while the list that is returned has anything."""
    recall: Callable[[float, float], Awaitable[tuple[RuntimeEvent, ...]]] = engine.recall
    refused: list[bool] = []

    async def refusing(
        since: float, until: float, *, within: float | None = None
    ) -> tuple[RuntimeEvent, ...]:
        del within
        if refused:
            raise BROKEN
        return await recall(since, until)

    engine.recall = refusing  # type: ignore[method-assign]
    return refused


def unheard(engine: ScriptedEngine, *events: RuntimeEvent) -> None:
    """Have the engine remember ``events``, and its stream drop them."""
    engine.deaf = True
    for each in events:
        engine.say(each)
    engine.deaf = False


def ends(watched: Watched) -> list[object]:
    return [each.evidence["exit_code"] for each in watched.said if each.kind == "container.died"]


def started(watched: Watched) -> int:
    return watched.kinds().count("started")


async def test_what_comes_while_the_memory_is_read_waits_for_what_the_stream_dropped_before_it(
    clock: FakeClock,
) -> None:
    engine = ScriptedEngine(vllm(clock))
    slow_memory(engine, clock, lambda: 0.4)
    async with working(engine, clock) as watched:
        await clock.advance(10)
        engine.say(event(clock, "update"))  # for it the memory is read
        await clock.advance(0.2)
        first = event(clock, "die", exit_code=1)
        second = later(first, 0.01, "start", exit_code=None)
        unheard(engine, first, second)
        engine.say(later(second, 0.01, "die", exit_code=2))
        now = clock.time() + 0.03
        engine.shown["c1"] = replace(
            vllm(clock), started_at=now, finished_at=now - 0.005, restart_count=2, health=None
        )
        engine.say(later(second, 0.02, "start"))
        await clock.advance(5)
        assert ends(watched) == [1, 2]
        assert started(watched) == 2


async def test_while_the_memory_can_not_be_read_events_wait_for_what_the_stream_dropped(
    clock: FakeClock,
) -> None:
    engine = ScriptedEngine(vllm(clock))
    refused = refusing_memory(engine)
    async with working(engine, clock) as watched:
        await clock.advance(9.5)
        refused.append(True)
        first = event(clock, "die", exit_code=1)
        unheard(engine, first)
        engine.shown["c1"] = replace(
            vllm(clock), started_at=first.time + 0.01, finished_at=first.time, restart_count=1, health=None
        )
        engine.say(later(first, 0.01, "start", exit_code=None))
        await clock.advance(0.8)
        assert watched.kinds() == ["watching"]
        refused.clear()
        await clock.advance(0.2)
        assert watched.kinds() == ["watching", "died", "started"]
        assert ends(watched) == [1]


async def test_events_of_a_clock_that_was_set_back_wait_for_none_from_before_them(clock: FakeClock) -> None:
    engine = ScriptedEngine(vllm(clock))
    async with working(engine, clock) as watched:
        await clock.advance(10)
        engine.say(event(clock, "pause"))
        clock.jump(-3600)
        engine.shown["c1"] = replace(engine.shown["c1"], state="paused", health=None)
        await clock.advance(1)
        assert watched.kinds() == ["watching", "paused"]


async def test_a_list_does_not_take_the_place_of_what_is_remembered_while_that_can_be_read_soon(
    clock: FakeClock,
) -> None:
    engine = ScriptedEngine(vllm(clock))
    refused = refusing_memory(engine)
    async with working(engine, clock) as watched:
        await clock.advance(10)
        refused.append(True)
        engine.refuses_events = BROKEN
        died = event(clock, "die", exit_code=7)
        unheard(engine, died, later(died, 0.01, "destroy", exit_code=None))
        engine.shown.clear()
        engine.cut()
        await clock.advance(1)
        assert "died" not in watched.kinds()
        refused.clear()
        engine.refuses_events = None
        await clock.advance(5)
        assert ends(watched) == [7]
        assert "removed" in watched.kinds()


async def test_where_the_memory_can_never_be_read_lists_and_events_are_used_after_a_while(
    clock: FakeClock,
) -> None:
    engine = ScriptedEngine(vllm(clock))
    async with working(engine, clock) as watched:
        await clock.advance(10)
        refusing_memory(engine).append(True)
        engine.refuses_events = BROKEN
        engine.cut()
        engine.shown["c1"] = replace(engine.shown["c1"], state="exited", exit_code=7, health=None)
        await clock.advance(40)
        assert ends(watched) == [7]
        assert watched.states() == {"vllm": "exited"}


async def test_an_older_list_does_not_undo_a_newer_reading(clock: FakeClock) -> None:
    engine = ScriptedEngine(vllm(clock))
    async with working(engine, clock) as watched:
        await clock.advance(29.9)
        listing = engine.containers

        async def slow(*, fresh: bool = False) -> RuntimeSnapshot:
            found = await listing(fresh=fresh)
            await clock.sleep(1)
            return found

        async def paused(identity: str) -> ContainerReading | None:
            await clock.sleep(0.4)
            # It is paused as the list is on its way, and the event of that is on its way too.
            engine.shown[identity] = replace(engine.shown[identity], state="paused", health=None)
            return engine.shown[identity]

        engine.containers = slow  # type: ignore[method-assign]
        engine.container = paused  # type: ignore[method-assign]
        engine.say(event(clock, "update"))
        await clock.advance(3)
        engine.say(event(clock, "pause"))
        await clock.advance(5)
        assert watched.kinds().count("paused") == 1
        assert "unpaused" not in watched.kinds()
