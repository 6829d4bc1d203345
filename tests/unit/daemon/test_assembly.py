from __future__ import annotations

from contextlib import closing
from pathlib import Path

import anyio

from aiidpd.components.backup.conditions import BROKEN
from aiidpd.components.containers.conditions import WATCHED
from aiidpd.components.containers.stopped import STOPPED
from aiidpd.components.thermal.governor.events import CONDITIONS as GOVERNOR
from aiidpd.config.reload import reload_plan
from aiidpd.daemon.assembly import Assembly
from aiidpd.daemon.schema import SCHEMA
from aiidpd.history.store import History
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.conditions import Condition, Conditions
from aiidpd.kernel.events import Event, Severity
from aiidpd.kernel.task import WorkerStatus
from tests.fakes.clock import FakeClock, settle
from tests.heartbeat import heartbeat
from tests.waiting import PATIENCE


async def test_bounds_of_incidents_follow_a_reload_and_no_task_is_replaced(
    tmp_path: Path, clock: FakeClock
) -> None:
    settings = [SCHEMA.settings(), SCHEMA.settings(incidents={"keep": 1})]
    current = settings[0]
    bus, recorded = EventBus(), anyio.Event()
    bus.attach(events=lambda event: recorded.set() if event.kind == "incident.recording" else None)
    incidents = tmp_path / "incidents"
    for second in range(3):
        (incidents / f"20200101T00000{second}Z-x").mkdir(parents=True)
    history = History.open(tmp_path / "history.sqlite3", keep=3600.0, max_bytes=2**24, clock=clock)
    with closing(history):
        assembly = Assembly(
            lambda: current,
            clock=clock,
            bus=bus,
            conditions=Conditions(clock, bus),
            history=history,
            state_directory=tmp_path,
            status=WorkerStatus,
        )
        with closing(assembly):
            (task,) = (task for task in assembly.tasks if task.name == "incidents")
            async with anyio.create_task_group() as group:
                group.start_soon(task.make().run, heartbeat(clock))
                plan = reload_plan(SCHEMA, *settings)
                assert plan.changed == ("incidents.keep",)
                assert plan.tables == frozenset()
                current = settings[1]
                bus.publish(Event(clock.time(), "thermal", "gpu.emergency", "it is hot"))
                with anyio.fail_after(PATIENCE):
                    await recorded.wait()
                group.cancel_scope.cancel()
    assert [each.name[17:] for each in incidents.iterdir()] == ["gpu.emergency"]


async def test_a_component_that_is_switched_off_has_no_condition_any_more(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Nobody observes its subjects then, so nobody else would clear what is set about them."""
    settings = SCHEMA.settings(gpu={"library": "simulated"}, containers={"engine": "simulated"})
    bus = EventBus()
    conditions = Conditions(clock, bus)
    history = History.open(tmp_path / "history.sqlite3", keep=3600.0, max_bytes=2**24, clock=clock)
    with closing(history):
        assembly = Assembly(
            lambda: settings,
            clock=clock,
            bus=bus,
            conditions=conditions,
            history=history,
            state_directory=tmp_path,
            status=WorkerStatus,
        )
        with closing(assembly):
            tasks = {task.name: task for task in assembly.tasks}
            for name in ("thermal", "containers"):
                tasks[name].make()
            for type_ in (*WATCHED, STOPPED, *GOVERNOR, BROKEN):
                conditions.set(Condition(type_, "one", Severity.ERROR, "it is so"))
            settings = SCHEMA.settings(gpu={"library": "off"}, containers={"engine": "off"})
            for name in ("thermal", "containers"):
                tasks[name].make()
            assert [condition.type for condition in conditions.active()] == [BROKEN]
            async with anyio.create_task_group() as group:
                group.start_soon(tasks["backup"].make().run, heartbeat(clock))
                await settle()
                group.cancel_scope.cancel()
            assert conditions.active() == ()
