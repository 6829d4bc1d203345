"""Warm and cold engines."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aiidpd.components.bench.warmth import LONG_IDLE, coldness
from aiidpd.contracts.engines import EngineState

WARM = EngineState("a", "m", False, requests_running=0, generated_tokens=10, read=100.0, worked=90.0)


def test_one_that_just_worked_is_warm():
    assert coldness(WARM, 100.0) == ""
    assert coldness(WARM, 90.0 + LONG_IDLE) == ""


@pytest.mark.parametrize(
    ("engine", "now", "why"),
    [
        (replace(WARM, worked=None, generated_tokens=0), 100.0, "had answered nothing since its start"),
        (replace(WARM, worked=None, requests_finished=0), 100.0, "had answered nothing since its start"),
        (replace(WARM, worked=None), 100.0, "not seen at work since its start"),
        (WARM, 90.0 + LONG_IDLE + 1, "had been idle for 61 s"),
        (WARM, 90.0 + 900.0, "had been idle for 15 min"),
    ],
)
def test_a_start_and_a_long_idle_time_make_it_cold(engine: EngineState, now: float, why: str):
    found = coldness(engine, now)
    assert found is not None
    assert why in found


def test_without_figures_it_is_not_known():
    assert coldness(None, 1.0) is None
    assert coldness(replace(WARM, read=None), 1.0) is None
    assert coldness(replace(WARM, requests_running=None), 1.0) is None
    assert coldness(replace(WARM, simulated=True, worked=None), 1.0) == ""
