"""Whoever sets a condition clears it: each type of the source is set and cleared by the part that owns it."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import anyio
import pytest

from aiidpd.alerts.manager import AlertManager
from aiidpd.alerts.record import AlertRecords
from aiidpd.alerts.rule import AlertRule
from aiidpd.alerts.state import Observation, Status
from aiidpd.alerts.store import AlertStore
from aiidpd.components.audit.conditions import update_conditions as update_audit
from aiidpd.components.audit.conditions import update_state as update_audit_state
from aiidpd.components.audit.evaluate import Auditor, Subjects
from aiidpd.components.backup.conditions import TYPES as OF_BACKUPS
from aiidpd.components.backup.conditions import conditions_of
from aiidpd.components.backup.offsite import conditions as offsite
from aiidpd.components.backup.offsite.settings import RepositorySettings
from aiidpd.components.backup.offsite.state import RepositoryRecord
from aiidpd.components.backup.record import FILE, BackupMemory, BackupRecord
from aiidpd.components.backup.view import BackupView, SnapshotInfo, StoreInfo
from aiidpd.components.bench.claims import ClaimWatch
from aiidpd.components.bench.regression.conditions import update_state as update_baselines_state
from aiidpd.components.bench.view import EndpointView
from aiidpd.components.containers.heal.events import HealPublisher
from aiidpd.components.containers.heal.policy import policy_of
from aiidpd.components.containers.heal.state import HealState, HealTally, Parked, Track
from aiidpd.components.containers.logs.named import Deaths, NamedFailures
from aiidpd.components.containers.logs.namer import FailureNamer
from aiidpd.components.containers.logs.watcher import LogMemory, LogWatcher
from aiidpd.components.containers.pause.events import PausePublisher
from aiidpd.components.containers.pause.state import Pause, PauseProgress, PauseState, PauseTally
from aiidpd.components.containers.runtime import ContainerReading, RuntimeSnapshot
from aiidpd.components.containers.settings import ContainersSettings, LogSettings, UsageSettings
from aiidpd.components.containers.state import LOOP_WINDOW
from aiidpd.components.containers.stopped import NAME as STOPS
from aiidpd.components.containers.stopped import StoppedContainer
from aiidpd.components.containers.trial.decide import Act
from aiidpd.components.containers.trial.events import TrialPublisher
from aiidpd.components.containers.trial.state import ImageTrial, Phase
from aiidpd.components.containers.usage.growth import Trend
from aiidpd.components.containers.usage.memory import UseMemory
from aiidpd.components.containers.usage.reader import UseReading
from aiidpd.components.containers.usage.unkillable import PendingKill
from aiidpd.components.containers.usage.worker import UseWorker
from aiidpd.components.containers.worker import ContainersWorker
from aiidpd.components.engines.conditions import update_conditions as update_engines
from aiidpd.components.engines.discovery import FoundEngine
from aiidpd.components.models.conditions import update_conditions as update_models
from aiidpd.components.models.conditions import update_state as update_models_state
from aiidpd.components.models.settings import ModelsSettings
from aiidpd.components.models.signatures import SignatureState
from aiidpd.components.models.view import (
    DiskInfo,
    FolderInfo,
    LeftoverInfo,
    ModelsView,
    ProblemInfo,
    SignatureInfo,
)
from aiidpd.components.physics.conditions import update_file as update_claims
from aiidpd.components.thermal.alerts.rules import rules
from aiidpd.components.thermal.faults import GpuFault
from aiidpd.components.thermal.governor.events import GovernorPublisher
from aiidpd.components.thermal.governor.journal import Baseline
from aiidpd.components.thermal.governor.ladder import Actuator, Step
from aiidpd.components.thermal.governor.refusals import NO_PERMISSION
from aiidpd.components.thermal.governor.restore import Outcome
from aiidpd.components.thermal.governor.state import Blind, Move, Refused, Tally
from aiidpd.components.thermal.settings import GpuSettings
from aiidpd.contracts.claims import ClaimBounds, ClaimedFigure, ClaimsView
from aiidpd.contracts.containers import ContainerUse
from aiidpd.contracts.inspections import Inspection
from aiidpd.history.conditions import update_conditions
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock_watch import ClockReporter, ClockWatch
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.errors import Unavailable
from aiidpd.kernel.inbox import Messages
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.supervisor import Supervisor
from aiidpd.kernel.task import Heartbeat, Task
from aiidpd.platform.statefile import StateFile
from tests.fakes.clock import FakeClock, settle
from tests.fakes.container_logs import ScriptedLogs
from tests.fakes.engine import ScriptedEngine
from tests.heartbeat import heartbeat
from tests.unit.components.bench.regression.monitored import QUIET, SLOW, sample
from tests.unit.components.bench.regression.monitored import Room as MonitoredEndpoint
from tests.unit.components.containers.stopped import register
from tests.unit.components.containers.usage.scripted import ScriptedReader
from tests.unit.components.engines.liveness.room import Room, working
from tests.unit.components.models.seen import model_info

PACKAGE = Path(__file__).resolve().parents[2] / "aiidpd"
RULES = rules(GpuSettings().alerts)
ALERTS = "the name of an alert rule"


class House:
    """The list of conditions, and what the parts that set them are made of."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = FakeClock()
        self.bus = EventBus()
        self.conditions = Conditions(self.clock, self.bus)

    def publisher(self, source: str) -> Publisher:
        return Publisher(self.bus, self.clock, source)

    def types(self) -> set[str]:
        return {condition.type for condition in self.conditions.active()}

    @contextmanager
    def begins_and_ends(self, type_: str) -> Iterator[Callable[[], None]]:
        """Check that ``type_`` is active where the block calls what it gets, and not after the block."""
        seen = []

        def active() -> None:
            assert type_ in self.types()
            (condition,) = [each for each in self.conditions.active() if each.type == type_]
            assert condition.source
            assert condition.reason
            seen.append(condition)

        assert type_ not in self.types()
        yield active
        assert seen
        assert type_ not in self.types()


