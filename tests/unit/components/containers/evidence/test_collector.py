"""Evidence is on the disk before the heal, without secrets, whatever hangs or fails."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.api.document import parse
from aiidpd.components.containers.actions import LogTail
from aiidpd.components.containers.evidence.collector import IncidentCollector
from aiidpd.components.containers.evidence.document import (
    Gathered,
    description,
    entry,
    file_name,
    health_checks,
    log_text,
    redactor,
)
from aiidpd.components.containers.evidence.heals import HEAL_EVIDENCE, NAME, TRIGGERS, HealEvidence
from aiidpd.components.containers.heal.protocols import EvidenceCollector, HealSubject
from aiidpd.components.containers.logs.failures import FAILURES, LastFailure, NamedFailure
from aiidpd.components.containers.logs.named import NamedFailures
from aiidpd.components.containers.runtime import ContainerReading
from aiidpd.contracts.containers import CONTAINER_USE, ContainerUse, ContainerUses
from aiidpd.contracts.engines import ENGINES, EngineState, EnginesView, Verdict
from aiidpd.contracts.gpus import GPUS, GpuMemoryUse, GpusView, GpuUse
from aiidpd.incidents.api import IncidentDocument
from aiidpd.incidents.recorder import IncidentRecorder
from aiidpd.incidents.store import IncidentStore
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.errors import Unavailable
from aiidpd.kernel.events import Event
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.reading import Reading
from aiidpd.kernel.views import Views
from aiidpd.platform.redaction import Redactor
from tests.fakes.clock import FakeClock
from tests.fakes.container_logs import ScriptedLogs, stamped
from tests.heartbeat import heartbeat
from tests.waiting import PATIENCE

SECRET = "0penSesame-0123"
VLLM = ContainerReading(
    "a" * 64,
    "vllm",
    "vllm/vllm-openai",
    "running",
    health="unhealthy",
    started_at=1_799_999_000.0,
    environment={"HF_TOKEN": SECRET},
    arguments=("vllm", "serve", "/m", "--api-key", SECRET),
)
DESCRIBED: Mapping[str, Any] = {
    "Id": VLLM.id,
    "Name": "/vllm",
    "Path": "vllm",
    "Args": ["serve", "/m", "--api-key", SECRET],
    "Config": {
        "Env": [f"HF_TOKEN={SECRET}", "DB_PASSWORD=an0therSecret"],
        "Labels": {"x.token": "lab3lSecret"},
    },
    "State": {
        "Status": "running",
        "Health": {
            "Log": [
                {
                    "End": "2026-11-28T11:00:00Z",
                    "ExitCode": 1,
                    "Output": f"curl: \x1b[31mno\x1b[0m {SECRET}\nagain",
                },
                {"End": "2026-11-28T11:00:30Z", "ExitCode": 7, "Output": "timed out"},
            ]
        },
    },
}
SUBJECT = HealSubject(VLLM, "engine_hung", f"no progress for 90 s with {SECRET}", simulated=False)


class House:
    """A recorder of incidents, a scripted runtime, and the collector between them."""

    def __init__(self, folder: Path, clock: FakeClock) -> None:
        self.clock = clock
        self.bus = EventBus()
        self.events: list[Event] = []
        self.bus.attach(events=self.events.append)
        self.store = IncidentStore(folder / "incidents")
        self.recorder = IncidentRecorder(self.store, Publisher(self.bus, clock, "incidents"), clock)
        self.heals = HealEvidence()
        self.recorder.contribute(NAME, self.heals, triggers=TRIGGERS)
        self.views = Views()
        self.failures = NamedFailures()
        self.logs = ScriptedLogs()
        self.logs.described[VLLM.id] = DESCRIBED
        self.logs.write(VLLM.id, clock.time() - 5, f"using token {SECRET}", "CUDA out of memory")
        self.collector: EvidenceCollector = IncidentCollector(
            self.logs,
            evidence=self.heals,
            failures=self.failures,
            recorder=self.recorder,
            views=self.views,
            publish=Publisher(self.bus, clock, "containers"),
            clock=clock,
        )

    def offer(self) -> None:
        engine = EngineState(
            "chat", "qwen", simulated=False, container=VLLM.id, verdict=Verdict.HUNG, requests_running=3,
            url="http://user:pass@host/", generated_tokens_per_second=math.nan,
        )  # fmt: skip
        use = ContainerUse(VLLM.id, 1.0, pids=frozenset({1, 2}), memory_bytes=5)
        gpu = GpuUse(
            0, "GPU-0", "card", processes=(GpuMemoryUse(1, VLLM.id, 7.0), GpuMemoryUse(9, None, 8.0))
        )
        self.views.offer(ENGINES, lambda: Reading(EnginesView((engine,)), 1.0, 1.0))
        self.views.offer(CONTAINER_USE, lambda: Reading(ContainerUses({VLLM.id: use}), 1.0, 1.0))
        self.views.offer(GPUS, lambda: Reading(GpusView((gpu,)), 1.0, 1.0))

    def read(self, identity: str) -> IncidentDocument:
        return parse(IncidentDocument, self.store.read(identity, 100))

    def files(self, identity: str) -> dict[str, str]:
        return {path.name: path.read_text() for path in (self.store.folder / identity).iterdir()}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with anyio.create_task_group() as group:
            group.start_soon(self.recorder.run, heartbeat(self.clock))
            with anyio.fail_after(PATIENCE):
                yield
            group.cancel_scope.cancel()


@pytest.fixture
def house(tmp_path: Path, clock: FakeClock) -> House:
    return House(tmp_path, clock)


async def test_everything_is_on_the_disk_when_it_returns_and_no_secret_is(house: House) -> None:
    house.offer()
    async with house.running():
        identity = await house.collector.collect(SUBJECT, {"stalled_seconds": 90.0, "line": f"key {SECRET}"})
        files = house.files(identity)
    assert set(files) == {"incident.json", f"log-vllm-{'a' * 12}.txt", f"inspect-vllm-{'a' * 12}.json"}
    for text in files.values():
        assert not [each for each in (SECRET, "an0therSecret", "lab3lSecret", "user:pass") if each in text]
    document = house.read(identity)
    (heal,) = document.heals
    assert (heal.container, heal.fault, heal.health) == ("vllm", "engine_hung", "unhealthy")
    assert heal.reason == "no progress for 90 s with [redacted]"
    assert heal.evidence == {"stalled_seconds": 90.0, "line": "key [redacted]"}
    assert [each.exit_code for each in heal.health_checks] == [1, 7]
    assert heal.health_checks[0].output == "curl: no [redacted] | again"
    assert heal.failure is not None
    assert heal.failure.name == "gpu_memory"
    assert heal.engine is not None
    assert (heal.engine["verdict"], heal.engine["requests_running"]) == ("hung", 3)
    assert heal.engine["generated_tokens_per_second"] is None
    assert heal.use is not None
    assert (heal.use["pids"], heal.use["memory_bytes"]) == (2, 5)
    assert (heal.gpus[0]["own_processes"], heal.gpus[0]["own_memory_bytes"]) == (1, 7.0)
    assert heal.missing == {}
    log = files[heal.log_file].splitlines()
    assert [line.split(" ", 1)[1] for line in log] == ["using token [redacted]", "CUDA out of memory"]
    assert json.loads(files[heal.inspect_file])["Config"]["Env"][0] == "HF_TOKEN=[redacted]"
    (event,) = [each for each in house.events if each.kind == HEAL_EVIDENCE]
    assert event.subject == "vllm"
    assert event.evidence["fault"] == "engine_hung"
    assert SECRET not in str(event)


async def test_two_heals_at_once_are_both_in_the_incident(house: House) -> None:
    other = HealSubject(VLLM, "container_unhealthy", "its check fails", simulated=False)
    found: list[str] = []

    async def collect(subject: HealSubject) -> None:
        found.append(await house.collector.collect(subject, {}))

    async with house.running():
        async with anyio.create_task_group() as group:
            group.start_soon(collect, SUBJECT)
            group.start_soon(collect, other)
        identity, second = found
        assert identity == second
        assert {each.fault for each in house.read(identity).heals} == {"engine_hung", "container_unhealthy"}
        files = house.files(identity)
    assert len({name for name in files if name.startswith("log-")}) == 2
    assert {each.log_file for each in house.read(identity).heals} <= files.keys()


async def test_a_runtime_that_hangs_is_named_and_costs_two_seconds(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiidpd.components.containers.evidence.collector._READING", 0.05)
    house.logs.hangs |= {"describe", "logs"}
    async with house.running():
        identity = await house.collector.collect(SUBJECT, {})
        (heal,) = house.read(identity).heals
    assert heal.missing.keys() == {"inspect", "log", "engine", "use", "gpus"}
    assert "did not answer" in heal.missing["log"]
    assert (heal.log_file, heal.inspect_file, heal.log_lines) == ("", "", None)


async def test_a_runtime_that_refuses_and_a_container_that_is_gone_are_named(house: House) -> None:
    house.logs.described.clear()
    house.logs.unreadable.add(VLLM.id)
    async with house.running():
        (heal,) = house.read(await house.collector.collect(SUBJECT, {})).heals
        assert "does not exist" in heal.missing["inspect"]
        assert "logging driver" in heal.missing["log"]
        house.logs.refuses = Unavailable("read", "it", reason="nothing listens")
        *_, heal = house.read(await house.collector.collect(SUBJECT, {})).heals
        assert heal.missing["inspect"] == heal.missing["log"] == "nothing listens"


async def test_a_full_disk_is_no_incident_and_no_error(house: House) -> None:
    house.store.folder.write_text("not a folder")
    async with house.running():
        assert await house.collector.collect(SUBJECT, {}) == ""
    assert [each.kind for each in house.events if each.kind == "incident.failed"]


async def test_a_disk_that_hangs_is_waited_for_only_so_long(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiidpd.components.containers.evidence.collector._WRITING", 0.05)
    assert await house.collector.collect(SUBJECT, {}) == ""  # nobody writes


async def test_whatever_the_evidence_holds_the_heal_has_its_incident(house: House) -> None:
    hostile: dict[str, Any] = {
        "about": "x",
        "severity": "y",
        "id": 3,
        "rate": math.inf,
        "text": "\x1b[2J\udc80" * 5000,
    }
    house.logs.described[VLLM.id] = {
        "State": {"Health": {"Log": [None, 3]}},
        "Config": [],
        "x": {"y": [{}] * 900},
    }
    async with house.running():
        identity = await house.collector.collect(SUBJECT, hostile)
        (heal,) = house.read(identity).heals
    assert heal.evidence["rate"] is None
    assert "\x1b" not in str(heal.evidence["text"])


async def test_documents_that_cannot_be_made_leave_the_facts(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> str:
        raise RuntimeError("no")

    monkeypatch.setattr("aiidpd.components.containers.evidence.collector.log_text", broken)
    async with house.running():
        (heal,) = house.read(await house.collector.collect(SUBJECT, {})).heals
    assert heal.missing == {"everything": "RuntimeError: no"}
    assert heal.fault == "engine_hung"


def test_a_log_is_bounded_and_its_newest_lines_stay() -> None:
    tail = LogTail(tuple(stamped(1_800_000_000 + number, "x" * 3900) for number in range(500)))
    text = log_text(tail, Redactor())
    assert len(text) <= 2**20
    assert text.splitlines()[-1].startswith("2027-01-15T08:08:19.000Z ")
    assert all(len(line) < 4200 for line in text.splitlines())


def test_a_description_is_bounded() -> None:
    huge = {"Id": "x", "Config": {str(number): ["y" * 5000] * 300 for number in range(300)}}
    text = description(huge, Redactor())
    assert len(text) <= 256 * 1024 + 1
    assert json.loads(text)["Id"] == "x"
    deep: Any = 1
    for _ in range(200):
        deep = [deep]
    json.loads(description({"deep": deep}, Redactor()))


@pytest.mark.parametrize(
    ("ended_before", "written", "named"),
    [
        (None, -0.2, True),  # the runtime stamps the start after the first lines
        (None, -0.6, False),
        (-0.1, -0.05, True),
        (-0.1, -0.2, False),  # of the run before
    ],
)
def test_first_lines_that_are_older_than_the_start_are_of_this_run(
    *, ended_before: float | None, written: float, named: bool
) -> None:
    start = VLLM.started_at or 0.0
    container = replace(VLLM, finished_at=None if ended_before is None else start + ended_before)
    tail = LogTail((stamped(start + written, "CUDA out of memory"),))
    found = entry(Gathered(container, tail=tail), Redactor(), fault="f", reason="r", evidence={}, at=1.0)
    assert (found["failure"] is not None) is named


def test_a_failure_of_this_run_is_known_from_before() -> None:
    last = LastFailure(VLLM.id, VLLM.started_at or 0.0, NamedFailure(FAILURES[0]), "a line", 1)
    found = entry(Gathered(VLLM, failure=last), Redactor(), fault="f", reason="r", evidence={}, at=1.0)
    assert found["failure"]["name"] == FAILURES[0].name
    old = LastFailure(VLLM.id, 1.0, NamedFailure(FAILURES[0]), "a line", 1)
    assert not entry(Gathered(VLLM, failure=old), Redactor(), fault="f", reason="r", evidence={}, at=1.0)[
        "failure"
    ]


def test_file_names_are_safe_and_their_own() -> None:
    taken: set[str] = set()
    hostile = ContainerReading("b" * 64, "../\x1b/é" + "x" * 300, "i", "running")
    first = file_name("log", hostile, "txt", taken.__contains__)
    taken.add(first)
    assert "/" not in first
    assert len(first) < 100
    assert file_name("log", hostile, "txt", taken.__contains__) == first.replace(".txt", "-2.txt")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
)


@given(state=JSON, config=JSON, other=JSON)
def test_any_description_is_taken(state: Any, config: Any, other: Any) -> None:
    described = {"State": state, "Config": config, "other": other}
    redact = redactor(VLLM, described)
    health_checks(described, redact)
    json.loads(description(described, redact))
