"""A crowd of hostile clients before the gate: the engine sees nothing of them, and the gate serves on."""

from __future__ import annotations

from pathlib import Path

from aiidpd.gate.session import Limits
from tests.fakes.gate import ScriptedEngine, gate_in_thread, plain
from tests.fakes.hostile import crowd
from tests.waiting import eventually


async def test_a_crowd_of_hostile_clients_gets_nothing_through(tmp_path: Path):
    engine = ScriptedEngine(tmp_path / "engine.sock")
    engine.answers["/info"] = plain(200, b"{}")
    limits = Limits(idle=0.5, head=0.5, write=0.5)
    with gate_in_thread(engine.path, tmp_path, limits=limits) as gate:
        kinds = await crowd(150, 7, [str(gate.socket)])
        assert sum(kinds.values()) == 150
        assert engine.requests == []

        async def served() -> int:
            return gate.get("/info")[0]

        await eventually(served, lambda status: status == 200)
        assert len(gate.lines) < 200
    engine.close()
