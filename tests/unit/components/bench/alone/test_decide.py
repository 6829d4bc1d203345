"""Permission to send the next request of a comparison."""

from __future__ import annotations

from typing import Any

import pytest

from aiidpd.components.bench.alone.decide import absent, others, unknown
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
