"""When the scheduled probe may be made: never where it would disturb a model that sleeps or is not there."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.bench.permission import (
    BUSY_AGAIN,
    FIRST_ANSWER,
    MAY_SLEEP,
    NO_ANSWER,
    NOT_POLLED,
    Allowed,
    Later,
    LeftOut,
    permission,
)
from aiidpd.components.bench.settings import BenchSettings
from aiidpd.contracts.engines import EngineState, EnginesView, Residency
from tests.tables import made

SETTINGS = made(BenchSettings)
WAKES = made(BenchSettings, wake=True)
LOADED = EngineState("a", "m", simulated=False, residency=Residency.LOADED, read=1.0)
VIEW = EnginesView((LOADED,))


def test_one_that_is_loaded_and_cannot_sleep_is_probed() -> None:
    assert permission(LOADED, VIEW, 0.0, SETTINGS) == Allowed()
    gone = replace(LOADED, residency=Residency.UNKNOWN, reason="connection refused")
    assert permission(gone, VIEW, 0.0, SETTINGS) == Allowed()  # the probe says so too


def test_one_that_serves_others_is_left_alone_for_a_moment_whatever_the_configuration_says() -> None:
    for settings in (SETTINGS, WAKES):
        found = permission(replace(LOADED, requests_running=3), VIEW, 0.0, settings)
        assert found == LeftOut("it serves 3 requests of others: it is measured once it is idle", BUSY_AGAIN)
    assert isinstance(permission(replace(LOADED, requests_waiting=1), VIEW, 0.0, SETTINGS), LeftOut)
    assert permission(replace(LOADED, requests_running=0), VIEW, 0.0, SETTINGS) == Allowed()


@pytest.mark.parametrize(
    ("engine", "reason"),
    [
        (replace(LOADED, residency=Residency.SLEEPING, may_sleep=True), "its model is asleep"),
        (replace(LOADED, residency=Residency.UNLOADED, may_sleep=True), "its model is not loaded"),
        (replace(LOADED, residency=Residency.LOADING), "its model is being loaded"),
        (replace(LOADED, may_sleep=True), MAY_SLEEP),
        (replace(LOADED, residency=Residency.UNKNOWN, may_sleep=True), MAY_SLEEP),
        (
            replace(LOADED, read=None, lasting=True, reason="its container is paused"),
            "its container is paused",
        ),
    ],
)
def test_any_other_is_left_out_unless_the_configuration_lets_it_be_woken(
    engine: EngineState, reason: str
) -> None:
    assert permission(engine, VIEW, 0.0, SETTINGS) == LeftOut(reason)
    assert permission(engine, VIEW, 0.0, WAKES) == Allowed()
    assert permission(replace(engine, simulated=True), VIEW, 0.0, SETTINGS) == Allowed()


def test_the_first_answer_is_waited_for_and_nothing_is_probed_blindly() -> None:
    asked = EngineState("a", "m", simulated=False)
    for engine, view, reason in ((asked, VIEW, NO_ANSWER), (None, VIEW, NO_ANSWER), (None, None, NOT_POLLED)):
        assert permission(engine, view, 0.0, SETTINGS) == Later()
        assert permission(engine, view, FIRST_ANSWER - 1, SETTINGS) == Later()
        assert permission(engine, view, FIRST_ANSWER, SETTINGS) == LeftOut(reason)
        assert permission(engine, view, 0.0, WAKES) == Allowed()


states = st.builds(
    EngineState,
    st.just("a"),
    st.just("m"),
    simulated=st.just(False),
    residency=st.sampled_from(Residency),
    may_sleep=st.booleans(),
    read=st.one_of(st.none(), st.just(1.0)),
    lasting=st.booleans(),
)


@given(st.one_of(st.none(), states), st.floats(0, 1000))
def test_nothing_that_may_sleep_or_is_not_loaded_is_ever_probed(
    engine: EngineState | None, waited: float
) -> None:
    if isinstance(permission(engine, VIEW, waited, SETTINGS), Allowed):
        assert engine is not None
        assert engine.read is not None
        assert not engine.may_sleep
        assert engine.residency in (Residency.LOADED, Residency.UNKNOWN)
