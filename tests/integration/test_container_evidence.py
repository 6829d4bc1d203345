"""Logs and evidence of real containers: a death is named, and a heal finds its evidence on the disk."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from aiidpd.components.containers.docker.actions import DockerActions
from aiidpd.components.containers.docker.client import DockerRuntime
from aiidpd.components.containers.evidence.collector import IncidentCollector
from aiidpd.components.containers.evidence.heals import NAME, TRIGGERS, HealEvidence
from aiidpd.components.containers.heal.protocols import HealSubject
from aiidpd.components.containers.logs.named import Deaths, NamedFailures
from aiidpd.components.containers.logs.namer import FAILURE_NAMED, FailureNamer
from aiidpd.components.containers.logs.watcher import LogMemory, LogWatcher
from aiidpd.components.containers.runtime import RuntimeSnapshot
from aiidpd.components.containers.settings import ContainersSettings, LogSettings
from aiidpd.components.containers.worker import ContainersWorker
from aiidpd.contracts.messages import HealRequested
from aiidpd.incidents.recorder import IncidentRecorder
from aiidpd.incidents.store import IncidentStore
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock import SystemClock
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.events import Event
from aiidpd.kernel.inbox import Messages
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.views import Views
from tests.fakes.docker_engine import RealDocker
from tests.fakes.docker_proxy import docker_proxy
from tests.heartbeat import heartbeat
from tests.ports import free_port
from tests.tables import made
from tests.unit.components.containers.stopped import register
from tests.waiting import PATIENCE, eventually

pytestmark = pytest.mark.real("docker")

SECRET = "0penSesame-0123456789"
LOST = "Failed to initialize NVML: Unknown Error"


class House:
    """Watcher of the engine behind ``socket``, and recorder of incidents."""

    def __init__(self, socket: Path, folder: Path) -> None:
        clock = SystemClock()
        self.bus = EventBus()
        self.events: list[Event] = []
        self.bus.attach(events=self.events.append)
        publish = Publisher(self.bus, clock, "containers")
        self.conditions = Conditions(clock, self.bus)
        self.latest: Latest[RuntimeSnapshot] = Latest(clock, 1e9)
        self.failures = NamedFailures()
        deaths = Deaths(self.latest.get)
        self.bus.attach(events=deaths.on_event)
        messages = Messages(clock)
        self.heals = messages.inbox(HealRequested)
        self.folder = folder / "incidents"
        recorder = IncidentRecorder(
            IncidentStore(self.folder), Publisher(self.bus, clock, "incidents"), clock
        )
        evidence = HealEvidence()
        recorder.contribute(NAME, evidence, triggers=TRIGGERS)
        self.actions = DockerActions(socket, call_timeout=5.0)
        self.collector = IncidentCollector(
            self.actions,
            evidence=evidence,
            failures=self.failures,
            recorder=recorder,
            views=Views(),
            publish=publish,
            clock=clock,
        )
        worker = ContainersWorker(
            DockerRuntime(socket, call_timeout=5.0),
            made(ContainersSettings, reconcile_interval=1.0),
            latest=self.latest,
            publish=publish,
            conditions=self.conditions,
            stopped=register(folder, clock, self.conditions),
            clock=clock,
            failure=self.failures.sentence,
        )
        watcher = LogWatcher(
            DockerActions(socket, call_timeout=5.0),
            made(LogSettings, interval=1.0),
            containers=self.latest.get,
            engines=lambda: None,
            deaths=deaths,
            namer=FailureNamer(self.failures, self.latest.get, publish, clock),
            memory=LogMemory(),
            conditions=self.conditions,
            messages=messages,
            clock=clock,
        )
        self.tasks = (recorder.run, worker.run, watcher.run)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with anyio.create_task_group() as group:
            for task in self.tasks:
                group.start_soon(task, heartbeat(SystemClock()))
            await self.until(self.latest.get)
            yield
            group.cancel_scope.cancel()
        await self.actions.aclose()

    async def until(self, holds: object) -> object:
        async def read() -> object:
            return holds()  # type: ignore[operator]

        return await eventually(read, bool)

    def named(self, name: str) -> list[Event]:
        return [each for each in self.events if each.kind == FAILURE_NAMED and each.subject == name]

    def reasons(self, name: str) -> dict[str, str]:
        return {each.type: each.reason for each in self.conditions.active() if each.subject == name}

    async def subject(self, name: str) -> HealSubject:
        def find() -> object:
            reading = self.latest.get()
            return (
                next((each for each in reading.value.containers if each.name == name), None)
                if reading
                else None
            )

        container = await self.until(find)
        return HealSubject(container, "engine_hung", "it makes no progress", simulated=False)  # type: ignore[arg-type]


async def test_the_evidence_is_on_the_disk_before_the_act_and_no_secret_is(
    docker: RealDocker, tmp_path: Path
) -> None:
    house = House(docker.socket, tmp_path)
    name = docker.name("hangs")
    script = f"echo serving with {SECRET}; echo 'CUDA out of memory' >&2; sleep 600"
    one = await docker.run(
        "hangs", "-e", f"HF_TOKEN={SECRET}", "--health-cmd", f"test x = {SECRET}",
        "--health-interval", "0.3s", command=("sh", "-c", script, "--api-key", SECRET),
    )  # fmt: skip
    async with house.running():
        subject = await house.subject(name)
        await eventually(lambda: house.actions.logs(one, lines=9), lambda tail: tail and len(tail.lines) == 2)
        with anyio.fail_after(PATIENCE):
            identity = await house.collector.collect(subject, {"witness": f"key {SECRET}"})
        found = list((house.folder / identity).iterdir())
        await house.actions.kill(one)  # the act: by now everything is there
    texts = {path.name.split("-")[0]: path.read_text() for path in found}
    assert set(texts) == {"incident.json", "log", "inspect"}
    assert not [name for name, text in texts.items() if SECRET in text]
    assert "serving with [redacted]" in texts["log"]
    assert '"--api-key",\n  "[redacted]"' in texts["inspect"]
    assert '"gpu_memory"' in texts["incident.json"]


async def test_an_engine_that_hangs_costs_the_evidence_its_part_alone(
    docker: RealDocker, tmp_path: Path
) -> None:
    await docker.run("stuck")
    async with docker_proxy(docker.socket, tmp_path / "d.sock") as proxy:
        house = House(proxy.socket, tmp_path)
        async with house.running():
            subject = await house.subject(docker.name("stuck"))
            proxy.stall()
            identity = await house.collector.collect(subject, {})
            proxy.resume()
        text = (house.folder / identity / "incident.json").read_text()
    assert "the runtime did not answer within 2 s" in text


async def test_why_a_container_loops_is_named_in_an_event_and_its_condition(
    docker: RealDocker, tmp_path: Path
) -> None:
    house = House(docker.socket, tmp_path)
    name = docker.name("loops")
    async with house.running():
        script = f"echo api_key={SECRET} torch.OutOfMemoryError: CUDA out of memory; exit 1"
        await docker.run("loops", "--restart", "always", command=("sh", "-c", script))
        await house.until(lambda: house.named(name))
        await house.until(
            lambda: "the GPU has too little" in house.reasons(name).get("container_restart_loop", "")
        )
        await docker.docker("rm", "-f", name)
    (event,) = house.named(name)
    assert event.evidence["failure"] == "gpu_memory"
    assert SECRET not in str(house.events)


async def test_a_port_that_is_taken_is_named_from_the_engine_s_own_words(
    docker: RealDocker, tmp_path: Path
) -> None:
    house = House(docker.socket, tmp_path)
    network = await docker.docker("network", "create", docker.name("ports"))
    port = free_port()
    rest = ("--network", network, "-p", f"127.0.0.1:{port}:80", docker.image, "sleep", "600")
    first, second = docker.name("first"), docker.name("second")
    try:
        async with house.running():
            await docker.docker("run", "-d", "--name", first, *rest)
            await anyio.run_process(["docker", "run", "-d", "--name", second, *rest], check=False)
            await house.until(lambda: house.named(second))
    finally:
        await docker.docker("rm", "-f", first, second)
        await docker.docker("network", "rm", network)
    (event,) = house.named(second)
    assert event.evidence["failure"] == "port_taken"


async def test_a_storm_and_a_lost_gpu_are_seen_in_a_real_log_and_end_with_the_container(
    docker: RealDocker, tmp_path: Path
) -> None:
    house = House(docker.socket, tmp_path)
    name = docker.name("loud")
    image = f"{docker.image.replace('busybox', 'vllm')}"
    await docker.docker("tag", docker.image, image)
    try:
        async with house.running():
            script = f"while true; do echo '{LOST} {SECRET}'; echo x; done"
            await docker.docker(
                "run", "-d", "--name", name, "--network", "none", "-e", f"API_KEY={SECRET}",
                "--log-opt", "max-size=10m", image, "sh", "-c", script,
            )  # fmt: skip
            await house.until(lambda: len(house.reasons(name)) == 2)
            reasons = house.reasons(name)
            await house.until(lambda: house.heals.first() is not None)
            await docker.docker("rm", "-f", name)
            await house.until(lambda: not house.reasons(name))
    finally:
        await docker.docker("rmi", "-f", image)
    assert "lines a second" in reasons["container_log_storm"]
    assert LOST in reasons["container_gpu_lost"]
    assert SECRET not in str(reasons) + str(house.events)
