from __future__ import annotations

from aiidpd.alerts.manager import AlertClient, AlertManager
from aiidpd.alerts.metrics import AlertsCollector
from aiidpd.alerts.rule import AlertRule
from aiidpd.alerts.state import Observation, Stage, Status
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.conditions import Condition, Conditions
from aiidpd.kernel.events import Event, Severity
from aiidpd.kernel.publisher import Publisher
from aiidpd.telemetry.registry import build_registry
from tests.fakes.clock import FakeClock

TRUE, BETWEEN, FALSE, UNKNOWN = Status
HOT = AlertRule("Hot", Severity.ERROR, "it is hot.", "{name} is at {celsius:g} °C", "cool it", dwell=2.0)
DUSTY = AlertRule("Dusty", Severity.WARNING, "it is dusty.", "{name} is dusty", "clean it")


class House:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.events: list[Event] = []
        bus = EventBus()
        bus.attach(events=self.events.append)
        self.conditions = Conditions(self.clock, bus)
        self.manager = AlertManager(self.clock, Publisher(bus, self.clock, "alerts"), self.conditions)
        self.client: AlertClient = self.manager.client("thermal", [HOT, DUSTY])

    def hot(self, condition: Status, celsius: float = 91.0) -> Observation:
        return Observation("Hot", "GPU-0", condition, {"name": "GPU 0", "celsius": celsius})

    @property
    def metrics(self) -> dict[str, float]:
        registry = build_registry({"alerts": AlertsCollector(self.manager)})
        return {
            f"{sample.name} {' '.join(sample.labels.values())}": sample.value
            for family in registry.collect()
            for sample in family.samples
            if sample.name.startswith("aiidpd_alert")
        }


async def test_an_alert_is_told_to_the_bus_to_health_and_to_metrics():
    house = House()
    house.client.observe([house.hot(FALSE, 60.0)])
    assert house.metrics == {
        "aiidpd_alert_firing Hot error GPU-0": 0,
        "aiidpd_alert_fired_total Hot": 0,
        "aiidpd_alert_fired_total Dusty": 0,
    }
    for _ in range(3):
        house.client.observe([house.hot(TRUE)])
        await house.clock.advance(1)
    [alert] = house.manager.active()
    assert (alert.name, alert.stage, alert.summary) == ("Hot", Stage.FIRING, "GPU 0 is at 91 °C")
    assert (alert.since, alert.known_at) == (house.clock.time() - 1, house.clock.time() - 1)
    [condition] = house.conditions.active()
    assert (condition.type, condition.subject, condition.severity) == ("Hot", "GPU-0", Severity.ERROR)
    assert condition.remedy == "cool it"
    assert (condition.runbook, condition.source) == ("aiidpctl runbook Hot", "thermal")
    assert house.metrics["aiidpd_alert_firing Hot error GPU-0"] == 1
    assert house.metrics["aiidpd_alert_fired_total Hot"] == 1

    house.client.observe([house.hot(FALSE, 60.0)])
    assert house.conditions.active() == ()
    assert house.manager.active() == ()
    assert house.metrics["aiidpd_alert_firing Hot error GPU-0"] == 0
    told = [(event.kind, event.severity, event.subject) for event in house.events]
    assert told == [
        ("alert.pending", Severity.INFO, "GPU-0"),
        ("alert.firing", Severity.ERROR, "GPU-0"),
        ("alert.resolved", Severity.INFO, "GPU-0"),
    ]
    assert house.events[1].evidence == {
        "alert": "Hot",
        "alert_severity": "error",
        "worker": "thermal",
        "lasted_seconds": 2.0,
        "remedy": "cool it",
        "runbook": "aiidpctl runbook Hot",
        "name": "GPU 0",
        "celsius": 91.0,
    }


async def test_a_standing_alert_outlives_its_worker_and_its_new_worker_does_not_fire_it_again():
    house = House()
    for _ in range(3):
        house.client.observe([house.hot(TRUE)])
        await house.clock.advance(1)
    house.client = house.manager.client("thermal", [HOT, DUSTY])
    [alert] = house.manager.active()
    assert (alert.stage, alert.condition) == (Stage.FIRING, "unknown")
    house.client.observe([house.hot(TRUE)])
    assert [event.kind for event in house.events] == ["alert.pending", "alert.firing"]


async def test_the_time_without_a_worker_is_no_dwell():
    house = House()
    house.client.observe([house.hot(TRUE)])
    await house.clock.advance(60)
    house.client = house.manager.client("thermal", [HOT, DUSTY])
    house.client.observe([house.hot(TRUE)])
    assert [alert.stage for alert in house.manager.active()] == [Stage.PENDING]


async def test_what_is_not_known_has_no_series_unless_it_stands():
    house = House()
    house.client.observe([house.hot(FALSE)])
    house.client.observe([])
    assert "aiidpd_alert_firing Hot error GPU-0" not in house.metrics
    for _ in range(3):
        house.client.observe([house.hot(TRUE)])
        await house.clock.advance(1)
    house.client.observe([])
    assert house.metrics["aiidpd_alert_firing Hot error GPU-0"] == 1
    await house.clock.advance(300)
    house.client.observe([])
    assert "aiidpd_alert_firing Hot error GPU-0" not in house.metrics
    assert house.conditions.active() == ()
    assert house.events[-1].kind == "alert.expired"


async def test_a_rule_that_is_gone_takes_its_alerts_along():
    house = House()
    for _ in range(3):
        house.client.observe([house.hot(TRUE)])
        await house.clock.advance(1)
    house.manager.client("thermal", [DUSTY])
    assert house.manager.active() == ()
    assert house.conditions.active() == ()


def test_the_sources_do_not_know_each_other():
    house = House()
    other = house.manager.client("backup", [AlertRule("Late", Severity.WARNING, "", "late", "")])
    other.observe([Observation("Late", "", TRUE, {})])
    house.client.observe([])
    other.observe([Observation("Late", "", TRUE, {})])
    assert [alert.source for alert in house.manager.active()] == ["backup"]
    assert [rule.name for rule in house.manager.rules] == ["Hot", "Dusty", "Late"]


def test_the_gravest_stands_first_and_what_is_pending_last():
    house = House()
    dusty = Observation("Dusty", "GPU-0", TRUE, {"name": "GPU 0"})
    house.client.observe([house.hot(TRUE), dusty])
    assert [alert.name for alert in house.manager.active()] == ["Dusty", "Hot"]


async def test_a_condition_without_a_rule_fires_while_it_is_active():
    house = House()
    house.client.observe([house.hot(TRUE)])
    await house.clock.advance(3)
    house.client.observe([house.hot(TRUE)])
    house.conditions.set(
        Condition("container_unhealthy", "web", Severity.ERROR, "its health check fails", "docker logs web")
    )
    house.conditions.set(Condition("aside", "web", Severity.INFO, "it is nothing grave"))
    found = {alert.name: alert for alert in house.manager.active()}
    assert list(found) == ["Hot", "container_unhealthy"]
    assert found["container_unhealthy"].summary == "its health check fails"
    assert house.metrics["aiidpd_alert_firing container_unhealthy error web"] == 1
    house.conditions.clear("container_unhealthy", "web")
    assert [alert.name for alert in house.manager.active()] == ["Hot"]
    assert "aiidpd_alert_firing container_unhealthy error web" not in house.metrics
