"""A scripted engine and a gate before it, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.gate import GateInThread, ScriptedEngine, gate_in_thread


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[ScriptedEngine]:
    found = ScriptedEngine(tmp_path / "engine.sock")
    yield found
    found.close()


@pytest.fixture
def gate(engine: ScriptedEngine, tmp_path: Path) -> Iterator[GateInThread]:
    with gate_in_thread(engine.path, tmp_path) as found:
        yield found
