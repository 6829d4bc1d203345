from __future__ import annotations

from pathlib import Path

import anyio
import anyio.to_thread

from aiidpd.components.audit.facts import HostFacts, Toolkit
from aiidpd.components.audit.host.worker import SETTLED, HostReader
from aiidpd.components.audit.memory import AuditMemory
from aiidpd.components.audit.settings import AuditSettings
from aiidpd.components.audit.state import FindingRecords
from aiidpd.contracts.inspections import Inspections
from aiidpd.contracts.models import StoredModel, StoredModels
from aiidpd.kernel.latest import Latest
from aiidpd.platform.statefile import StateFile
from tests.fakes.clock import FakeClock
from tests.fakes.engine_server import EngineServer
from tests.heartbeat import heartbeat
from tests.tables import made

READ = HostFacts(toolkit=Toolkit("1.17.0"))


def reader(
    folder: Path, clock: FakeClock, **settings: object
) -> tuple[HostReader, AuditMemory, Latest[StoredModels]]:
    memory = AuditMemory(StateFile(folder / "audit.json", FindingRecords), clock)
    inspections: Latest[Inspections] = Latest(clock, 1e9)
    models: Latest[StoredModels] = Latest(clock, 1e9)
    table = made(AuditSettings, **settings)
    found = HostReader(
        table,
        memory,
        inspections=inspections.get,
        models=models.get,
        own_ports=frozenset(),
        clock=clock,
        read=lambda: READ,
    )
    return found, memory, models


async def pass_(clock: FakeClock, seconds: float) -> None:
    for _ in range(20):
        await anyio.sleep(0.01)
        await clock.advance(seconds / 20)


async def test_this_machine_is_read_and_its_models_when_they_are_known(tmp_path: Path):
    clock = FakeClock()
    host, memory, models = reader(tmp_path, clock, listeners=False)
    async with anyio.create_task_group() as group:
        group.start_soon(host.run, heartbeat(clock))
        await pass_(clock, 1)
        assert memory.machine.host == READ
        assert memory.machine.models is None
        assert "not searched yet" in memory.machine.reasons["models"]
        assert memory.machine.reasons["listeners"] == "switched off by audit.listeners"
        models.put(StoredModels((StoredModel(name="m"),)))
        await pass_(clock, 10)
        assert memory.machine.models is not None
        assert [each.name for each in memory.machine.models] == ["m"]
        group.cancel_scope.cancel()


async def test_what_is_switched_off_is_not_read(tmp_path: Path):
    clock = FakeClock()
    host, memory, _ = reader(tmp_path, clock, host=False, listeners=False)
    async with anyio.create_task_group() as group:
        group.start_soon(host.run, heartbeat(clock))
        await pass_(clock, 400)
        assert memory.machine.host.toolkit is None
        assert memory.machine.host.unread["firewall"] == "switched off by audit.host"
        group.cancel_scope.cancel()


async def test_listeners_are_asked_once_the_machine_has_settled(tmp_path: Path):
    clock = FakeClock()
    async with EngineServer("vllm") as engine:
        host, memory, _ = reader(tmp_path, clock)
        host._own_ports = frozenset(range(1, 65536)) - {
            engine.port
        }  # servers of other tests are none of ours
        async with anyio.create_task_group() as group:
            group.start_soon(host.run, heartbeat(clock))
            await pass_(clock, SETTLED - 10)
            assert engine.requests == []
            assert memory.machine.listeners is None
            await pass_(clock, 30)
            with anyio.fail_after(30):
                while memory.machine.listeners is None:
                    await pass_(clock, 1)
            assert [each.engine for each in memory.machine.listeners] == ["vllm"]
            group.cancel_scope.cancel()
