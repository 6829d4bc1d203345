"""Every component of the list, and one from outside: it builds, runs, shows and answers by the same rules."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from pydantic import Field

from aiidpd.alerts.rule import AlertRule
from aiidpd.alerts.state import Observation, Status
from aiidpd.api.access import Access
from aiidpd.api.route import Answer, Call, Route
from aiidpd.cli.main import COMMANDS, main
from aiidpd.cli.session import Session
from aiidpd.component import Component, Context, Spec
from aiidpd.components.all import COMPONENTS
from aiidpd.config.document import example_file
from aiidpd.config.document import page as configuration_page
from aiidpd.config.fields import Table, Whole
from aiidpd.config.load import load
from aiidpd.daemon.assembly import Assembly
from aiidpd.daemon.reference import assembled
from aiidpd.daemon.schema import SCHEMA, schema_of
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
from tests.fakes.control import control_daemon


def test_every_component_builds_on_the_defaults_and_names_its_tasks_like_itself() -> None:
    with assembled() as assembly:
        assert list(assembly.components) == [spec.name for spec in COMPONENTS]
        for name, component in assembly.components.items():
            assert {task.name for task in component.tasks[:1]} <= {name}  # one of commands alone has none
            assert all(task.name.startswith(f"{name}.") for task in component.tasks[1:])
            assert all(task.deadline() > 5.0 for task in component.tasks)
        names = [task.name for task in assembly.tasks]
        assert len(set(names)) == len(names)


def test_every_table_that_a_component_names_is_one_of_the_configuration() -> None:
    settings = SCHEMA.settings()
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
            assert re.fullmatch(r"/v1/[a-z/]+(\{(id|name)\})?", route.path)
            assert route.summary.endswith(".")


class TankAlertSettings(Table):
    """When the alert on a tank fires."""

    full_percent: Whole = Field(default=90, ge=1, le=100, description="From how full on.")


class TankSettings(Table):
    """The component tank: a tank of water."""

    alerts: TankAlertSettings = TankAlertSettings()


class Level:
    """The reading of the component below: how full a tank is."""

    value: float | None = None


@dataclass(frozen=True, slots=True)
class TankDocument:
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

    def __init__(self, context: Context, level: Level, settings: TankAlertSettings) -> None:
        self._settings = settings
        self._level = level
        self._alerts = context.alerts.client("tank", [TANK_FULL])

    async def run(self, heartbeat: Heartbeat) -> None:
        while True:
            with heartbeat.working():
                level = self._level.value or 0.0
                full = 100 * level >= self._settings.full_percent
                status = Status.TRUE if full else Status.FALSE
                self._alerts.observe(
                    [Observation("TankFull", "tank-1", status, {"level": level})], simulated=False
                )
            await heartbeat.idle(anyio.Event(), 1.0)


def tank(level: Level) -> Spec:
    """Return a component as a stranger would write one: a figure, an alert with a key, a route, a task."""

    def build(context: Context) -> Component:
        settings = context.settings("tank", TankSettings)

        async def get(_call: Call) -> Answer:
            return TankDocument(level_ratio=level.value)

        return Component(
            tasks=(Task("tank", lambda: TankWorker(context, level, settings().alerts), lambda: 30.0),),
            collectors={"tank": TankCollector(level)},
            routes=(Route("GET", "/v1/tank", Access.READ, get, "How full the tank is.", TankDocument),),
        )

    return Spec("tank", {"tank": TankSettings}, build)


def add_tank(command: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    """Give the command ``tank`` its options."""
    del common
    command.set_defaults(run=_show_tank)


def _show_tank(_options: argparse.Namespace, session: Session) -> int:
    session.data([f"{session.client.get('/v1/tank')['level_ratio']:.0%} full"])
    return 0


@pytest.fixture
def level() -> Level:
    return Level()


async def test_a_component_from_outside_needs_nothing_but_its_spec(
    tmp_path: Path,
    clock: FakeClock,
    level: Level,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spec, bus = tank(level), EventBus()
    schema = schema_of((spec,))
    (tmp_path / "aiidpd.toml").write_text("[tank.alerts]\nfull_percent = 80\n")
    settings = load(schema, tmp_path / "aiidpd.toml", {}).settings
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
        specs=(spec,),
    )
    supervisor = Supervisor(assembly.tasks, clock=clock, bus=bus, conditions=conditions, uniform=lambda: 0.5)
    statuses |= {status.name: status for status in supervisor.statuses}
    routes = {route.name: route for route in assembly.routes}
    async with anyio.create_task_group() as group:
        group.start_soon(supervisor.run)
        await settle()
        level.value = 0.85
        await clock.advance(10.0)
        (found,) = [each for each in conditions.active() if each.type == "TankFull"]
        assert found.subject == "tank-1"
        answer: Any = await routes["GET /v1/tank"].handler(Call({}, None, None))
        assert answer.level_ratio == 0.85
        assert "aiidpd_tank_level_ratio 0.85" in page(assembly)
        # One line of the list makes it a command, which asks over the real socket.
        monkeypatch.setitem(COMMANDS, "tank", (f"{__name__}:add_tank", "how full the tank is"))
        (folder := tmp_path / "api").mkdir()
        async with control_daemon(folder, more_routes=(routes["GET /v1/tank"],)) as daemon:
            command = ["--socket", str(daemon.path), "tank"]
            assert await anyio.to_thread.run_sync(main, command) == 0
        assert capsys.readouterr().out == "85% full\n"
        group.cancel_scope.cancel()
    assembly.close()
    history.close()


def test_the_keys_of_a_component_from_outside_are_in_the_documents(level: Level) -> None:
    schema = schema_of((tank(level),))
    assert "[tank.alerts]" in example_file(schema)
    assert "AIIDPD_TANK__ALERTS__FULL_PERCENT" in configuration_page(schema)
    assert schema.readers == {"tank": ("tank",)}


def page(assembly: Assembly) -> str:
    _, text = render(build_registry(assembly.collectors))
    return text.decode()