# The source: which types there are


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _types(tree: ast.Module) -> Iterator[str]:
    """Yield the type of each condition that a module makes: a constant of the module, or an alert's name.

    A function that takes the type as a parameter has the types that it is called with.
    """
    constants = {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Constant)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }

    def resolve(value: ast.expr) -> str | None:
        if isinstance(value, ast.Constant):
            return str(value.value)
        if isinstance(value, ast.Name) and value.id in constants:
            return str(constants[value.id])
        return ALERTS if ast.unparse(value) == "rule.name" else None

    for function in [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]:
        names = [each.arg for each in function.args.args if each.arg != "self"]
        for node in ast.walk(function):
            if not isinstance(node, ast.Call) or _called(node) != "Condition":
                continue
            assert node.args, f"line {node.lineno}: a condition has its type first"
            found = resolve(node.args[0])
            if found is not None:
                yield found
                continue
            place = names.index(ast.unparse(node.args[0]))
            calls = [
                call
                for call in ast.walk(tree)
                if isinstance(call, ast.Call) and _called(call) == function.name
            ]
            for call in calls:
                found = resolve(call.args[place])
                assert found is not None, f"line {call.lineno}: the type of a condition is a constant"
                yield found


def types_in_the_source() -> set[str]:
    return {
        type_
        for path in PACKAGE.rglob("*.py")
        if "aiidpd.kernel.conditions import Condition" in (text := path.read_text())
        for type_ in _types(ast.parse(text))
    }


# The parts: how each type begins and ends


async def a_task(house: House) -> None:
    well = False

    class Worker:
        simulated = False

        async def run(self, heartbeat: Heartbeat) -> None:
            while True:
                with heartbeat.working():
                    if not well:
                        raise Unavailable("read", "it", reason="it is not there")
                await house.clock.sleep(1)

    supervisor = Supervisor(
        [Task("one", Worker, lambda: 10)],
        clock=house.clock,
        bus=house.bus,
        conditions=house.conditions,
        uniform=lambda: 0.5,
    )
    async with anyio.create_task_group() as group:
        with house.begins_and_ends("worker") as active:
            group.start_soon(supervisor.run)
            await house.clock.advance(2)
            active()
            well = True
            await house.clock.advance(2)
        group.cancel_scope.cancel()


