"""Every component of the list, and one from outside: it builds, runs, shows and answers by the same rules."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import anyio
import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from aiidpd.alerts.rule import AlertRule
from aiidpd.alerts.state import Observation, Status
from aiidpd.api.access import Access
from aiidpd.api.document import Document
from aiidpd.api.route import Answer, Call, Route
from aiidpd.component import Component, Context, Spec
from aiidpd.components.all import COMPONENTS
from aiidpd.config.model import Settings
from aiidpd.daemon.assembly import Assembly
from aiidpd.daemon.reference import assembled
from aiidpd.history.store import History
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.events import Severity
from aiidpd.kernel.supervisor import Supervisor
from aiidpd.kernel.task import Heartbeat, Task, WorkerStatus
from aiidpd.telemetry.exposition import render
from aiidpd.telemetry.family import GaugeFamily
from aiidpd.telemetry.registry import build_registry
from tests.fakes.clock import FakeClock, settle


def test_every_component_builds_on_the_defaults_and_names_its_tasks_like_itself() -> None:
    with assembled() as assembly:
        assert list(assembly.components) == [spec.name for spec in COMPONENTS]
        for name, component in assembly.components.items():
            assert component.tasks[0].name == name
            assert all(task.name.startswith(f"{name}.") for task in component.tasks[1:])
            assert all(task.deadline() > 5.0 for task in component.tasks)
        names = [task.name for task in assembly.tasks]
        assert len(set(names)) == len(names)


def test_every_table_that_a_component_names_is_one_of_the_configuration() -> None:
    settings = Settings()
    for spec in COMPONENTS:
        for table, kind in spec.tables.items():
            assert type(getattr(settings, table)) is kind
        assert all(hasattr(settings, table) for table in spec.follows)


def test_every_collector_collects_before_anything_was_read() -> None:
    failed: list[str] = []
    with assembled() as assembly:
        registry = build_registry(assembly.collectors, lambda name, error: failed.append(f"{name}: {error}"))
        list(registry.collect())
    assert failed == []


def test_every_route_has_a_sentence_and_a_path_of_its_own() -> None:
    with assembled() as assembly:
        names = [route.name for route in assembly.routes]
        assert len(set(names)) == len(names)
        for route in assembly.routes:
            assert re.fullmatch(r"/v1/[a-z/]+(\{id\})?", route.path)
            assert route.summary.endswith(".")


class Level:
    """The reading of the component below: how full a tank is."""

    value: float | None = None


class TankDocument(Document):
    level_ratio: float | None


class TankCollector(Collector):
    def __init__(self, level: Level) -> None:
        self._level = level

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        family = GaugeFamily("aiidpd_tank_level_ratio", "How full the tank is.")
        if self._level.value is not None:
            family.add_metric([], self._level.value)
        yield family


TANK_FULL = AlertRule(
    name="TankFull",
    meaning="The tank is full.",
    summary="a tank is {level:.0%} full",
    remedy="empty it",
    severity=Severity.WARNING,
    dwell=2.0,
)


class TankWorker:
    simulated = False

    def __init__(self, context: Context, level: Level) -> None:
        self._context = context
        self._level = level
        self._alerts = context.alerts.feed("tank", [TANK_FULL])

    async def run(self, heartbeat: Heartbeat) -> None:
        while True:
            with heartbeat.working():
                level = self._level.value or 0.0
                status = Status.TRUE if level > 0.9 else Status.FALSE
                self._alerts.observe(
                    [Observation("TankFull", "tank-1", status, {"level": level})], simulated=False
                )
            await heartbeat.idle(anyio.Event(), 1.0)


def tank(level: Level) -> Spec:
    """Return a component as a stranger would write one: a figure, an alert, a route, a task."""

    def build(context: Context) -> Component:
        async def get(_call: Call) -> Answer:
            return TankDocument(level_ratio=level.value)

        return Component(
            tasks=(Task("tank", lambda: TankWorker(context, level), lambda: 30.0),),
            collectors={"tank": TankCollector(level)},
            routes=(Route("GET", "/v1/tank", Access.READ, get, "How full the tank is.", TankDocument),),
        )

    return Spec("tank", {}, build)


@pytest.fixture
def level() -> Level:
    return Level()


async def test_a_component_from_outside_needs_nothing_but_its_spec(
    tmp_path: Path, clock: FakeClock, level: Level
) -> None:
    settings, bus = Settings(), EventBus()
    conditions = Conditions(clock, bus)
    history = History.open(tmp_path / "h.sqlite3", keep=3600, max_bytes=2**24, clock=clock)
    statuses: dict[str, WorkerStatus] = {}
    assembly = Assembly(
        lambda: settings,
        clock=clock,
        bus=bus,
        conditions=conditions,
        history=history,
        state_directory=tmp_path,
        status=statuses.__getitem__,
        specs=(tank(level),),
    )
    supervisor = Supervisor(assembly.tasks, clock=clock, bus=bus, health=conditions, uniform=lambda: 0.5)
    statuses |= {status.name: status for status in supervisor.statuses}
    routes = {route.name: route for route in assembly.routes}
    async with anyio.create_task_group() as group:
        group.start_soon(supervisor.run)
        await settle()
        level.value = 0.95
        await clock.advance(10.0)
        (found,) = [each for each in conditions.findings() if each.code == "TankFull"]
        assert found.subject == "tank-1"
        answer: Any = await routes["GET /v1/tank"].handler(Call({}, None, None))
        assert answer.level_ratio == 0.95
        assert "aiidpd_tank_level_ratio 0.95" in page(assembly)
        group.cancel_scope.cancel()
    assembly.close()
    history.close()


def page(assembly: Assembly) -> str:
    _, text = render(build_registry(assembly.collectors))
    return text.decode()
