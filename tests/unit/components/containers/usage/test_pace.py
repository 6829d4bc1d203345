"""Pace of the readings: often where it matters, in turns elsewhere."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.containers.usage.pace import CLOSE_SECONDS, DISTANT_SECONDS, due


@given(st.integers(0, 60), st.integers(0, 5))
def test_each_is_read_in_its_time_and_no_pass_has_all(others: int, engines: int) -> None:
    everyone = [f"c{number}" for number in range(others)] + [f"e{number}" for number in range(engines)]
    close = {each for each in everyone if each.startswith("e")}
    read: dict[str, float] = {}
    longest: dict[str, float] = {}
    most = 0
    for beat in range(60):
        now = beat * CLOSE_SECONDS
        taken = due(read, everyone, close, now)
        assert len(taken) == len(set(taken))
        if beat:
            most = max(most, len([each for each in taken if each not in close]))
        for each in taken:
            if each in read:
                longest[each] = max(longest.get(each, 0.0), now - read[each])
            read[each] = now
    assert all(
        longest[each] <= (CLOSE_SECONDS if each in close else DISTANT_SECONDS + CLOSE_SECONDS)
        for each in everyone
    )
    assert most <= others / 10 + 1


def test_one_that_is_new_is_read_at_once() -> None:
    assert due({"a": 100.0}, ["a", "b"], set(), 100.5) == ["b"]
