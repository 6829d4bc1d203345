"""Health of a container and the engine in it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aiidpd.components.bench.guard.well import unwell
from aiidpd.contracts.engines import EngineState, Verdict
from aiidpd.contracts.trials import TriedContainer

WELL = TriedContainer("c1", running=True, health="healthy")
ENGINE = EngineState("llm", "m", simulated=False, container="c1", verdict=Verdict.IDLE)


@pytest.mark.parametrize(
    ("container", "engine", "kills", "words"),
    [
        (WELL, ENGINE, 0, ""),
        (replace(WELL, health=None), None, 0, ""),
        (replace(WELL, running=False, exit_code=3), ENGINE, 0, "it has ended, with code 3"),
        (replace(WELL, health="unhealthy"), ENGINE, 0, "its health check fails"),
        (replace(WELL, out_of_memory=True), ENGINE, 0, "it ran out of memory"),
        (WELL, ENGINE, 1, "it ran out of memory"),
        (
            WELL,
            replace(ENGINE, verdict=Verdict.HUNG, verdict_reason="no step"),
            0,
            "its engine is hung: no step",
        ),
        (WELL, replace(ENGINE, verdict=Verdict.HUNG, container="c0"), 0, ""),
    ],
)
def test_what_is_wrong_is_named(
    container: TriedContainer, engine: EngineState | None, kills: int, words: str
) -> None:
    assert unwell(container, engine, kills) == words
