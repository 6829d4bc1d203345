from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.containers.logs.decide import died_without_gpu, step
from aiidpd.components.containers.logs.state import READINGS, LogReading, LogState
from aiidpd.components.containers.settings import LogSettings
from tests.tables import made

SETTINGS = made(LogSettings, storm_lines_per_second=100)
QUIET = LogReading(run=1.0, at=10.0, lines_per_second=1.0, bytes_per_second=100.0)
LOUD = replace(QUIET, lines_per_second=5000.0, bytes_per_second=1e6, repeated="x", share=1.0)
BETWEEN = replace(QUIET, lines_per_second=70.0)
LOST = replace(QUIET, lost="Failed to initialize NVML: Unknown Error")


def after(*readings: LogReading, state: LogState | None = None) -> LogState:
    state = state or LogState()
    for reading in readings:
        state = step(state, reading, SETTINGS)
    return state


def test_a_storm_is_three_readings_in_a_row_and_ends_likewise() -> None:
    assert after(LOUD, LOUD).storm is None
    assert after(LOUD, LOUD, QUIET, LOUD, LOUD).storm is None
    begun = after(LOUD, LOUD, LOUD)
    assert begun.storm is not None
    assert begun.storm.lines_per_second == 5000.0
    assert after(QUIET, QUIET, BETWEEN, QUIET, QUIET, state=begun).storm == begun.storm
    assert after(QUIET, QUIET, QUIET, state=begun).storm is None


def test_a_storm_shows_its_last_reading() -> None:
    state = after(LOUD, LOUD, LOUD, BETWEEN, replace(LOUD, lines_per_second=300.0))
    assert state.storm is not None
    assert state.storm.lines_per_second == 300.0


@given(st.lists(st.floats(0, 1000), max_size=40))
def test_a_storm_begins_and_ends_only_by_as_many_readings(rates: list[float]) -> None:
    state = LogState()
    for place, rate in enumerate(rates):
        before, state = state, step(state, replace(QUIET, lines_per_second=rate), SETTINGS)
        recent = rates[max(0, place + 1 - READINGS) : place + 1]
        if before.storm is None and state.storm is not None:
            assert len(recent) == READINGS
            assert min(recent) >= 100
        if before.storm is not None and state.storm is None:
            assert len(recent) == READINGS
            assert max(recent) < 50


def test_a_gpu_is_lost_from_the_first_line_on_until_a_later_run_is_quiet_about_it() -> None:
    state = after(LOST, QUIET, QUIET, QUIET)
    assert state.lost is not None  # an engine that hangs for want of a GPU is quiet as well
    assert state.lost.at == 10.0
    later = replace(QUIET, run=50.0)
    assert after(later, state=state).lost is not None
    assert after(later, later, state=state).lost is None
    assert after(later, replace(LOST, run=50.0), later, state=state).lost is not None


def test_an_engine_that_works_has_its_gpu() -> None:
    assert after(replace(LOST, works=True)).lost is None
    assert after(LOST, replace(QUIET, works=True)).lost is None
    assert after(LOST, replace(QUIET, works=False)).lost is not None


def test_the_time_is_that_of_the_first_line_of_the_run() -> None:
    state = after(LOST, replace(LOST, at=40.0))
    assert state.lost is not None
    assert state.lost.at == 10.0


def test_a_run_that_died_for_it_is_followed_by_runs_that_must_be_quiet() -> None:
    state = died_without_gpu(LogState(clean=1), 5.0, 9.0, "No CUDA GPUs are available")
    assert state.lost is not None
    assert after(replace(QUIET, run=20.0), state=state).lost is not None
    assert after(*[replace(QUIET, run=20.0)] * 2, state=state).lost is None


@pytest.mark.parametrize("works", [None, True, False])
@given(said=st.lists(st.booleans(), max_size=20))
def test_a_line_about_it_is_never_overlooked(works: bool | None, said: list[bool]) -> None:
    state = LogState()
    for each in said:
        state = step(state, replace(LOST if each else QUIET, works=works), SETTINGS)
        if each:
            assert (state.lost is None) == bool(works)
