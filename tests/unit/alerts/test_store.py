"""Alerts over a restart of the daemon: what stands goes on, in silence, and what is over ends once."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.alerts.manager import AlertClient, AlertManager
from aiidpd.alerts.metrics import AlertsCollector
from aiidpd.alerts.record import AlertRecord, AlertRecords, to_records
from aiidpd.alerts.rule import AlertRule
from aiidpd.alerts.state import Observation, Stage, Status
from aiidpd.alerts.store import AlertStore
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.events import Event, Severity
from aiidpd.kernel.publisher import Publisher
from aiidpd.platform.statefile import StateFile
from aiidpd.telemetry.registry import build_registry
from tests.fakes.clock import FakeClock
from tests.forms import examples
from tests.waiting import PATIENCE

TRUE, BETWEEN, FALSE, UNKNOWN = Status
HOT = AlertRule("Hot", Severity.ERROR, "it is hot.", "{name} is at {celsius:g} °C", "cool it", dwell=2.0)
LOST = AlertRule("Lost", Severity.WARNING, "it is lost.", "{name} is lost", "find it", keep_firing=3.0)
PAST = AlertRule("Past", Severity.ERROR, "it was.", "{name} was", "wait", looks_back=600.0)
RULES = (HOT, LOST, PAST)
EVIDENCE: Mapping[str, str | float] = {"name": "GPU 0", "celsius": 91.0}


class CountingFile(StateFile[AlertRecords]):
    """Counts how often it was to be written."""

    writes = 0

    def save_soon(self, value: AlertRecords) -> None:
        self.writes += 1
        super().save_soon(value)


class House:
    """One daemon after another on the same disk; a new process has a monotonic clock of its own."""

    def __init__(
        self, folder: Path, rules: Iterable[AlertRule] = RULES, *, name: str = "alerts.json"
    ) -> None:
        self.path = folder / name
        self.events: list[Event] = []
        self.clock = FakeClock()
        self.start(rules)

    def start(self, rules: Iterable[AlertRule] = RULES) -> None:
        bus = EventBus()
        bus.attach(events=self.events.append)
        self.conditions = Conditions(self.clock, bus)
        self.file = CountingFile(self.path, AlertRecords)
        store = AlertStore(self.file, self.clock, self.conditions, boot="boot-1")
        self.manager = AlertManager(self.clock, Publisher(bus, self.clock, "alerts"), self.conditions, store)
        self.client: AlertClient = self.manager.client("thermal", rules)

    def restart(self, away: float = 0.0, rules: Iterable[AlertRule] = RULES, *, killed: bool = False) -> None:
        if killed:
            self.file.wait(PATIENCE)
        else:
            self.manager.close(PATIENCE)
        self.clock = FakeClock(self.clock.time() + away)
        self.start(rules)

    async def see(self, condition: Status | None, rule: AlertRule = HOT, seconds: int = 1) -> None:
        for _ in range(seconds):
            seen = [] if condition is None else [Observation(rule.name, "GPU-0", condition, EVIDENCE)]
            self.client.observe(seen)
            await self.clock.advance(1)

    @property
    def told(self) -> list[str]:
        return [event.kind.removeprefix("alert.") for event in self.events if event.source == "alerts"]

    def written(self) -> tuple[AlertRecord, ...]:
        found = StateFile(self.path, AlertRecords).load()
        assert found is not None
        return found.alerts

    @property
    def codes(self) -> list[str]:
        return [condition.type for condition in self.conditions.active()]


async def test_what_fires_goes_on_with_its_old_since_and_is_not_told_again(tmp_path: Path) -> None:
    house = House(tmp_path)
    await house.see(TRUE, seconds=5)
    [before] = house.manager.active()
    house.restart(away=60)
    [after] = house.manager.active()
    assert (after.stage, after.restored, after.condition) == (Stage.FIRING, True, "unknown")
    assert (after.since, after.known_at) == (before.since, before.known_at)
    [condition] = house.conditions.active()
    assert (condition.type, condition.since, condition.severity) == ("Hot", before.since, Severity.ERROR)
    registry = build_registry({"alerts": AlertsCollector(house.manager)})
    labels = {"alert": "Hot", "severity": "error", "subject": "GPU-0"}
    assert registry.get_sample_value("aiidpd_alert_firing", labels) == 1

    await house.see(TRUE, seconds=5)
    [after] = house.manager.active()
    assert (after.restored, after.condition, after.since) == (False, "holds", before.since)
    await house.see(FALSE)
    assert house.told == ["pending", "firing", "restored", "resolved"]
    assert house.events[-1].evidence["lasted_seconds"] == 68
    assert house.codes == []


async def test_what_is_clear_after_the_restart_ends_as_it_always_does(tmp_path: Path) -> None:
    house = House(tmp_path)
    await house.see(TRUE, LOST, 2)
    house.restart(away=500)
    await house.see(FALSE, LOST, 3)
    assert house.told == ["firing", "restored"]
    await house.see(FALSE, LOST)
    assert house.told == ["firing", "restored", "resolved"]


async def test_what_looks_back_is_not_called_off_by_a_daemon_that_remembers_nothing(tmp_path: Path) -> None:
    house = House(tmp_path)
    await house.see(TRUE, PAST, 2)
    house.restart(away=100)
    await house.see(FALSE, PAST, 490)
    assert house.told == ["firing", "restored"]
    [alert] = house.manager.active()
    assert (alert.condition, alert.restored) == ("between", True)
    await house.see(FALSE, PAST, 20)
    assert house.told == ["firing", "restored", "resolved"]


async def test_what_is_pending_waits_for_what_is_left_of_its_dwell(tmp_path: Path) -> None:
    house = House(tmp_path)
    await house.see(TRUE, seconds=2)  # one second of its two held
    house.restart(away=1000)
    await house.see(TRUE)
    assert [alert.stage for alert in house.manager.active()] == [Stage.PENDING]
    await house.see(TRUE)
    assert house.told == ["pending", "restored", "firing"]


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        ((LOST,), "it is no longer watched for"),
        ((replace(HOT, summary="{other:g}"),), "it is judged by another rule now"),
    ],
)
async def test_an_alert_without_its_rule_is_over_and_says_why(
    tmp_path: Path, rules: tuple[AlertRule, ...], why: str
) -> None:
    house = House(tmp_path)
    await house.see(TRUE, seconds=5)
    house.restart(away=10, rules=rules)
    assert house.told == ["pending", "firing", "resolved"]
    assert house.events[-1].reason == f"over after 13 s, because {why}; the last was: GPU 0 is at 91 °C"
    assert house.events[-1].evidence["alert_severity"] == "error"
    assert house.codes == []
    house.restart(rules=rules)
    assert house.told == ["pending", "firing", "resolved"]


async def test_a_rule_that_a_reload_takes_away_ends_its_alert_too(tmp_path: Path) -> None:
    house = House(tmp_path)
    await house.see(TRUE, seconds=5)
    house.manager.client("thermal", [LOST])
    assert house.told == ["pending", "firing", "resolved"]


async def test_a_reload_changes_nothing_else(tmp_path: Path) -> None:
    house = House(tmp_path)
    await house.see(TRUE, seconds=5)
    [before] = house.manager.active()
    house.client = house.manager.client("thermal", [replace(HOT, dwell=60.0), LOST])
    await house.see(TRUE, seconds=5)
    assert house.told == ["pending", "firing"]
    assert house.manager.active()[0].since == before.since


@pytest.mark.parametrize(
    ("away", "stale_after", "expected"),
    [(3000, 300, "restored"), (4000, 300, "expired"), (500_000, 7 * 86400, "restored")],
)
async def test_what_was_not_looked_at_for_too_long_is_another_case(
    tmp_path: Path, away: float, stale_after: float, expected: str
) -> None:
    rules = (replace(HOT, stale_after=stale_after),)
    house = House(tmp_path, rules)
    await house.see(TRUE, seconds=4)
    house.restart(away, rules)
    assert house.told == ["pending", "firing", expected]
    await house.see(TRUE)
    assert house.told.count("firing") == 1


async def test_what_nobody_knows_after_the_restart_expires_and_the_time_away_does_not_count(
    tmp_path: Path,
) -> None:
    house = House(tmp_path)
    await house.see(TRUE, seconds=4)
    await house.see(None, seconds=100)
    house.restart(away=2000)
    await house.see(None, seconds=199)  # 300 s after it was known, as for a daemon that ran on
    assert house.told == ["pending", "firing", "restored"]
    await house.see(None)
    assert house.told == ["pending", "firing", "restored", "expired"]


async def test_what_is_made_up_and_what_is_real_have_no_alert_in_common(tmp_path: Path) -> None:
    house = House(tmp_path)
    for _ in range(4):
        house.client.observe([Observation("Hot", "GPU-0", TRUE, EVIDENCE)], simulated=True)
        await house.clock.advance(1)
    house.restart()
    house.client.observe([], simulated=False)
    assert house.told == ["pending", "firing", "restored", "resolved"]
    assert "because what is watched is real now" in house.events[-1].reason
    assert house.events[-1].simulated


async def test_a_clock_that_was_set_back_makes_nothing_old(tmp_path: Path) -> None:
    house = House(tmp_path)
    await house.see(TRUE, seconds=4)
    house.restart(away=-1_700_000_000)
    await house.see(TRUE)
    [alert] = house.manager.active()
    assert alert.since == house.clock.time() - 1
    assert house.told == ["pending", "firing", "restored"]


@pytest.mark.parametrize("content", [b"{", b'{"version": 2, "alerts": []}'])
async def test_a_file_that_is_damaged_or_newer_is_a_condition_and_nothing_was_active(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "alerts.json").write_bytes(content)
    house = House(tmp_path)
    assert house.manager.all() == ()
    assert house.codes == ["alert_state"]
    assert "alerts.json.unreadable" in house.conditions.active()[0].reason
    assert house.conditions.active()[0].remedy == "it is written again within a minute"  # the disk is well
    assert (tmp_path / "alerts.json.unreadable").read_bytes() == content
    await house.see(FALSE, seconds=10)
    house.file.wait(PATIENCE)
    assert house.codes == []
    assert house.written() == ()


async def test_a_disk_that_refuses_is_a_condition_until_it_takes_it(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    house = House(folder)
    await house.see(TRUE, seconds=4)
    house.file.wait(PATIENCE)
    await house.see(TRUE)
    assert house.codes == ["Hot", "alert_state"]
    folder.mkdir()
    await house.see(TRUE, seconds=61)
    house.file.wait(PATIENCE)
    await house.see(TRUE)
    assert house.codes == ["Hot"]
    assert [each.alert for each in house.written()] == ["Hot"]


async def test_it_is_written_when_something_begins_or_ends_and_else_once_a_minute(tmp_path: Path) -> None:
    house = House(tmp_path)
    await house.see(FALSE, seconds=1000)
    assert house.file.writes == 0
    await house.see(TRUE, seconds=4)
    written = house.file.writes
    assert 1 <= written <= 2
    await house.see(TRUE, seconds=600)
    assert house.file.writes <= written + 10
    await house.see(FALSE)
    assert house.file.writes <= written + 11


async def test_a_condition_that_comes_and_goes_is_not_a_write_each_time(tmp_path: Path) -> None:
    house = House(tmp_path)
    for _ in range(50):
        await house.see(TRUE)
        await house.see(FALSE)
    assert house.file.writes <= 21


async def test_a_worker_that_is_late_finds_its_alerts_however_often_the_others_write(tmp_path: Path) -> None:
    house = House(tmp_path)
    await house.see(TRUE, seconds=4)
    for _ in range(2):
        house.manager.close(PATIENCE)
        house.clock = FakeClock(house.clock.time() + 1)
        bus = EventBus()
        store = AlertStore(StateFile(house.path, AlertRecords), house.clock, house.conditions, boot="boot-1")
        publisher = Publisher(bus, house.clock, "alerts")
        house.manager = AlertManager(house.clock, publisher, house.conditions, store)
        house.manager.client("other", [LOST]).observe([Observation("Lost", "", TRUE, {"name": "it"})])
    house.client = house.manager.client("thermal", RULES)
    assert [alert.name for alert in house.manager.active()] == ["Hot", "Lost"]


# Whatever happens: a thousand files, and nothing here asks whether the power may fail after each.

IN_MEMORY = next((path for path in ("/dev/shm",) if Path(path).is_dir()), None)
conditions = st.sampled_from([*Status, None])


def transitions(house: House) -> list[tuple[str, object]]:
    return [
        (event.kind, event.evidence["alert"])
        for event in house.events
        if event.kind != "alert.restored" and event.source == "alerts"
    ]


@examples(200)
@given(
    st.lists(st.tuples(conditions, st.booleans()), max_size=40),
    st.floats(0, 3000),
    st.sampled_from([HOT, LOST, replace(HOT, dwell=0.0), replace(LOST, stale_after=4.0)]),
)
async def test_restarts_at_any_point_change_no_transition(
    course: list[tuple[Status | None, bool]], away: float, rule: AlertRule
) -> None:
    # All restarts together are no longer than an alert outlives: nothing may be known between two of them.
    each_away = away / max(1, sum(restart for _, restart in course))
    with tempfile.TemporaryDirectory(dir=IN_MEMORY) as folder:
        restarted, steady = House(Path(folder), [rule]), House(Path(folder), [rule], name="steady.json")
        for condition, restart in course:
            if restart:
                restarted.restart(each_away, [rule])
                steady.client = steady.manager.client("thermal", [rule])  # a new worker, in the same daemon
            await restarted.see(condition, rule)
            await steady.see(condition, rule)
            assert transitions(restarted) == transitions(steady)
        shown = [(alert.name, alert.stage) for alert in restarted.manager.active()]
        assert shown == [(alert.name, alert.stage) for alert in steady.manager.active()]
        assert restarted.codes == steady.codes
        restarted.file.wait(PATIENCE)
        steady.file.wait(PATIENCE)


@examples(60)
@given(st.lists(st.tuples(conditions, st.booleans()), max_size=40), st.sampled_from([HOT, LOST]))
async def test_a_kill_at_any_point_never_tells_a_beginning_or_an_end_twice(
    course: list[tuple[Status | None, bool]], rule: AlertRule
) -> None:
    with tempfile.TemporaryDirectory(dir=IN_MEMORY) as folder:
        house = House(Path(folder), [rule])
        for condition, kill in course:
            if kill:
                house.restart(5, [rule], killed=True)
            await house.see(condition, rule)
        house.file.wait(PATIENCE)
        marks = [kind for kind, _ in transitions(house) if kind not in ("alert.pending", "alert.cancelled")]
        assert marks[::2] == ["alert.firing"] * len(marks[::2])
        assert set(marks[1::2]) <= {"alert.resolved", "alert.expired"}


def test_what_is_too_much_for_the_file_leaves_out_what_is_missed_least(tmp_path: Path) -> None:
    one = AlertRecord(
        source="s",
        alert="a",
        subject="",
        since=0.0,
        known=0.0,
        held=0.0,
        unknown=0.0,
        summary="x" * 1000,
        remedy="",
        simulated=False,
        boot="",
        stage=Stage.FIRING,
        severity=Severity.ERROR,
        evidence=EVIDENCE,
    )
    many = [replace(one, subject=str(number), stage=Stage.PENDING) for number in range(2000)]
    house = House(tmp_path)
    AlertStore(house.file, house.clock, house.conditions).save([*many, one])
    house.file.wait(PATIENCE)
    assert house.file.problem == ""
    assert house.written()[0] == one
    assert 400 < len(house.written()) < 2000


def test_evidence_that_no_file_can_hold_is_left_out() -> None:
    wild = {"celsius": math.inf, "watts": math.nan, "name": "GPU 0", "gpu": 0}
    one = AlertRecord(
        "s", "a", "", 0.0, 0.0, 0.0, 0.0, "", "", False, "", Stage.FIRING, Severity.ERROR, wild
    )  # fmt: skip
    [found] = to_records([one]).alerts
    assert found.evidence == {"celsius": None, "watts": None, "name": "GPU 0", "gpu": 0}