async def the_clock(house: House) -> None:
    reporter = ClockReporter(ClockWatch(house.clock), house.publisher("clock"), house.conditions)
    with house.begins_and_ends("clock_jump") as active:
        house.clock.jump(86_400.0)
        reporter.report()
        active()
        house.clock.jump(-86_400.0)
        reporter.report()


async def the_history(house: House) -> None:
    class Troubled:
        problem: str | None = "the disk is full"

        def take_notices(self) -> list[str]:
            return []

    history = Troubled()
    with house.begins_and_ends("history") as active:
        update_conditions(history, house.publisher("history"), house.conditions)
        active()
        history.problem = None
        update_conditions(history, house.publisher("history"), house.conditions)


async def the_file_of_alerts(house: House) -> None:
    path = house.folder / "alerts.json"
    path.write_text("{")
    with house.begins_and_ends("alert_state") as active:
        file = StateFile(path, AlertRecords)
        store = AlertStore(file, house.clock, house.conditions)
        active()
        await house.clock.advance(60)
        store.save_due(list)
        file.wait(60)


def _pauses(house: House) -> PausePublisher:
    return PausePublisher(
        PauseTally(), house.publisher("containers"), house.conditions, house.clock, simulated=False
    )


async def a_pause(house: House) -> None:
    publisher = _pauses(house)
    held = PauseProgress(Pause("a" * 64, "vllm", 1.0, "GPU 0", "hot"), 0.0, 60.0, seen=True, troubled=True)
    with (
        house.begins_and_ends("container_paused") as paused,
        house.begins_and_ends("container_unpause") as stuck,
    ):
        publisher.show(PauseState(held=MappingProxyType({"a" * 64: held})))
        paused()
        stuck()
        publisher.show(PauseState())


async def the_journal_of_pauses(house: House) -> None:
    publisher = _pauses(house)
    with house.begins_and_ends("container_pause_lease") as active:
        publisher.cannot_write("pauses.lease.json", OSError(28, "No space left on device"))
        active()
        publisher.journal_works("pauses.lease.json")


def _governor(house: House) -> GovernorPublisher:
    return GovernorPublisher(Tally(), house.publisher("thermal"), house.conditions)


async def a_governor_without_rights(house: House) -> None:
    publisher = _governor(house)
    move = Move(0, "GPU-0", "card", 1, 0, Step(), 300.0, True, False, (), "hot", {}, False)
    fault = GpuFault(0, "nvmlDeviceSetPowerManagementLimit", 4, NO_PERMISSION)
    with house.begins_and_ends("gpu_governor_denied") as active:
        publisher.refused(move, Refused(0, "GPU-0", next(iter(Actuator)), fault, final=True), None)
        active()
        _governor(house).begin()


async def a_governor_that_sees_nothing(house: House) -> None:
    publisher = _governor(house)
    with house.begins_and_ends("gpu_governor_blind") as active:
        publisher.blind(Blind(0, "GPU-0", "its temperature is not believed"))
        active()
        publisher.blind(Blind(0, "GPU-0", ""))


async def a_gpu_that_is_not_restored(house: House) -> None:
    publisher, baseline = _governor(house), Baseline(0, "card", 300.0)
    with house.begins_and_ends("gpu_governor_restore") as active:
        publisher.not_restored(Outcome("GPU-0", baseline, "the driver is gone"))
        active()
        publisher.restored("GPU-0", baseline, "it is cool again")
    with house.begins_and_ends("gpu_governor_restore") as active:
        publisher.not_restored(Outcome("GPU-0", baseline, "the driver is gone"))
        active()
        publisher.void("GPU-0", baseline, "the machine was booted since")


async def the_journal_of_the_governor(house: House) -> None:
    publisher, path = _governor(house), Path("governor.lease.json")
    with house.begins_and_ends("gpu_governor_lease") as active:
        publisher.cannot_write(path, OSError(28, "No space left on device"))
        active()
        publisher.journal_works(path)


