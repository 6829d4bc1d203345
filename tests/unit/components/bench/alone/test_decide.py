"""Who is served beside us, and what the counters prove of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.bench.alone.decide import (
    LONGEST_PAUSE,
    SHORTEST_PAUSE,
    absent,
    acceptance,
    is_settled,
    others,
    pause,
    proof,
    unknown,
)
from aiidpd.contracts.engines import EngineState, Residency


def engine(**more: Any) -> EngineState:
    given: dict[str, Any] = {"simulated": False, "read": 10.0, "residency": Residency.LOADED}
    return EngineState("a", "m", **(given | {"requests_running": 0, "requests_waiting": 0} | more))


@pytest.mark.parametrize(
    ("state", "since", "count"),
    [
        (None, None, 0),
        (engine(read=None, requests_running=2), None, 0),
        (engine(), None, 0),
        (engine(requests_running=2, requests_waiting=1), None, 3),
        (engine(requests_running=1, includes_probe=True), None, 0),
        (engine(requests_running=1), 9.0, 0),
        (engine(requests_running=2), 9.0, 1),
        (engine(requests_running=1, requests_waiting=1), 9.0, 1),
        (engine(requests_running=2), 11.0, 0),
        (engine(requests_running=3, simulated=True), None, 0),
        (engine(requests_running=None, requests_waiting=None), None, 0),
    ],
)
def test_our_own_request_is_none_of_others_and_an_old_reading_says_nothing(
    state: EngineState | None, since: float | None, count: int
):
    assert others(state, since) == count


def test_what_is_not_known_is_not_absent():
    assert unknown(None)
    assert unknown(engine(requests_running=None))
    assert not unknown(engine())
    assert absent(None) == absent(engine()) == absent(engine(residency=Residency.UNKNOWN)) == ""
    assert absent(engine(residency=Residency.SLEEPING)) == "its model is asleep"


def test_the_pause_between_readings_is_short_for_a_cheap_page_and_bounded():
    assert pause(0.0) == SHORTEST_PAUSE
    assert pause(0.01) == pytest.approx(0.04)
    assert pause(60.0) == pause(None) == LONGEST_PAUSE


COUNTS = st.none() | st.integers(0, 200)
STATES = st.builds(
    engine,
    requests_running=st.none() | st.integers(0, 2),
    requests_waiting=st.none() | st.integers(0, 2),
    generated_tokens=COUNTS,
    requests_finished=COUNTS,
    simulated=st.booleans(),
)


@given(st.none() | STATES, st.none() | STATES, COUNTS)
def test_proof_needs_counters_that_agree_and_what_is_not_known_has_a_reason(
    before: EngineState | None, after: EngineState | None, tokens: int | None
):
    found = proof(before, after, tokens)
    assert bool(found.reason) == (found.alone is not True)
    if found.alone:
        assert before is not None
        assert after is not None
        assert not after.requests_running
        generated = (after.generated_tokens or 0) - (before.generated_tokens or 0)
        finished = (after.requests_finished or 0) - (before.requests_finished or 0)
        assert finished == 1 or generated == tokens
    if before is not None and not unknown(before) and found.alone is None and not before.simulated:
        assert not is_settled(before, after, tokens) or found.reason


def test_drafts_are_those_between_two_readings():
    before, after = engine(draft_tokens=10, accepted_tokens=4), engine(draft_tokens=30, accepted_tokens=16)
    assert acceptance(before, after) == (20, 12)
    assert acceptance(before, before) is None  # none were made
    assert acceptance(after, before) is None
    assert acceptance(engine(), after) is None
    assert acceptance(None, after) is None
