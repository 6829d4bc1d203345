from __future__ import annotations

import csv
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from aiidpd.components.containers.evidence.running import ContainerEvidence
from aiidpd.components.engines.evidence import RequestEvidence
from aiidpd.components.thermal.evidence import COLUMNS, NOISE, TRIGGERS, GpuEvidence
from aiidpd.components.thermal.gpu import GpuReading
from aiidpd.contracts.engines import EngineState, EnginesView
from aiidpd.contracts.probes import ProbesView
from aiidpd.incidents.evidence import Evidence, Moment
from aiidpd.incidents.incident import FORMAT, IncidentPolicy, Trigger, identity_of, name_of, thin
from aiidpd.incidents.recorder import IncidentRecorder
from aiidpd.incidents.ring_buffer import RingBuffers, Window
from aiidpd.incidents.series import Number, Series
from aiidpd.incidents.settings import IncidentSettings
from aiidpd.incidents.store import IncidentStore
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.errors import NotFound, Unavailable
from aiidpd.kernel.events import Event, Severity
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.publisher import Publisher
from tests.believed import believed
from tests.fakes.clock import FakeClock
from tests.heartbeat import heartbeat
from tests.tables import made
from tests.waiting import PATIENCE

POLICY = IncidentPolicy(before=20.0, after=10.0, longest=40.0)


class Flown:
    """An incident recorder with GPUs and an engine that a test drives."""

    def __init__(self, folder: Path, clock: FakeClock, policy: IncidentPolicy = POLICY) -> None:
        self.clock = clock
        self.bus = EventBus()
        self.events: list[Event] = []
        self.bus.attach(events=self.events.append)
        self.store = IncidentStore(folder)
        self.recorder = IncidentRecorder(
            self.store, Publisher(self.bus, clock, "incidents"), clock, policy=policy
        )
        self.engines: Latest[EnginesView] = Latest(clock, 100.0)
        self.requests = RequestEvidence(self.engines, ProbesView)
        self.gpus = GpuEvidence(fastest=1.0, reach=policy.before)
        self.recorder.contribute("containers", ContainerEvidence(Latest(clock, 100.0)))
        self.recorder.contribute("requests", self.requests)
        self.recorder.contribute("gpus", self.gpus, triggers=TRIGGERS, noise=NOISE)

    def work(self, running: int) -> None:
        """Let the engine answer now that it works on so many requests."""
        state = EngineState(
            "vllm",
            "m",
            simulated=True,
            requests_running=running,
            requests_waiting=0,
            read_at=self.clock.time(),
            read=self.clock.monotonic(),
        )
        self.engines.put(EnginesView((state,)))
        self.requests.record(state)

    async def fly(self, seconds: int, temperature: float = 60.0, gpus: int = 1) -> None:
        for _ in range(seconds):
            await self.clock.advance(1.0)
            readings = tuple(
                GpuReading(
                    index, f"GPU-{index}", "card", temperature_celsius=temperature, slowdown_celsius=92.0
                )
                for index in range(gpus)
            )
            now, at = self.clock.monotonic(), self.clock.time()
            self.gpus.on_snapshot(believed(readings, now, at=at, simulated=True))

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
    assert document["containers"]["reason"] == "no current reading of the containers"
    assert document["requests"]["running"] is None
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
    settings = [made(IncidentSettings, keep=3, max_size=2**30)]
    store = IncidentStore(tmp_path, lambda: settings[-1])
    for second in range(5):
        store.write(f"20260101T00000{second}Z-x", {"state": "complete", "reason": "y" * 1000}, [])
    assert [name[:16] for name in store.identities()] == [f"20260101T00000{second}Z" for second in (2, 3, 4)]
    settings.append(made(IncidentSettings, max_size=10))  # a reload
    assert store.prune() == ["20260101T000002Z-x", "20260101T000003Z-x"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["20260101T000004Z-x"]


def test_an_incident_from_the_future_does_not_push_out_what_is_written_now(tmp_path: Path) -> None:
    store = IncidentStore(tmp_path, lambda: made(IncidentSettings, keep=1))
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
    assert list(lines[0]) == ["timestamp", *(column.name for column in COLUMNS)]
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


def stored(flown: Flown, identity: str, document: dict[str, Any], **files: str) -> None:
    """Write an incident as another daemon may have left it."""
    flown.store.write(identity, document, [])
    for name, text in files.items():
        (flown.store.folder / identity / f"{name}.csv").write_text(text)


def test_an_incident_of_before_with_other_columns_is_read(flown: Flown) -> None:
    document = {"state": "complete", "events": [], "gpus": [{"uuid": "a", "file": "old.csv"}]}
    rows = "".join(f"{60 + second},none,2027-01-15T08:00:{second:02d}Z\r\n" for second in range(50))
    stored(flown, "20260101T000000Z-a", document, old=f"temperature_celsius,state,timestamp\r\n{rows}")
    (gpu,) = flown.store.read("20260101T000000Z-a", 10)["gpus"]
    assert gpu["columns"] == ["time", "temperature_celsius", "state"]
    assert [row[1] for row in gpu["data"]] == [64.0 + 5 * step for step in range(10)]  # the peaks
    assert gpu["data"][-1] == [1_800_000_049.0, 109.0, "none"]


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"format": FORMAT + 1}, "its format is 2, and this aiidpd reads 1; a newer aiidpd wrote it"),
        ({"format": "x"}, "its format is 'x'"),
        ({"gpus": [{"file": "../../secret"}]}, "no name of a file"),
        ({"gpus": [{"file": "gone.csv"}]}, "No such file"),
        ({"gpus": [{"file": "odd.csv"}]}, "does not name each column"),
        ({"gpus": [{"file": "odd.csv"}, {}]}, "does not name each column"),
        ({"gpus": [{"file": "fine.csv"}, {}]}, "'file'"),
        ({"gpus": [{"file": "fine.csv"}, 7]}, "not subscriptable"),
    ],
)
def test_what_can_not_be_read_says_why(flown: Flown, document: dict[str, Any], reason: str) -> None:
    identity = "20260101T000000Z-a"
    stored(flown, identity, document, odd="a,b\n", fine="timestamp,b\n")
    with pytest.raises(Unavailable, match=reason):
        flown.store.read(identity, 10)


