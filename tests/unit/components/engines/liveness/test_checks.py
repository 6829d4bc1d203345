"""Completions of one token: when one may be sent, and what comes of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from aiidpd.components.engines.liveness import checks
from aiidpd.components.engines.liveness.checks import CheckState, due
from aiidpd.components.engines.liveness.decide import begin, step
from aiidpd.components.engines.liveness.history import EngineHistory, check_deadline, with_check
from aiidpd.components.engines.liveness.observation import Observation
from aiidpd.components.engines.liveness.state import LivenessState
from aiidpd.components.engines.settings import LivenessSettings
from aiidpd.contracts.engines import Residency
from tests.unit.components.engines.liveness.seen import Scene

INTERVAL = 300.0


def idle(seconds: int = 400, **engine: Any) -> tuple[LivenessState, Observation]:
    """Return an engine that has been idle for ``seconds``."""
    scene = Scene(**{"requests_running": 0, "requests_waiting": 0, "steps": 5, **engine})
    seen = scene.at(1.0)
    state, _ = step(begin(EngineHistory(), seen), seen, LivenessSettings())
    for second in range(2, seconds):
        seen = scene.at(float(second))
        state, _ = step(state, seen, LivenessSettings())
    return state, seen


def test_an_idle_engine_is_checked_at_the_configured_rate() -> None:
    state, seen = idle()
    assert due(CheckState(), state, seen, INTERVAL, back_off=False)
    assert not due(CheckState(sent=200.0), state, seen, INTERVAL, back_off=False)
    assert not due(CheckState(), state, seen, 0.0, back_off=False)
    assert not due(CheckState(), *idle(200), INTERVAL, back_off=False)


def test_steps_since_prove_more_than_a_check_could() -> None:
    state, seen = idle()
    assert not due(CheckState(), replace(state, progressed=350.0), seen, INTERVAL, back_off=False)


@pytest.mark.parametrize(
    "engine",
    [
        {"may_sleep": True},
        {"residency": Residency.SLEEPING},
        {"residency": Residency.UNLOADED},
        {"residency": Residency.UNKNOWN},
        {"residency": Residency.LOADING},
        {"requests_running": 1},
        {"requests_waiting": 1},
        {"requests_running": None},
        {"reason": "refused"},
    ],
)
def test_never_where_it_could_wake_load_disturb_or_say_nothing(engine: dict[str, Any]) -> None:
    assert not due(CheckState(), *idle(**engine), INTERVAL, back_off=False)


def test_never_beside_a_probe_nor_while_a_gpu_is_to_be_left_alone() -> None:
    state, seen = idle()
    assert not due(CheckState(), state, replace(seen, probing=True), INTERVAL, back_off=False)
    assert not due(CheckState(), state, seen, INTERVAL, back_off=True)
    simulated = replace(seen, engine=replace(seen.engine, simulated=True))
    assert not due(CheckState(), state, simulated, INTERVAL, back_off=False)


def test_a_deadline_that_was_missed_once_is_tried_again_at_once_and_counts_the_second_time() -> None:
    state, seen = idle()
    check = checks.missed(checks.sent(CheckState(run=state.run), 390.0))
    assert check.unanswered_since is None
    assert due(check, state, seen, INTERVAL, back_off=False)
    check = checks.missed(checks.sent(check, 430.0))
    assert check.unanswered_since == 390.0
    assert not due(check, state, seen, INTERVAL, back_off=False)
    assert checks.answered(check).unanswered_since is None
    assert checks.observed(check, state) == check
    assert checks.observed(check, replace(state, progressed=440.0)).unanswered_since is None
    assert checks.observed(check, replace(state, run=1.0)) == CheckState(run=1.0, ended=2)


def test_the_deadline_is_learned_within_bounds() -> None:
    history = EngineHistory()
    assert check_deadline(history, again=False) == 30.0
    for seconds, deadline in ((0.1, 10.0), (4.0, 20.0), (100.0, 60.0)):
        learned = with_check(EngineHistory(), seconds)
        assert check_deadline(learned, again=False) == deadline
        assert check_deadline(learned, again=True) == 2 * deadline
