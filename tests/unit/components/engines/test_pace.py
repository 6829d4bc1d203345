"""How often an engine is polled, and what our polls are to it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.engines.pace import LONGEST, next_interval
from aiidpd.components.engines.polls import EnginePolls, Polls
from aiidpd.engines.figures import PollLoad


def test_an_engine_that_answers_at_once_is_polled_at_its_interval_and_a_slow_one_less_often() -> None:
    assert next_interval(5.0, 5.0, 0.003, busy=False) == 5.0
    assert next_interval(5.0, 5.0, 0.5, busy=False) == 10.0
    assert next_interval(5.0, 10.0, 0.003, busy=False) == 5.0
    assert next_interval(5.0, 5.0, 600.0, busy=False) == LONGEST


def test_one_that_has_too_much_to_do_is_polled_half_as_often_each_time() -> None:
    interval, seen = 5.0, []
    for _ in range(6):
        interval = next_interval(5.0, interval, 0.003, busy=True)
        seen.append(interval)
    assert seen == [10.0, 20.0, 40.0, 60.0, 60.0, 60.0]


@given(st.floats(1, 60), st.floats(1, 60), st.floats(0, 1e6), st.booleans())
def test_at_most_a_twentieth_of_the_time_and_at_least_once_a_minute(
    interval: float, before: float, seconds: float, busy: bool
) -> None:
    found = next_interval(interval, before, seconds, busy=busy)
    assert interval <= found <= LONGEST
    assert found >= min(20 * seconds, LONGEST)


def test_the_load_a_minute_is_that_of_the_last_five() -> None:
    polls, load = Polls(), PollLoad()
    assert polls.known("a") is None
    engine = polls.of("a")
    assert engine.rate(0.0) is None
    for second in range(0, 1205, 5):
        before = (load.requests, load.seconds, load.bytes)
        load.requests += 1
        load.seconds += 0.01
        load.bytes += 2000
        engine.add(float(second), before, load)
        if second < 10:
            assert engine.rate(float(second)) is None
    rate = engine.rate(1200.0)
    assert rate is not None
    assert rate.requests == pytest.approx(12.0)
    assert rate.seconds == pytest.approx(0.12)
    assert rate.bytes == pytest.approx(24_000)
    assert (engine.requests, engine.bytes) == (241, 482_000)
    rate = engine.rate(1500.0)  # it is polled no more
    assert rate is not None
    assert rate.requests == 0
    polls.forget(["b"])
    assert polls.known("a") is None


@given(st.lists(st.tuples(st.floats(0.1, 100), st.integers(0, 9)), max_size=50))
def test_no_rate_is_negative(steps: list[tuple[float, int]]) -> None:
    engine, load, now = EnginePolls(), PollLoad(), 0.0
    for gap, requests in steps:
        now += gap
        before = (load.requests, load.seconds, load.bytes)
        load.requests += requests
        engine.add(now, before, load)
        rate = engine.rate(now)
        assert rate is None or rate.requests >= 0