def _watcher(house: House, engine: ScriptedEngine) -> ContainersWorker:
    return ContainersWorker(
        engine,
        ContainersSettings(),
        latest=Latest(house.clock, 90.0),
        publish=house.publisher("containers"),
        conditions=house.conditions,
        stopped=register(house.folder, house.clock, house.conditions),
        clock=house.clock,
    )


async def the_containers(house: House) -> None:
    sick = ContainerReading("c1", "vllm", "image", "running", health="unhealthy", started_at=1.0)
    loop = ContainerReading(
        "c2", "llama", "image", "restarting", restart_count=9, started_at=1.0, finished_at=2.0
    )
    engine = ScriptedEngine(sick, loop)
    worker = _watcher(house, engine)
    async with anyio.create_task_group() as group:
        with (
            house.begins_and_ends("container_unhealthy") as unhealthy,
            house.begins_and_ends("container_restart_loop") as looping,
        ):
            group.start_soon(worker.run, heartbeat(house.clock))
            await settle()
            unhealthy()
            looping()
            engine.shown = {
                "c1": replace(sick, health="healthy"),
                "c2": replace(loop, state="running", started_at=house.clock.time()),
            }
            await house.clock.advance(LOOP_WINDOW + 31)
        group.cancel_scope.cancel()


async def the_logs(house: House) -> None:
    reading = ContainerReading("c1", "vllm", "vllm", "running", started_at=1.0)
    latest: Latest[RuntimeSnapshot] = Latest(house.clock, 1e9)
    latest.put(RuntimeSnapshot((reading,), "1"))
    logs, messages = ScriptedLogs(), Messages(house.clock)
    watcher = LogWatcher(
        logs,
        LogSettings(),
        containers=latest.get,
        engines=lambda: None,
        deaths=Deaths(latest.get),
        namer=FailureNamer(NamedFailures(), latest.get, house.publisher("containers"), house.clock),
        memory=LogMemory(),
        conditions=house.conditions,
        messages=messages,
        clock=house.clock,
    )
    async with anyio.create_task_group() as group:
        with (
            house.begins_and_ends("container_log_storm") as storm,
            house.begins_and_ends("container_gpu_lost") as lost,
        ):
            group.start_soon(watcher.run, heartbeat(house.clock))
            for _ in range(3):
                loud = ["Failed to initialize NVML: Unknown Error"] * 10_000
                logs.write("c1", house.clock.time() + 29, *loud)
                await house.clock.advance(30)
            storm()
            lost()
            latest.put(RuntimeSnapshot((replace(reading, started_at=house.clock.time()),), "1"))
            await house.clock.advance(120)
        group.cancel_scope.cancel()


async def a_silent_runtime(house: House) -> None:
    engine = ScriptedEngine()
    worker = _watcher(house, engine)
    async with anyio.create_task_group() as group:
        with house.begins_and_ends("container_runtime_silent") as active:
            group.start_soon(worker.run, heartbeat(house.clock))
            await house.clock.advance(10)
            engine.refuses = Unavailable("read", "the engine", reason="it did not answer within 1.5 s")
            await house.clock.advance(5)
            active()
            engine.refuses = None
            await house.clock.advance(5)
        group.cancel_scope.cancel()


async def a_stopped_container(house: House) -> None:
    stopped = register(house.folder, house.clock, house.conditions)
    reading = ContainerReading("c1", "vllm", "image", "exited", started_at=1.0)
    with house.begins_and_ends("container_emergency_stopped") as active:
        with stopped.stopping("vllm", simulated=False):
            stopped.add(StoppedContainer("c1", "vllm", 1.0, 2.0, "GPU 0", "it is hot"), simulated=False)
        active()
        stopped.observe([replace(reading, state="running", started_at=3.0)], simulated=False)
    stopped.wait(60)


async def the_file_of_stopped_containers(house: House) -> None:
    (house.folder / STOPS).write_text("{")
    with house.begins_and_ends("container_stops_state") as active:
        stopped = register(house.folder, house.clock, house.conditions)
        stopped.load()
        active()
        stopped.observe([], simulated=False)
    stopped.wait(60)