def test_an_incident_of_a_newer_format_is_listed_and_left_as_it_is(flown: Flown) -> None:
    stored(flown, "20260101T000000Z-a", {"format": FORMAT + 1, "state": "recording"})
    file = flown.store.folder / "20260101T000000Z-a" / "incident.json"
    before = file.read_bytes()
    flown.store.recover()
    assert file.read_bytes() == before
    (found,) = flown.store.summaries()
    assert found["state"] == "broken"
    assert "install that again" in found["reason"]


def test_a_folder_without_a_document_does_not_stop_a_start(flown: Flown) -> None:
    (flown.store.folder / "20260101T000000Z-a").mkdir(parents=True)
    stored(flown, "20260101T000001Z-b", {"state": "recording"})
    flown.store.recover()
    assert [each["state"] for each in flown.store.summaries()] == ["broken", "interrupted"]


class Rooms(Evidence):
    """The temperature of rooms: evidence of a component that nobody here knows."""

    def __init__(self) -> None:
        self.held = RingBuffers("room", (Number("temperature_celsius", 1),), reach=20.0, fastest=1.0)
        self.broken: set[str] = set()

    @property
    def rings(self) -> RingBuffers:
        return self.held

    def documents(self, moment: Moment) -> dict[str, Any]:
        if moment in self.broken:
            raise RuntimeError("the thermometer fell down")
        return {f"doors_at_{moment}": {"open": 2}}

    def summary(self, window: Window) -> tuple[dict[str, Any], list[Series]]:
        if "summary" in self.broken:
            raise RuntimeError("the thermometer is gone")
        entries, files = window.files("room", sorted(window.subjects), lambda room: {"floor": len(room)})
        return {"rooms": entries}, files


async def one_incident(flown: Flown, rooms: Rooms) -> dict[str, Any]:
    async with flown.running():
        for second in range(3):
            await flown.fly(1)
            rooms.held.add("hall", flown.clock.monotonic(), (20.0 + second,))
        flown.say("door.burst")
        (recording,) = await flown.told("incident.recording")
        rooms.held.add("attic", flown.clock.monotonic() + 1.0, (30.0,))
        await flown.fly(12)
        (recorded,) = await flown.told("incident.recorded")
    assert recording.subject == recorded.subject
    return flown.store.read(recorded.subject, 100)


async def test_whatever_a_component_contributes_is_in_the_incident(flown: Flown) -> None:
    rooms = Rooms()
    flown.recorder.contribute("rooms", rooms, triggers=[Trigger("door.burst")], noise=["door.rattled"])
    with pytest.raises(ValueError, match="rooms"):
        flown.recorder.contribute("rooms", Rooms())
    flown.say("door.rattled")
    document = await one_incident(flown, rooms)
    assert document["doors_at_beginning"] == document["doors_at_end"] == {"open": 2}
    attic, hall = document["rooms"]
    assert (attic["room"], attic["floor"], attic["file"], attic["rows"]) == ("attic", 5, "room-0.csv", 1)
    assert attic["columns"] == hall["columns"] == ["time", "temperature_celsius"]
    assert [row[1] for row in hall["data"]] == [20.0, 21.0, 22.0]
    assert [event["kind"] for event in document["events"]] == ["door.burst"]
    assert len(document["gpus"]) == 1
    (recorded,) = [event for event in flown.events if event.kind == "incident.recorded"]
    assert (recorded.evidence["rooms"], recorded.evidence["gpus"]) == (2, 1)
    assert recorded.source == "incidents"


