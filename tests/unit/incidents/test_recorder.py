from __future__ import annotations

import csv
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.thermal.gpu import GpuReading, GpuSnapshot
from aiidpd.incidents.incident import IncidentPolicy, Trigger, identity_of, name_of, thin
from aiidpd.incidents.recorder import IncidentRecorder
from aiidpd.incidents.requests import RequestCount, RequestTrack
from aiidpd.incidents.store import COLUMNS, IncidentStore
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.errors import NotFound
from aiidpd.kernel.events import Event, Severity
from tests.fakes.clock import FakeClock
from tests.heartbeat import heartbeat
from tests.waiting import PATIENCE

POLICY = IncidentPolicy(before=20.0, after=10.0, longest=40.0, fastest=1.0)


class Flown:
    """A flight recorder with GPUs that a test lets fly."""

    def __init__(self, folder: Path, clock: FakeClock, policy: IncidentPolicy = POLICY) -> None:
        self.clock = clock
        self.bus = EventBus()
        self.events: list[Event] = []
        self.bus.attach(events=self.events.append)
        self.store = IncidentStore(folder)
        self.recorder = IncidentRecorder(
            self.store,
            self.bus,
            clock,
            containers=lambda: {"read_at": 1.0, "reason": "", "containers": []},
            requests=lambda: {"running": self.at_work, "reason": "", "endpoints": []},
            counts=lambda: self.counts,
            policy=policy,
        )
        self.at_work: int | None = None
        self.counts: list[RequestCount] = []

    def work(self, running: int) -> None:
        """Let the engine be looked at now, and tell that so many requests run."""
        self.at_work = running
        self.counts = [RequestCount("vllm", self.clock.monotonic(), running, 0)]

    async def fly(self, seconds: int, temperature: float = 60.0, gpus: int = 1) -> None:
        for _ in range(seconds):
            await self.clock.advance(1.0)
            readings = tuple(
                GpuReading(
                    index, f"GPU-{index}", "card", temperature_celsius=temperature, slowdown_celsius=92.0
                )
                for index in range(gpus)
            )
            snapshot = GpuSnapshot(readings, "580", simulated=True)
            self.recorder.observe(snapshot, self.clock.time(), self.clock.monotonic())

    def say(self, kind: str, severity: Severity = Severity.ERROR, **evidence: Any) -> None:
        self.bus.publish(
            Event(
                self.clock.time(),
                "test",
                kind,
                "it is so",
                "GPU-0",
                severity,
                evidence=evidence,
                simulated=True,
            )
        )

    async def until(self, holds: Callable[[], bool]) -> None:
        with anyio.fail_after(PATIENCE):
            while not holds():
                await self.clock.advance(0.0)
                await anyio.sleep(0.005)

    async def told(self, kind: str, count: int = 1) -> list[Event]:
        await self.until(lambda: sum(event.kind == kind for event in self.events) >= count)
        return [event for event in self.events if event.kind == kind]

    def times(self, identity: str) -> list[float]:
        return [row[0] for row in self.store.read(identity, 10_000)["gpus"][0]["data"]]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with anyio.create_task_group() as group:
            group.start_soon(self.recorder.run, heartbeat(self.clock))
            yield
            group.cancel_scope.cancel()


@pytest.fixture
def flown(tmp_path: Path, clock: FakeClock) -> Flown:
    return Flown(tmp_path / "incidents", clock)


async def test_an_incident_has_what_was_before_and_what_came_after(flown: Flown) -> None:
    async with flown.running():
        await flown.fly(30)
        began = flown.clock.time()
        flown.say("alert.firing", alert="GpuLost")
        (recording,) = await flown.told("incident.recording")
        assert flown.store.summaries()[0]["state"] == "recording"
        await flown.fly(15, temperature=93.0)
        (recorded,) = await flown.told("incident.recorded")
    identity = recorded.subject
    assert recording.subject == identity
    assert identity == "20270115T080030Z-GpuLost"
    document = flown.store.read(identity, 10_000)
    assert document["state"] == "complete"
    assert document["simulated"]
    assert document["started_at"] == began
    assert [trigger["kind"] for trigger in document["triggers"]] == ["alert.firing"]
    assert document["containers"]["read_at"] == 1.0
    assert document["requests"] == {"running": None, "reason": "", "endpoints": []}
    gpu = document["gpus"][0]
    assert gpu["limits"]["slowdown_celsius"] == 92.0
    assert [row[0] - began for row in gpu["data"]] == [float(second) for second in range(-20, 11)]
    assert [row[1] for row in gpu["data"]] == [60.0] * 21 + [93.0] * 10


