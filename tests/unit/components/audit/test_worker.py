from __future__ import annotations

import json
import shutil
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.to_thread

from aiidpd.components.audit.conditions import CRITICAL
from aiidpd.components.audit.facts import Listener
from aiidpd.components.audit.memory import AuditMemory, Machine
from aiidpd.components.audit.metrics import AuditCollector
from aiidpd.components.audit.settings import AuditSettings, AuditWaiver
from aiidpd.components.audit.state import FOUND, MENDED, FindingRecords
from aiidpd.components.audit.worker import POLL, AuditWorker, Sources
from aiidpd.components.containers.docker import payload
from aiidpd.contracts.gpus import GpusView
from aiidpd.contracts.inspections import EngineFacts, Inspection, Inspections
from aiidpd.contracts.models import StoredModels
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.events import Event, Severity
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.publisher import Publisher
from aiidpd.platform.statefile import StateFile
from aiidpd.platform.thread import NAME as BLOCKING
from tests.fakes.clock import FakeClock
from tests.heartbeat import heartbeat
from tests.tables import made
from tests.unit.components.audit.corpus import inspected, laid_over

ENGINE = EngineFacts(version="28.0.0", live_restore=True, cgroup_version="2")


def container(name: str = "vllm", **host: object) -> Inspection:
    data = laid_over(inspected(), {"Id": name[0] * 64, "Name": f"/{name}", "HostConfig": host})
    found = payload.reading(data).inspection
    assert found is not None
    return found


class Room:
    """An audit worker by a clock of its own; views that a test puts."""

    def __init__(self, folder: Path, settings: AuditSettings | None = None) -> None:
        self.clock = FakeClock()
        self.bus = EventBus()
        self.events: list[Event] = []
        self.bus.attach(events=self.events.append)
        self.conditions = Conditions(self.clock, self.bus)
        self.inspections: Latest[Inspections] = Latest(self.clock, 1e9)
        self.gpus: Latest[GpusView] = Latest(self.clock, 1e9)
        self.models: Latest[StoredModels] = Latest(self.clock, 1e9)
        self.memory = AuditMemory(StateFile(folder / "audit.json", FindingRecords), self.clock)
        self.settings = settings or made(AuditSettings)

    def put(self, *containers: Inspection, engine: EngineFacts | None = ENGINE) -> None:
        self.inspections.put(Inspections(containers, engine))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        worker = AuditWorker(
            self.settings,
            Sources(self.inspections.get, self.gpus.get, self.models.get),
            self.memory,
            publish=Publisher(self.bus, self.clock, "audit"),
            conditions=self.conditions,
            clock=self.clock,
        )
        async with anyio.create_task_group() as group:
            group.start_soon(worker.run, heartbeat(self.clock))
            await self.pass_()
            yield
            group.cancel_scope.cancel()

    async def pass_(self, seconds: float = POLL) -> None:
        """Let time pass, in steps in which the threads that read compose files may end."""
        until = self.clock.monotonic() + seconds
        while self.clock.monotonic() < until:
            await self.clock.advance(min(1.0, until - self.clock.monotonic()))
            await self.threads()

    async def threads(self) -> None:
        """Wait until no thread reads."""
        for _ in range(2):  # one that has ended is yet to be heard of
            for thread in [each for each in threading.enumerate() if each.name == BLOCKING]:
                await anyio.to_thread.run_sync(thread.join)
            await self.clock.advance(0.0)

    @property
    def rules(self) -> set[str]:
        reading = self.memory.latest.get()
        return {each.rule for each in reading.value.report.findings} if reading else set()

    def published(self, kind: str) -> list[Event]:
        return [each for each in self.events if each.kind == kind]


async def test_a_change_of_a_container_is_judged_within_a_second_and_announced_once(tmp_path: Path):
    room = Room(tmp_path)
    room.put(container())
    async with room.running():
        assert room.rules == set()
        room.put(container(Privileged=True, CapDrop=None))
        await room.pass_(0.5)
        assert room.rules == {"privileged", "cap-drop-all"}
        (event,) = room.published(FOUND)
        assert (event.subject, event.severity) == ("vllm", Severity.ERROR)
        assert event.evidence["rules"] == "privileged, cap-drop-all"
        (condition,) = room.conditions.active()
        assert (condition.type, condition.severity) == (CRITICAL, Severity.ERROR)
        await room.pass_(60)
        room.put(container())
        await room.pass_(0.5)
        assert room.rules == set()
        assert room.conditions.active() == ()
        assert len(room.published(FOUND)) == len(room.published(MENDED)) == 1


async def test_what_the_first_audit_finds_is_one_event_and_a_restart_tells_nothing_again(tmp_path: Path):
    room = Room(tmp_path)
    room.put(container(Privileged=True), container("llama", ReadonlyRootfs=False))
    async with room.running():
        assert [each.kind for each in room.events if each.kind.startswith("audit.")] == ["audit.first"]
    room.memory.wait(10)
    again = Room(tmp_path)
    again.clock.jump(100)
    again.put(container(Privileged=True), container("llama", ReadonlyRootfs=False))
    async with again.running():
        assert [each.kind for each in again.events if each.kind.startswith("audit.")] == []
        assert {each.since for each in again.memory.state.known.values()} == {room.clock.time() - POLL}
        again.put(container("llama", ReadonlyRootfs=False))
        await again.pass_()
        assert [each.subject for each in again.published(MENDED)] == ["vllm"]