async def the_use_of_a_container(house: House) -> None:
    latest: Latest[RuntimeSnapshot] = Latest(house.clock, 1e9)
    memory = UseMemory(house.clock)
    reader = ScriptedReader()
    latest.put(RuntimeSnapshot((ContainerReading("c1", "vllm", "image", "running", started_at=1.0),), "1"))
    worker = UseWorker(
        memory, latest, UsageSettings(), conditions=house.conditions, clock=house.clock, reader=reader
    )
    memory.trends["c1"] = Trend(1.0, 0.0, slope=1e9)
    reader.shown["c1"] = UseReading(
        ContainerUse("c1", 0.0, memory_bytes=1 << 30), (PendingKill(7, 100, "D"),)
    )
    async with anyio.create_task_group() as group:
        with (
            house.begins_and_ends("container_memory_growth") as growing,
            house.begins_and_ends("container_unkillable") as unkillable,
        ):
            group.start_soon(worker.run, heartbeat(house.clock))
            for _ in range(45):
                await house.clock.advance(2)
                await anyio.sleep(0.002)
            growing()
            unkillable()
            latest.put(RuntimeSnapshot((), "1"))
            reader.shown.clear()
            for _ in range(3):
                await house.clock.advance(2)
                await anyio.sleep(0.002)
        group.cancel_scope.cancel()


async def a_hung_engine(house: House) -> None:
    room = Room(house.clock, house.folder, bus=house.bus, conditions=house.conditions)
    room.works()
    async with working(room):
        await house.clock.advance(30)
        with house.begins_and_ends("engine_hung") as active:
            room.hangs()
            await house.clock.advance(30)
            active()
            room.works()
            await house.clock.advance(30)


async def a_stalled_engine(house: House) -> None:
    room = Room(house.clock, house.folder, bus=house.bus, conditions=house.conditions)
    room.works()
    async with working(room):
        await house.clock.advance(30)
        with house.begins_and_ends("engine_stalled") as active:
            room.rate = 0
            await house.clock.advance(400)
            active()
            room.works()
            await house.clock.advance(30)


async def the_silent_faults_of_an_engine(house: House) -> None:
    room = Room(house.clock, house.folder, bus=house.bus, conditions=house.conditions)
    room.engine |= {"model_bytes": 100, "model_gpu_bytes": 50, "requests_finished": 0, "requests_cut": 0}
    room.container["gpu"] = True
    async with working(room):
        with (
            house.begins_and_ends("engine_on_cpu") as on_cpu,
            house.begins_and_ends("engine_ghost_load") as ghost,
            house.begins_and_ends("engine_answers_cut") as cut,
        ):
            room.gpu = 1.0
            await house.clock.advance(10)
            room.engine |= {"requests_finished": 100, "requests_cut": 100}
            await house.clock.advance(3700)
            for each in (on_cpu, ghost, cut):
                each()
            room.gpu = 0.0
            room.engine |= {"model_gpu_bytes": 100, "requests_finished": 200}
            await house.clock.advance(3700)


def _heals(house: House) -> HealPublisher:
    return HealPublisher(HealTally(), house.publisher("containers"), house.conditions, simulated=False)


async def a_parked_container(house: House) -> None:
    publisher, parked = _heals(house), Parked("engine_hung", "no longer healed", "unpark it", 1.0)
    with house.begins_and_ends("container_heal_parked") as active:
        track = Track("c1", "vllm", parked=parked)
        publisher.show(HealState(MappingProxyType({"c1": track})), {}, {})
        active()
        publisher.show(HealState(MappingProxyType({"c1": replace(track, parked=None)})), {}, {})


async def labels_of_heals(house: House) -> None:
    publisher, state = _heals(house), HealState(MappingProxyType({"c1": Track("c1", "vllm")}))
    reading = ContainerReading("c1", "vllm", "image", "running", labels={"aiidpd.budget": "often"})
    policy = policy_of(reading, ContainersSettings().heal)
    with (
        house.begins_and_ends("container_heal_label_invalid") as invalid,
        house.begins_and_ends("container_dependency_cycle") as circular,
    ):
        publisher.show(state, {"c1": policy}, {"c1": ("vllm", "db", "vllm")})
        invalid()
        circular()
        publisher.show(HealState(), {}, {})