async def test_an_incident_has_the_requests_that_ran_then_before_and_after(flown: Flown) -> None:
    async with flown.running():
        for step in range(6):
            flown.work(step)
            await flown.fly(5)
        began = flown.clock.time()
        flown.say("alert.firing", alert="GpuLost")
        (recording,) = await flown.told("incident.recording")
        now = flown.store.read(recording.subject, 10)
        assert now["requests"]["running"] == 5
        assert now["requests_at_end"] is None
        flown.work(7)
        await flown.fly(5)
        flown.work(0)
        await flown.fly(10)
        (recorded,) = await flown.told("incident.recorded")
    document = flown.store.read(recorded.subject, 10)
    assert document["requests"]["running"] == 5
    assert document["requests_at_end"]["running"] == 0
    assert document["requests_track"]["columns"][1:] == ["endpoint", "requests_running", "requests_waiting"]
    told = [(row[0] - began, row[1], row[2]) for row in document["requests_track"]["data"]]
    expected = [(-20.0, 2), (-15.0, 3), (-10.0, 4), (-5.0, 5), (0.0, 7), (5.0, 0)]
    assert told == [(at, "vllm", running) for at, running in expected]


async def test_requests_are_followed_also_where_no_gpu_is_read_any_more(flown: Flown) -> None:
    async with flown.running():
        await flown.fly(3)
        flown.say("gpu.disappeared")
        await flown.told("incident.recording")
        began = flown.clock.monotonic()
        for running in (1, 2):
            flown.work(running)
            await flown.clock.advance(5.5)
        (recorded,) = await flown.told("incident.recorded")
    rows = flown.store.read(recorded.subject, 10)["requests_track"]["data"]
    assert [row[2] for row in rows] == [1, 2]
    assert began == 3.0


@given(
    st.lists(
        st.tuples(st.floats(0, 700), st.sampled_from("abc"), st.one_of(st.none(), st.integers(0, 99))),
        max_size=60,
    ),
    st.floats(0, 600),
)
def test_the_track_keeps_each_look_once_and_none_that_is_too_old(
    looks: list[tuple[float, str, int | None]], since: float
) -> None:
    track, now, latest = RequestTrack(600.0), 0.0, {}
    everything = []
    for gap, endpoint, running in looks:
        now += gap / 10
        latest[endpoint] = RequestCount(endpoint, now, running, 0)
        if not any(each.endpoint == endpoint and each.at == now for each in everything):
            everything.append(latest[endpoint])
        for _ in range(2):  # it is asked far more often than engines are
            track.add(latest.values())
    kept = track.since(now - since)
    assert sorted(kept, key=repr) == sorted(
        (each for each in everything if each.at >= max(now - since, now - 600.0)), key=repr
    )


async def test_an_incident_that_goes_on_is_extended_not_doubled_and_ends_at_its_longest(flown: Flown) -> None:
    async with flown.running():
        for _ in range(7):
            flown.say("gpu.xid", **{"class": "hardware"})
            await flown.fly(8)
        # Triggers at 0, 8 ... 48 s: the first incident ends 40 s after it began, what goes on is the next.
        await flown.told("incident.recorded")
        await flown.fly(12)
        await flown.told("incident.recorded", 2)
    first, second = flown.store.summaries()
    assert len(first["triggers"]) == 6  # at 0 to 40 s
    assert [trigger["time"] - first["started_at"] for trigger in second["triggers"]] == [48.0]
    assert flown.times(first["id"])[-1] - first["started_at"] == 40.0


async def test_what_is_no_trigger_begins_nothing(flown: Flown) -> None:
    async with flown.running():
        await flown.fly(3)
        flown.say("alert.firing", Severity.WARNING, alert="GpuTemperatureWarning")
        flown.say("gpu.xid", **{"class": "application"})
        flown.say("container.died")
        await flown.fly(20)
        await anyio.sleep(0.05)
    assert flown.store.identities() == []


async def test_without_any_reading_after_it_an_incident_still_ends(flown: Flown) -> None:
    async with flown.running():
        await flown.fly(5)
        flown.say("gpu.disappeared")
        await flown.told("incident.recording")
        await flown.clock.advance(11.0)
        (recorded,) = await flown.told("incident.recorded")
    assert len(flown.times(recorded.subject)) == 5


async def test_one_that_is_cut_short_has_its_past_and_is_told_as_interrupted(
    flown: Flown, tmp_path: Path, clock: FakeClock
) -> None:
    async with flown.running():
        await flown.fly(5)
        flown.say("gpu.emergency")
        (recording,) = await flown.told("incident.recording")
    (flown.store.folder / ".half.tmp").mkdir()
    after = Flown(tmp_path / "incidents", clock)
    async with after.running():
        await after.until(lambda: after.store.summaries()[0]["state"] == "interrupted")
    assert len(after.times(recording.subject)) == 5
    assert not (flown.store.folder / ".half.tmp").exists()


async def test_a_replaced_worker_s_recorder_goes_on_with_the_incident(flown: Flown) -> None:
    async with flown.running():
        await flown.fly(5)
        flown.say("gpu.emergency")
        await flown.told("incident.recording")
    await flown.fly(5)
    async with flown.running():
        await flown.fly(10)
        (recorded,) = await flown.told("incident.recorded")
    assert len(flown.store.identities()) == 1
    assert len(flown.times(recorded.subject)) == 5 + 10