async def test_containers_that_are_not_known_now_are_neither_mended_nor_found(tmp_path: Path):
    room = Room(tmp_path)
    room.put(container(Privileged=True))
    async with room.running():
        room.inspections.clear()
        await room.pass_()
        assert room.rules == set()
        reading = room.memory.latest.get()
        assert reading is not None
        assert "not known now" in reading.value.report.unchecked["privileged"]
        assert room.published(MENDED) == []
        room.put(container(Privileged=True))
        await room.pass_()
        assert room.published(FOUND) == []
        assert room.rules == {"privileged"}


async def test_a_waiver_accepts_until_its_day_and_is_a_finding_itself_after(tmp_path: Path):
    waivers = (
        AuditWaiver(rule="privileged", subject="vl*", reason="measured", until="2027-01-15"),
        AuditWaiver(rule="nonsense", reason="mistyped", until="2030-01-01"),
    )
    room = Room(tmp_path, made(AuditSettings, waivers=waivers))
    room.put(container(Privileged=True))
    async with room.running():
        reading = room.memory.latest.get()
        assert reading is not None
        waived = {each.rule for each in reading.value.report.findings if each.waived}
        assert waived == {"privileged"}
        assert room.conditions.active() == ()
        assert room.rules == {"privileged", "waiver-unknown-rule"}
        room.clock.jump(3 * 86400)
        await room.pass_()
        assert room.rules == {"privileged", "waiver-unknown-rule", "waiver-ended"}
        assert [each.type for each in room.conditions.active()] == [CRITICAL]


async def test_a_change_of_this_machine_is_judged_too(tmp_path: Path):
    room = Room(tmp_path)
    room.put()
    async with room.running():
        listener = Listener("0.0.0.0", 11434, "ollama", keyless=True)
        room.memory.machine = Machine(listeners=(listener,))
        await room.pass_(0.5)
        assert room.rules == {"listener-open"}


async def test_a_container_that_drifts_from_its_file_and_a_file_that_is_changed(tmp_path: Path):
    file = tmp_path / "compose.yaml"
    file.write_text("services: {vllm: {image: x, cap_drop: [ALL], ports: []}}")
    labels = {
        "com.docker.compose.project": "p",
        "com.docker.compose.service": "vllm",
        "com.docker.compose.project.working_dir": str(tmp_path),
        "com.docker.compose.project.config_files": "compose.yaml",
    }
    found = replace(
        container(),
        image="x",
        labels=labels,
        security_options=(),
        read_only=False,
        memory_bytes=0,
        pids_limit=None,
    )
    room = Room(tmp_path)
    room.put(found)
    async with room.running():
        assert "drift" not in room.rules
        file.write_text("services: {vllm: {image: x, cap_drop: [ALL], read_only: true, privileged: true}}")
        await room.pass_(20)
        (drift,) = [each for each in room.memory.latest.get().value.report.findings if each.rule == "drift"]  # type: ignore[union-attr]
        assert drift.what == f"it differs from {file} in privileged, read_only"
        file.write_text("services: {other: {image: x}}")
        await room.pass_(20)
        assert "drift-service-gone" in room.rules
        file.write_text("services: [")
        await room.pass_(20)
        assert {"drift", "drift-service-gone"}.isdisjoint(room.rules)
        shutil.rmtree(tmp_path)
        await room.pass_(20)
        assert {"drift", "drift-service-gone"}.isdisjoint(room.rules)


async def test_a_state_file_that_is_damaged_is_set_aside(tmp_path: Path):
    (tmp_path / "audit.json").write_text("{")
    room = Room(tmp_path)
    room.put(container(Privileged=True))
    async with room.running():
        assert room.rules == {"privileged"}
    room.memory.wait(10)
    assert (tmp_path / "audit.json.unreadable").exists()
    assert json.loads((tmp_path / "audit.json").read_text())["version"] == 1


async def test_findings_are_counted_by_severity_and_rule_and_none_has_a_name(tmp_path: Path):
    room = Room(tmp_path)
    room.put(
        container("evil\x1b[31m", Privileged=True), container("llama", Privileged=True, ReadonlyRootfs=False)
    )
    async with room.running():
        families = {each.name: each for each in AuditCollector(room.memory.latest).collect()}
    counts = {each.labels["severity"]: each.value for each in families["aiidpd_audit_findings"].samples}
    assert counts == {"low": 1, "medium": 0, "high": 0, "critical": 2}
    rules = {each.labels["rule"]: each.value for each in families["aiidpd_audit_rule_findings"].samples}
    assert rules == {"privileged": 2, "root-writable": 1}
    assert {each.labels["kind"] for each in families["aiidpd_audit_subjects"].samples} == {
        "container",
        "engine",
        "listener",
        "model",
    }