async def the_file_of_heals(house: House) -> None:
    publisher = _heals(house)
    with house.begins_and_ends("container_heal_state") as active:
        publisher.file_failed("heals.json", "cannot write heals.json: No space left on device")
        active()
        publisher.file_works("heals.json")


async def a_target(house: House) -> None:
    now, fine = house.clock.time(), BackupView(configured=True, source="/m", target="/target")
    snapshot = SnapshotInfo("20260101T000000Z", source="/m", created_at=1.0)
    broken = replace(snapshot, broken="manifest.json: No such file or directory")
    for type_, wrong in (
        ("backup_snapshot_broken", replace(fine, snapshots=(broken,))),
        ("backup_files_left_out", replace(fine, snapshots=(replace(snapshot, left_out=2),))),
        ("backup_content_damaged", replace(fine, store=StoreInfo(damaged=1))),
        ("backup_source_rotten", replace(fine, store=StoreInfo(rotten={"a": ""}, rotten_total=1))),
        ("backup_unproven", replace(fine, store=StoreInfo(oldest_proof=now - 100 * 86400))),
        ("backup_list_damaged", replace(fine, store=StoreInfo(problems=("proofs.json is incomplete",)))),
    ):
        with house.begins_and_ends(type_) as active:
            house.conditions.update(OF_BACKUPS, conditions_of(wrong, now, 30 * 86400.0))
            active()
            house.conditions.update(OF_BACKUPS, conditions_of(fine, now, 30 * 86400.0))


async def the_record_of_backups(house: House) -> None:
    path = house.folder / FILE
    path.write_text("{")
    with house.begins_and_ends("backup_record_unreadable") as active:
        assert BackupMemory(StateFile(path, BackupRecord), house.conditions).record == BackupRecord()
        active()
        assert BackupMemory(StateFile(path, BackupRecord), house.conditions).record == BackupRecord()


async def a_repository(house: House) -> None:
    far = RepositorySettings(name="far", repository="/srv/far")
    fine = RepositoryRecord("far", "restic /srv/far", added_at=house.clock.time())
    for type_, wrong, now in (
        (offsite.FAILED, replace(fine, failures=1, error="no route to host"), house.clock.time()),
        (offsite.DAMAGED, replace(fine, damage="a pack is not what it was"), house.clock.time()),
        (offsite.OVERDUE, fine, house.clock.time() + 2 * far.overdue_after),
    ):
        with house.begins_and_ends(type_) as active:
            house.conditions.update(offsite.TYPES, offsite.conditions(wrong, far, now))
            active()
            house.conditions.update(offsite.TYPES, offsite.conditions(fine, far, house.clock.time()))


async def models(house: House) -> None:
    now, settings = house.clock.time(), ModelsSettings()
    view = ModelsView(
        models=(
            model_info("page", problems=(ProblemInfo("page.gguf", "html", "it is a web page"),)),
            model_info("rot", problems=(ProblemInfo("rot.gguf", "hash", "its hash is another"),)),
            model_info("other", signature=SignatureInfo(SignatureState.INVALID, wrong=True)),
        ),
        folders=(FolderInfo("/gone", False, False, "no such file or directory", "", True, 0, 0),),
        leftovers=(LeftoverInfo("/m/x.part", "/m", 5, now - 2 * 86400),),
        disks=(DiskInfo("/m", 5, 10, 9, 1.0, now + 86400, ""),),
    )
    types = ("model_damaged", "model_content_wrong", "model_leftovers", "models_folder_missing")
    for type_ in (*types, "model_signature_wrong", "models_disk_full_soon"):
        with house.begins_and_ends(type_) as active:
            update_models(house.conditions, view, settings, now)
            active()
            update_models(house.conditions, ModelsView(), settings, now)