async def test_a_disk_that_refuses_is_told_and_the_next_incident_is_tried(flown: Flown) -> None:
    flown.store.folder.write_text("not a folder")
    async with flown.running():
        await flown.fly(3)
        flown.say("gpu.emergency")
        (failed, *_) = await flown.told("incident.failed")
        assert failed.severity is Severity.ERROR
        assert str(flown.store.folder) in failed.reason
        flown.store.folder.unlink()
        await flown.fly(12)
        (recorded,) = await flown.told("incident.recorded")  # the end is written all the same
    assert flown.store.identities() == [recorded.subject]


async def test_two_incidents_in_one_second_have_two_names(flown: Flown) -> None:
    event = Event(flown.clock.time(), "t", "gpu.emergency", "so")
    for _ in range(2):
        name = flown.store.free(identity_of(event))
        flown.store.write(name, {"state": "complete"}, [])
    assert flown.store.identities() == [identity_of(event), f"{identity_of(event)}-2"]


def test_the_oldest_incidents_go_by_number_and_by_size_and_the_newest_stays(tmp_path: Path) -> None:
    store = IncidentStore(tmp_path, keep=3, max_bytes=2**30)
    for second in range(5):
        store.write(f"20260101T00000{second}Z-x", {"state": "complete", "reason": "y" * 1000}, [])
    assert [name[:16] for name in store.identities()] == [f"20260101T00000{second}Z" for second in (2, 3, 4)]
    store.max_bytes = 10
    assert store.prune() == ["20260101T000002Z-x", "20260101T000003Z-x"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["20260101T000004Z-x"]


def test_an_incident_from_the_future_does_not_push_out_what_is_written_now(tmp_path: Path) -> None:
    store = IncidentStore(tmp_path, keep=1)
    store.write("20360101T000000Z-ahead", {"state": "complete"}, [])
    store.write("20260101T000000Z-now", {"state": "complete"}, [])
    assert store.identities() == ["20260101T000000Z-now"]


@pytest.mark.parametrize(
    "identity", ["../secrets", "20260101T000000Z-../../x", "", "x", "20260101T000000Z-gone"]
)
def test_what_is_no_incident_is_not_found(tmp_path: Path, identity: str) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "incident.json").write_text("{}")
    with pytest.raises(NotFound):
        IncidentStore(tmp_path / "incidents").read(identity, 10)


async def test_a_damaged_incident_hides_no_other(flown: Flown) -> None:
    for name in ("20260101T000000Z-a", "20260101T000001Z-b"):
        flown.store.write(name, {"state": "complete"}, [])
    (flown.store.folder / "20260101T000000Z-a" / "incident.json").write_text("{")
    assert [each["state"] for each in flown.store.summaries()] == ["broken", "complete"]


async def test_the_files_are_csv_and_json_that_others_read(flown: Flown) -> None:
    async with flown.running():
        await flown.fly(3)
        flown.say("gpu.emergency")
        (recording,) = await flown.told("incident.recording")
    folder = flown.store.folder / recording.subject
    with (folder / "gpu-0.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert tuple(lines[0]) == COLUMNS
    assert [line["temperature_celsius"] for line in lines] == ["60.0"] * 3
    assert lines[0]["power_watts"] == ""
    assert lines[0]["timestamp"] == "2027-01-15T08:00:01.000Z"
    assert json.loads((folder / "incident.json").read_text())["id"] == recording.subject


def test_a_name_comes_from_the_alert_or_the_kind_and_is_safe_for_a_folder() -> None:
    def named(kind: str, **evidence: Any) -> str:
        return name_of(Event(0.0, "s", kind, "r", evidence=evidence))

    assert named("alert.firing", alert="GpuLost") == "GpuLost"
    assert named("gpu.lost") == "gpu.lost"
    assert named("alert.firing", alert="../../etc/passwd\n") == "etc-passwd"
    assert named("alert.firing", alert="...") == "incident"


def test_triggers_are_data() -> None:
    trigger = Trigger("a.b", Severity.WARNING, {"class": frozenset({"x"})})
    event = Event(0.0, "s", "a.b", "r", severity=Severity.ERROR, evidence={"class": "x"})
    assert trigger.meets(event)
    assert not Trigger("a").meets(event)
    assert not Trigger("a.b", evidence={"class": frozenset({"y"})}).meets(event)


def test_thinning_keeps_the_peaks_and_invents_nothing() -> None:
    rows = [(at, None if at % 7 == 0 else float(at % 50)) for at in range(1000)]
    shown = thin(rows, 40, by=1)
    assert len(shown) == 40
    assert set(shown) <= set(rows)
    assert max(row[1] or 0 for row in shown) == 49
    assert thin(rows[:5], 40, by=1) == rows[:5]
