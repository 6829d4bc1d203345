"""The supervisor: one worker's failure, return or hang never stops another."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.kernel.backoff import Backoff
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.errors import Conflict, NotFound, Unavailable
from aiidpd.kernel.events import Event
from aiidpd.kernel.supervisor import Supervisor
from aiidpd.kernel.task import Heartbeat, Task, WorkerState, WorkerStatus
from tests.fakes.clock import FakeClock, settle
from tests.forms import examples

Body = Callable[[Heartbeat], Awaitable[None]]


class Scripted:
    """A worker whose run is the given body."""

    simulated = True

    def __init__(self, body: Body) -> None:
        self._body = body

    async def run(self, heartbeat: Heartbeat) -> None:
        await self._body(heartbeat)


class House:
    """A supervisor on fake time, with what it said."""

    def __init__(self, clock: FakeClock, **bodies: Body) -> None:
        self.clock = clock
        self.events: list[Event] = []
        self.watchdogs: list[float] = []
        self.built = dict.fromkeys(bodies, 0)
        bus = EventBus()
        bus.attach(events=self.events.append)
        self.conditions = Conditions(clock, bus)
        self.supervisor = Supervisor(
            [Task(name, self._factory(name, body), deadline=lambda: 10) for name, body in bodies.items()],
            clock=clock,
            bus=bus,
            conditions=self.conditions,
            uniform=lambda: 0.5,
            watchdog=lambda: self.watchdogs.append(clock.monotonic()),
            backoff=Backoff(initial=1, cap=60, settled_after=100),
        )

    def _factory(self, name: str, body: Body) -> Callable[[], Scripted]:
        def build() -> Scripted:
            self.built[name] += 1
            return Scripted(body)

        return build

    def status(self, name: str) -> WorkerStatus:
        return next(status for status in self.supervisor.statuses if status.name == name)

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events if event.kind.startswith("worker.")]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with anyio.create_task_group() as group:
            group.start_soon(self.supervisor.run)
            await settle()
            yield
            group.cancel_scope.cancel()


def steady(clock: FakeClock) -> Body:
    async def body(heartbeat: Heartbeat) -> None:
        while True:
            with heartbeat.working():
                pass
            await clock.sleep(1)

    return body


async def fails(_: Heartbeat) -> None:
    raise ValueError("broken")


async def returns(_: Heartbeat) -> None:
    return


def hangs(clock: FakeClock) -> Body:
    async def body(heartbeat: Heartbeat) -> None:
        heartbeat.beat()
        await clock.sleep(1e9)

    return body


@pytest.mark.parametrize(("body", "kind"), [(fails, "worker.failed"), (returns, "worker.returned")])
async def test_a_worker_that_ends_comes_back_later_and_later(clock: FakeClock, body: Body, kind: str):
    house = House(clock, bad=body, good=steady(clock))
    async with house.running():
        await clock.advance(1 + 2 + 4 + 0.5)
        assert house.built["bad"] == 4
        assert set(house.kinds()) == {kind}
        assert house.status("bad").state is WorkerState.RESTARTING
        assert house.status("bad").restarts == 4
        assert house.status("good").passes == 8
        assert [condition.subject for condition in house.conditions.active()] == ["bad"]


async def test_a_worker_that_hangs_is_cancelled_and_comes_back(clock: FakeClock):
    house = House(clock, bad=hangs(clock), good=steady(clock))
    async with house.running():
        await clock.advance(12)
        assert house.built["bad"] == 2
        assert house.kinds() == ["worker.hung"]
        assert house.status("good").passes == 13
        assert "no sign of life for 10 s" in house.events[0].reason


async def test_a_restart_alone_ends_no_condition(clock: FakeClock):
    """Only a pass shows that what ended the run before is over; a replacement begins without it."""
    house = House(clock, bad=hangs(clock))
    async with house.running():
        await clock.advance(12)
        assert house.status("bad").state is WorkerState.STARTING
        (condition,) = house.conditions.active()
        assert (condition.type, condition.subject, condition.source) == ("worker", "bad", "supervisor")
        assert condition.reason == "restarting: no sign of life for 10 s"
        house.supervisor.replace("bad")
        await clock.advance(1)
        assert house.conditions.active() == ()


async def test_a_worker_that_cannot_read_is_degraded_and_goes_on(clock: FakeClock):
    there = False

    async def body(heartbeat: Heartbeat) -> None:
        while True:
            with heartbeat.working():
                if not there:
                    raise Unavailable("read", "GPU 0", reason="no driver", remedy="install one")
            await clock.sleep(1)

    house = House(clock, blind=body)
    async with house.running():
        assert await house.supervisor.first_passes(within=5) == ()
        await clock.advance(2)
        status = house.status("blind")
        assert (status.state, status.up, status.restarts) == (WorkerState.DEGRADED, False, 0)
        assert status.reason == "cannot read GPU 0: no driver; install one"
        assert status.last_success_at is None
        there = True
        await clock.advance(2)
        assert (status.state, status.up, status.reason) == (WorkerState.RUNNING, True, "")
        assert house.conditions.active() == ()


async def test_readiness_waits_for_first_passes_but_not_for_ever(clock: FakeClock):
    house = House(clock, slow=hangs(clock), good=steady(clock))
    async with house.running():
        late: list[tuple[str, ...]] = []

        async def wait() -> None:
            late.append(await house.supervisor.first_passes(within=5))

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await clock.advance(4.9)
            assert late == []
            await clock.advance(0.2)
        assert late == [("slow",)]


async def test_the_watchdog_is_fed_while_workers_fail_and_hang(clock: FakeClock):
    house = House(clock, bad=fails, stuck=hangs(clock))
    async with house.running():
        await clock.advance(100)
        assert len(house.watchdogs) >= 100


async def test_a_worker_that_cannot_be_cancelled_silences_the_watchdog(clock: FakeClock):
    release = anyio.Event()

    async def stubborn(heartbeat: Heartbeat) -> None:
        heartbeat.beat()
        with anyio.CancelScope(shield=True):
            await release.wait()

    house = House(clock, stubborn=stubborn, good=steady(clock))
    async with house.running():
        await clock.advance(17)
        assert house.status("stubborn").state is WorkerState.WEDGED
        assert house.status("good").up
        last = house.watchdogs[-1]
        assert 14 <= last <= 16
        with pytest.raises(Conflict):
            house.supervisor.replace("stubborn")
        await clock.advance(5)
        assert house.watchdogs[-1] == last
        release.set()
        await clock.advance(5)
        assert house.watchdogs[-1] > last


async def test_a_long_run_is_forgiven(clock: FakeClock):
    async def body(heartbeat: Heartbeat) -> None:
        with heartbeat.working():
            pass
        for _ in range(20):
            await clock.sleep(9)
            heartbeat.beat()
        raise ValueError("late")

    house = House(clock, late=body)
    async with house.running():
        await clock.advance(3 * 182)
        assert [
            event.evidence["failures_in_a_row"] for event in house.events if event.kind == "worker.failed"
        ] == [
            1,
            1,
            1,
        ]


async def test_replacing_builds_a_new_worker_at_once(clock: FakeClock):
    house = House(clock, good=steady(clock), other=steady(clock))
    async with house.running():
        await clock.advance(5)
        house.supervisor.replace("good")
        await settle()
        assert house.built == {"good": 2, "other": 1}
        assert house.status("good").restarts == 0
        assert house.kinds() == ["worker.replaced"]
        with pytest.raises(NotFound):
            house.supervisor.replace("nobody")


async def test_replacing_does_not_wait_for_a_backoff(clock: FakeClock):
    house = House(clock, bad=fails)
    async with house.running():
        await clock.advance(60)
        before = house.built["bad"]
        house.supervisor.replace("bad")
        await settle()
        assert house.built["bad"] == before + 1


async def test_a_factory_that_fails_is_a_failed_run(clock: FakeClock):
    bus = EventBus()

    def build() -> Scripted:
        raise ValueError("no such part")

    supervisor = Supervisor(
        [Task("bad", build, deadline=lambda: 10)],
        clock=clock,
        bus=bus,
        conditions=Conditions(clock, bus),
        uniform=lambda: 0.5,
    )
    async with anyio.create_task_group() as group:
        group.start_soon(supervisor.run)
        await clock.advance(0.1)
        assert supervisor.statuses[0].reason == "ValueError: no such part"
        group.cancel_scope.cancel()


async def test_stopping_ends_every_worker(clock: FakeClock):
    house = House(clock, good=steady(clock), bad=fails, stuck=hangs(clock))
    async with house.running():
        await clock.advance(3)
    assert {status.state for status in house.supervisor.statuses} == {WorkerState.STOPPED}


@examples(40)
@given(st.lists(st.sampled_from(["pass", "degraded", "fail", "return", "hang", "group"]), max_size=12))
async def test_whatever_one_worker_does_the_other_works_each_second(script: list[str]):
    clock = FakeClock()
    acts = iter(script)

    async def wild(heartbeat: Heartbeat) -> None:
        while True:
            act = next(acts, "pass")
            with heartbeat.working():
                if act == "degraded":
                    raise Unavailable("read", "it", reason="gone")
            if act == "fail":
                raise RuntimeError(act)
            if act == "group":
                raise ExceptionGroup("several", [OSError("a"), ValueError("b")])
            if act == "return":
                return
            await clock.sleep(1e9 if act == "hang" else 1)

    house = House(clock, wild=wild, good=steady(clock))
    async with house.running():
        await clock.advance(300)
        assert house.status("good").passes == 301
        assert len(house.watchdogs) >= 300
        ended = sum(act in {"fail", "return", "hang", "group"} for act in script)
        assert house.status("wild").restarts <= ended