async def the_file_of_models(house: House) -> None:
    with house.begins_and_ends("models_state") as active:
        update_models_state(house.conditions, "models.json", "the disk is full")
        active()
        update_models_state(house.conditions, "models.json", "")


async def the_file_of_claims(house: House) -> None:
    with house.begins_and_ends("claims_unreadable") as active:
        update_claims(house.conditions, "claims.toml", "it is no TOML")
        active()
        update_claims(house.conditions, "claims.toml", "")


async def an_endpoint_that_became_slower(house: House) -> None:
    room = MonitoredEndpoint(house.folder, house.clock, house.conditions)
    await room.begin()
    await room.probe(*QUIET)
    with house.begins_and_ends("bench_regressed") as active:
        await room.probe(*SLOW)
        active()
        await room.probe(*QUIET[:12])
    room.monitor.close(5)


async def the_file_of_baselines(house: House) -> None:
    with house.begins_and_ends("bench_baselines_state") as active:
        update_baselines_state(house.conditions, "bench-baselines.json", "the disk is full")
        active()
        update_baselines_state(house.conditions, "bench-baselines.json", "")


async def a_claim_of_speed(house: House) -> None:
    bounds = ClaimBounds("own", "70 tok/s", ClaimedFigure.DECODE, "local", False, 70.0, 100.0, None)
    watch = ClaimWatch(house.conditions, lambda: ClaimsView((bounds,)))
    view = EndpointView("local", "http://127.0.0.1:8000", "m", simulated=False)
    watch.begin((view,))
    with house.begins_and_ends("claim_out_of_bounds") as active:
        for _ in range(3):
            watch.measured(view.measured(sample(50.0), 1.0, 1.0))
        active()
        for _ in range(3):
            watch.measured(view.measured(sample(80.0), 1.0, 1.0))


TRIAL = ImageTrial("t1", "llm", "a", "1", "llm:2", "2", "1f", Phase.RETURNING, 5.0, 1.0, "first")


async def a_trial_that_has_not_gone_back(house: House) -> None:
    trials = TrialPublisher(house.publisher("containers"), house.conditions)
    for end in (
        lambda: trials.serves(TRIAL),
        lambda: trials.ended(TRIAL, Act.RETURNED, ""),
        trials.switched_off,
    ):
        with house.begins_and_ends("container_upgrade_not_returned") as active:
            trials.not_returned(TRIAL, "the port is taken")
            active()
            end()


async def the_journal_of_trials(house: House) -> None:
    trials = TrialPublisher(house.publisher("containers"), house.conditions)
    with house.begins_and_ends("container_upgrade_state") as active:
        trials.file_failed("image-trials.json", "it is no JSON")
        active()
        trials.file_works("image-trials.json")


async def a_label(house: House) -> None:
    with house.begins_and_ends("engine_label_invalid") as active:
        engine = FoundEngine("vllm", notes=("the label aiidpd.engine.port is 'x'",))
        update_engines(house.conditions, [engine])
        active()
        update_engines(house.conditions, [replace(engine, notes=())])


ENDS = ("false", "unknown", "no longer in the rules", "withdrawn", "of another kind")


async def every_alert(house: House) -> None:
    for rule in RULES:
        for end in ENDS:
            await _alert(house, rule, end)


async def _alert(house: House, rule: AlertRule, end: str) -> None:
    manager = AlertManager(house.clock, house.publisher("alerts"), house.conditions)
    client = manager.client("thermal", RULES)

    async def observed(*statuses: Status) -> None:
        evidence = dict.fromkeys(rule.needs, 0)
        client.observe(
            [Observation(rule.name, "GPU-0", status, evidence) for status in statuses], simulated=False
        )

    with house.begins_and_ends(rule.name) as active:
        await observed(Status.TRUE)
        await house.clock.advance(rule.dwell)
        await observed(Status.TRUE)
        active()
        match end:
            case "false":
                await observed(Status.FALSE)
                await house.clock.advance(rule.keep_firing)
                await observed(Status.FALSE)
            case "unknown":
                await house.clock.advance(rule.stale_after)
                await observed()
            case "no longer in the rules":
                manager.client("thermal", [each for each in RULES if each is not rule])
            case "withdrawn":
                client.withdraw([(rule.name, "GPU-0")], "the driver does not list it")
            case _:
                client.observe([], simulated=True)