async def test_a_contributor_that_fails_costs_its_own_part_alone(flown: Flown) -> None:
    rooms = Rooms()
    rooms.broken = {Moment.BEGINNING, Moment.END, "summary"}
    flown.recorder.contribute("rooms", rooms, triggers=[Trigger("door.burst")])
    document = await one_incident(flown, rooms)
    assert document["state"] == "complete"
    assert document["rooms"] == {"reason": "RuntimeError: the thermometer fell down"}
    assert len(document["gpus"][0]["data"]) == 3 + 10
    failed = await flown.told("incident.failed")
    assert {event.severity for event in failed} == {Severity.ERROR}
    assert failed[-1].reason == (
        f"cannot record rooms in incident {document['id']}: RuntimeError: the thermometer is gone"
    )


class AtTriggers(Evidence):
    """Brings a document and a text with each trigger for which it has one."""

    def __init__(self) -> None:
        self.brings: dict[str, str] = {}
        self.all: list[str] = []

    def documents(self, moment: Moment) -> dict[str, Any]:
        if moment is Moment.BEGINNING:
            self.all.clear()
        return {}

    def at_trigger(self) -> dict[str, Any]:
        self.all += self.brings
        return {"brought": list(self.all)} if self.brings else {}

    def texts(self) -> dict[str, str]:
        return self.brings


def flown_with(flown: Flown) -> AtTriggers:
    brought = AtTriggers()
    flown.recorder.contribute("brought", brought, triggers=(Trigger("heal"),))
    return brought


def heal(flown: Flown, brought: AtTriggers, **texts: str) -> Event:
    brought.brings = {name.replace("_", "."): text for name, text in texts.items()}
    event = flown.bus.publish(Event(flown.clock.time(), "test", "heal", "it hangs", "vllm"))
    brought.brings = {}
    return event


async def test_what_a_trigger_brings_is_on_the_disk_when_that_is_awaited(flown: Flown) -> None:
    brought = flown_with(flown)
    async with flown.running():
        first = await flown.recorder.written(heal(flown, brought, one_txt="a\n"))
        assert flown.store.read(first, 10)["brought"] == ["one.txt"]
        assert (flown.store.folder / first / "one.txt").read_text() == "a\n"
        # The next one within the incident: it has both.
        second = await flown.recorder.written(heal(flown, brought, two_txt="b\n"))
        assert second == first
        document = flown.store.read(first, 10)
        assert document["brought"] == ["one.txt", "two.txt"]
        assert [trigger["kind"] for trigger in document["triggers"]] == ["heal", "heal"]
        assert (flown.store.folder / first / "two.txt").read_text() == "b\n"
        await flown.fly(15)
        await flown.told("incident.recorded")
        assert flown.store.read(first, 10)["state"] == "complete"
        assert flown.store.read(first, 10)["brought"] == ["one.txt", "two.txt"]
        third = await flown.recorder.written(heal(flown, brought, three_txt="c\n"))
        assert third != first
        assert flown.store.read(third, 10)["brought"] == ["three.txt"]


async def test_two_who_wait_at_once_both_get_theirs(flown: Flown) -> None:
    brought = flown_with(flown)
    found: list[str] = []

    async def wait(event: Event) -> None:
        found.append(await flown.recorder.written(event))

    async with flown.running(), anyio.create_task_group() as group:
        group.start_soon(wait, heal(flown, brought, one_txt="a"))
        group.start_soon(wait, heal(flown, brought, two_txt="b"))
    assert len(found) == 2
    assert len(set(found)) == 1
    assert flown.store.read(found[0], 10)["brought"] == ["one.txt", "two.txt"]


async def test_a_disk_that_refuses_ends_the_wait_and_no_trigger_has_no_incident(flown: Flown) -> None:
    brought = flown_with(flown)
    flown.store.folder.write_text("not a folder")
    async with flown.running():
        assert await flown.recorder.written(heal(flown, brought, one_txt="a")) == ""
        await flown.told("incident.failed")
        other = flown.bus.publish(Event(flown.clock.time(), "test", "other", "it is so"))
        assert await flown.recorder.written(other) == ""
        # What was refused is tried again with what comes later.
        flown.store.folder.unlink()
        identity = await flown.recorder.written(heal(flown, brought, two_txt="b"))
        assert sorted(path.name for path in (flown.store.folder / identity).glob("*.txt")) == [
            "one.txt",
            "two.txt",
        ]


async def test_a_name_that_is_no_file_of_text_costs_that_part_alone(flown: Flown) -> None:
    brought = flown_with(flown)
    async with flown.running():
        brought.brings = {"../escape.txt": "x"}
        event = flown.bus.publish(Event(flown.clock.time(), "test", "heal", "it hangs"))
        identity = await flown.recorder.written(event)
        assert [path.name for path in (flown.store.folder / identity).iterdir()] == ["incident.json"]
        (failed,) = await flown.told("incident.failed")
        assert "no name of a file of text" in failed.reason
