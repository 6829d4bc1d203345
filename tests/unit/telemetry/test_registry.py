from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable
from shutil import which

import pytest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain
from prometheus_client.registry import Collector, CollectorRegistry

from aiidpd.daemon.metrics import BuildCollector, ConditionsCollector, WorkersCollector
from aiidpd.history.metrics import HistoryCollector
from aiidpd.history.store import HistoryStats
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.conditions import Condition, Conditions
from aiidpd.kernel.events import Severity
from aiidpd.kernel.task import WorkerState, WorkerStatus
from aiidpd.telemetry.exposition import render
from aiidpd.telemetry.registry import build_registry
from tests.fakes.clock import FakeClock

FRESH = WorkerStatus("thermal")
USED = WorkerStatus(
    "backup",
    state=WorkerState.RUNNING,
    simulated=True,
    last_success_at=1_800_000_000.5,
    last_duration=0.25,
    passes=7,
    failed_passes=2,
    restarts=1,
)
STATS = HistoryStats("the disk is full", 5, 10, 20, 1, 2, 4_096)


class Given(Collector):
    """Yields what it was given; raises what it was given to raise."""

    def __init__(self, *families: Metric, failure: Exception | None = None) -> None:
        self.families = families
        self.failure = failure

    def collect(self) -> Iterable[Metric]:
        yield from self.families
        if self.failure is not None:
            raise self.failure


def everything(clock: FakeClock, **more: Collector) -> CollectorRegistry:
    conditions = Conditions(clock, EventBus())
    conditions.set(Condition("disk", "a", Severity.ERROR, "full"))
    collectors = {
        "build": BuildCollector("1.2.3"),
        "workers": WorkersCollector(lambda: (FRESH, USED)),
        "conditions": ConditionsCollector(conditions.active),
        "history": HistoryCollector(lambda: STATS),
    }
    return build_registry(collectors | more)


def test_each_worker_has_its_series(clock: FakeClock) -> None:
    registry = everything(clock)

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"aiidpd_worker_{name}", labels)

    assert value("up", worker="thermal") == 0
    assert value("up", worker="backup") == 1
    assert value("simulated", worker="backup") == 1
    assert value("last_success_timestamp_seconds", worker="backup") == 1_800_000_000.5
    assert value("last_success_timestamp_seconds", worker="thermal") is None  # unknown is not zero
    assert value("pass_duration_seconds", worker="backup") == 0.25
    assert value("pass_duration_seconds", worker="thermal") is None
    assert value("passes_total", worker="backup", outcome="success") == 7
    assert value("passes_total", worker="backup", outcome="failure") == 2
    assert value("restarts_total", worker="backup") == 1
    assert value("state", worker="backup", state="running") == 1
    assert value("state", worker="backup", state="degraded") == 0
    assert value("state", worker="thermal", state="starting") == 1


def test_conditions_build_and_history_have_families(clock: FakeClock) -> None:
    registry = everything(clock)
    assert registry.get_sample_value("aiidpd_conditions", {"severity": "error"}) == 1
    assert registry.get_sample_value("aiidpd_conditions", {"severity": "warning"}) == 0
    assert 'aiidpd_build_info{python="3.' in render(registry)[1].decode()
    assert registry.get_sample_value("aiidpd_history_writable") == 0
    assert registry.get_sample_value("aiidpd_history_rows_dropped_total", {"table": "sample"}) == 2
    assert registry.get_sample_value("aiidpd_history_rows_written_total", {"table": "event"}) == 10


def gauge(name: str, *rows: tuple[str, object]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, "Made up.", labels=["x"])
    for label, value in rows:
        family.add_metric([label], value)
    return family


BROKEN = {
    "raises": Given(gauge("half", ("a", 1.0)), failure=RuntimeError("boom")),
    "gives no number": Given(gauge("half", ("a", None))),
    "gives no text": Given(gauge("half", (7, 1.0))),
    "gives what no text can hold": Given(gauge("half", ("\udcff", 1.0))),
    "takes another's name": Given(gauge("half", ("a", 1.0)), gauge("aiidpd_worker_up", ("a", 1.0))),
    "takes the guard's name": Given(gauge("half", ("a", 1.0)), gauge("aiidpd_scrape_collector_success")),
    "gives a family twice": Given(gauge("half", ("a", 1.0)), gauge("half", ("b", 1.0))),
    "gives a series twice": Given(gauge("half", ("a", 1.0), ("a", 2.0))),
}


@pytest.mark.parametrize("collector", BROKEN.values(), ids=BROKEN)
def test_a_collector_that_fails_costs_only_its_own_series(clock: FakeClock, collector: Collector) -> None:
    registry = everything(clock, broken=collector, after=Given(gauge("after", ("a", 1.0))))
    for accept, parse in (("", plain), ("application/openmetrics-text", openmetrics)):
        text = render(registry, accept)[1].decode()
        names = {sample.name for family in parse(text) for sample in family.samples}
        assert "half" not in names
        assert {"after", "aiidpd_worker_up", "aiidpd_history_size_bytes"} <= names
    success = "aiidpd_scrape_collector_success"
    assert registry.get_sample_value(success, {"collector": "broken"}) == 0
    assert registry.get_sample_value(success, {"collector": "after"}) == 1


def test_a_failure_is_told_when_it_begins() -> None:
    told: list[tuple[str, str]] = []
    broken = Given(failure=RuntimeError("boom"))
    registry = build_registry({"broken": broken}, lambda name, error: told.append((name, str(error))))
    render(registry)
    render(registry)
    assert told == [("broken", "boom")]
    broken.failure = None
    render(registry)
    broken.failure = RuntimeError("again")
    render(registry)
    assert told == [("broken", "boom"), ("broken", "again")]


def test_building_a_registry_reads_nothing() -> None:
    def never() -> tuple[WorkerStatus, ...]:
        raise AssertionError

    build_registry({"workers": WorkersCollector(never), "conditions": ConditionsCollector(never)})


@pytest.mark.real("prometheus")
def test_promtool_finds_nothing_to_say(clock: FakeClock, missing: Callable[[str, str], None]) -> None:
    if which("promtool") is None:
        missing("promtool", "apt-get install prometheus")
    page = render(everything(clock))[1]
    done = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