async def a_critical_finding(house: House) -> None:
    report = Auditor().audit(Subjects(containers=[Inspection(id="a", name="a", image="x", privileged=True)]))
    with house.begins_and_ends("audit_critical") as active:
        update_audit(house.conditions, report)
        active()
        update_audit(house.conditions, Auditor().audit(Subjects(containers=[])))


async def the_file_of_the_audit(house: House) -> None:
    with house.begins_and_ends("audit_state") as active:
        update_audit_state(house.conditions, "audit.json", "the disk is full")
        active()
        update_audit_state(house.conditions, "audit.json", "")


PARTS = {
    "worker": a_task,
    "clock_jump": the_clock,
    "history": the_history,
    "alert_state": the_file_of_alerts,
    "container_paused": a_pause,
    "container_unpause": a_pause,
    "container_pause_lease": the_journal_of_pauses,
    "container_unhealthy": the_containers,
    "container_restart_loop": the_containers,
    "container_log_storm": the_logs,
    "container_gpu_lost": the_logs,
    "container_runtime_silent": a_silent_runtime,
    "container_emergency_stopped": a_stopped_container,
    "container_stops_state": the_file_of_stopped_containers,
    "container_memory_growth": the_use_of_a_container,
    "container_unkillable": the_use_of_a_container,
    "engine_hung": a_hung_engine,
    "engine_stalled": a_stalled_engine,
    "engine_on_cpu": the_silent_faults_of_an_engine,
    "engine_ghost_load": the_silent_faults_of_an_engine,
    "engine_answers_cut": the_silent_faults_of_an_engine,
    "container_heal_parked": a_parked_container,
    "container_heal_label_invalid": labels_of_heals,
    "container_dependency_cycle": labels_of_heals,
    "container_heal_state": the_file_of_heals,
    "backup_snapshot_broken": a_target,
    "backup_files_left_out": a_target,
    "backup_content_damaged": a_target,
    "backup_source_rotten": a_target,
    "backup_unproven": a_target,
    "backup_list_damaged": a_target,
    "backup_record_unreadable": the_record_of_backups,
    "offsite_failed": a_repository,
    "offsite_overdue": a_repository,
    "offsite_damaged": a_repository,
    "model_damaged": models,
    "model_content_wrong": models,
    "model_signature_wrong": models,
    "model_leftovers": models,
    "models_folder_missing": models,
    "models_disk_full_soon": models,
    "models_state": the_file_of_models,
    "audit_critical": a_critical_finding,
    "audit_state": the_file_of_the_audit,
    "claims_unreadable": the_file_of_claims,
    "container_upgrade_not_returned": a_trial_that_has_not_gone_back,
    "container_upgrade_state": the_journal_of_trials,
    "bench_regressed": an_endpoint_that_became_slower,
    "claim_out_of_bounds": a_claim_of_speed,
    "bench_baselines_state": the_file_of_baselines,
    "engine_label_invalid": a_label,
    "gpu_governor_denied": a_governor_without_rights,
    "gpu_governor_blind": a_governor_that_sees_nothing,
    "gpu_governor_restore": a_gpu_that_is_not_restored,
    "gpu_governor_lease": the_journal_of_the_governor,
    ALERTS: every_alert,
}


def test_every_type_of_the_source_has_its_way_to_an_end_below() -> None:
    assert types_in_the_source() == PARTS.keys()


@pytest.mark.parametrize("type_", PARTS)
async def test_whoever_sets_a_condition_clears_it(type_: str, tmp_path: Path) -> None:
    await PARTS[type_](House(tmp_path))


def test_a_type_that_is_no_constant_is_found_out() -> None:
    tree = ast.parse(
        "def f(self, made, up):\n return Condition(up, '')\ndef g(x):\n f(x, x + 'a')\n", mode="exec"
    )
    with pytest.raises(AssertionError, match="the type of a condition is a constant"):
        list(_types(tree))
