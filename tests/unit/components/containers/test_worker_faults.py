"""Thousands of faults between the watcher and a runtime made up: nothing missed, nothing told twice.

Every transition that the runtime still remembers is told once, each end with its exit code, in any order of
streams that are cut, stalled, lose, double and reorder events, of calls that are refused and that take up to
two seconds. That holds as long as its memory can be read again within ten seconds; one
that lists its containers and refuses its events for longer is believed as to its state alone.

What can't be known, and is claimed nowhere: what the runtime itself forgot, since its memory of events
overflowed, between two readings of the container. Of that a later reading still shows the present run and its
state, and how often the runtime's own policy restarted it since: a run that began and ended between two
readings, and whose events are lost, leaves that count alone. A run that a person started, a pause and a flap
of health leave nothing, and of an end before the present run only its time is known, not its exit code.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio

from aiidpd.components.containers.runtime import RuntimeSnapshot
from aiidpd.components.containers.settings import ContainersSettings
from aiidpd.components.containers.worker import ContainersWorker
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.events import Event
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.task import Heartbeat, WorkerState, WorkerStatus
from tests.fakes.clock import FakeClock
from tests.fakes.faulty_engine import FaultyEngine
from tests.forms import short_and_long
from tests.unit.components.containers.stopped import register

RIGHT_WITHIN = 2.0  # seconds after it was connected again
RUNS = ("appeared", "started", "died", "removed", "paused", "unpaused")


class House:
    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.bus = EventBus()
        self.said: list[Event] = []
        self.bus.attach(events=self.said.append)
        self.status = WorkerStatus("containers")
        self.latest: Latest[RuntimeSnapshot] = Latest(clock, 90.0)

    def counts(self) -> dict[str, Counter[str]]:
        found: dict[str, Counter[str]] = {}
        for event in self.said:
            found.setdefault(event.subject, Counter())[event.kind.removeprefix("container.")] += 1
        return found

    def states(self) -> dict[str, str]:
        reading = self.latest.get()
        return {} if reading is None else {one.id: one.state for one in reading.value.containers}

    @asynccontextmanager
    async def watching(self, engine: FaultyEngine) -> AsyncIterator[None]:
        conditions = Conditions(self.clock, self.bus)
        with TemporaryDirectory() as folder:
            worker = ContainersWorker(
                engine,
                ContainersSettings(),
                latest=self.latest,
                publish=Publisher(self.bus, self.clock, "containers"),
                conditions=conditions,
                stopped=register(Path(folder), self.clock, conditions),
                clock=self.clock,
                reconnect_cap=2.0,
            )
            async with anyio.create_task_group() as group:
                group.start_soon(worker.run, Heartbeat(self.clock, self.status, anyio.Event()))
                await self.clock.advance(1)
                yield
                group.cancel_scope.cancel()


async def stormy(house: House, engine: FaultyEngine, seed: int, faults: int, *, forgetting: bool) -> None:
    numbers = random.Random(seed)
    while engine.faults.total() < faults:
        if numbers.random() < 0.25:
            engine.fault(forgetting=forgetting)
        engine.act()
        await house.clock.advance(numbers.choice([0.003, 0.02, 0.2, 1.0, 3.0]))
    engine.calm()
    engine.cut()
    while not engine.followed:
        await house.clock.advance(0.1)
    await house.clock.advance(RIGHT_WITHIN)
    assert house.states() == {name: real.state for name, real in engine.containers_.items()}
    await house.clock.advance(20)


@short_and_long("seed, faults", (1, 400), (2, 10_000))
async def test_in_a_storm_of_faults_each_transition_is_told_once_and_each_end_with_its_code(
    clock: FakeClock, seed: int, faults: int
) -> None:
    house, engine = House(clock), FaultyEngine(clock, seed)
    async with house.watching(engine):
        await stormy(house, engine, seed, faults, forgetting=False)
        assert engine.faults.keys() >= {"cut", "stalled", "dropped", "reordered", "doubled", "refused"}
        told = house.counts()
        for name, real in {**engine.containers_, **engine.gone}.items():
            kinds = (*RUNS, "healthy", "unhealthy", "restarts_unseen")
            counts = {kind: told[name][kind] for kind in kinds}
            assert counts == {kind: real.happened[kind] for kind in kinds}, name
            codes = [
                event.evidence["exit_code"]
                for event in house.said
                if event.kind == "container.died" and event.subject == name
            ]
            assert sorted(map(str, codes)) == sorted(map(str, real.codes)), name
        assert house.states() == {name: real.state for name, real in engine.containers_.items()}
        assert house.status.state is WorkerState.RUNNING


@short_and_long("seed, faults", (3, 400), (4, 10_000))
async def test_what_the_runtime_forgot_is_claimed_by_nobody_and_its_restarts_are_counted(
    clock: FakeClock, seed: int, faults: int
) -> None:
    house, engine = House(clock), FaultyEngine(clock, seed)
    async with house.watching(engine):
        await stormy(house, engine, seed, faults, forgetting=True)
        await clock.advance(31)
        assert engine.faults["forgotten"] > faults / 100
        told = house.counts()
        for name, real in {**engine.containers_, **engine.gone}.items():
            for kind in ("appeared", "started", "died", "removed"):
                assert told.get(name, Counter())[kind] <= real.happened[kind], (name, kind)
        for event in house.said:
            if event.kind == "container.restarts_unseen":
                told[event.subject]["unseen"] += int(str(event.evidence["restarts"]))
        for name, real in {**engine.containers_, **engine.gone}.items():
            counts = told.get(name, Counter())
            assert counts["started"] + counts["unseen"] <= real.happened["started"]
        assert house.states() == {name: real.state for name, real in engine.containers_.items()}
        for name, real in engine.containers_.items():
            assert real.running == (told[name]["started"] > told[name]["died"])
