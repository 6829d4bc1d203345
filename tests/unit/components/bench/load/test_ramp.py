"""Ramps to the knee, on servers whose knee is known."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.bench.load.ramp import GAIN, Knee, Level, Limits, broken, step

Server = Callable[[float], Level]
LEVELS = st.builds(
    Level,
    st.just(0.0),
    st.floats(0, 1e6),
    st.floats(0, 1),
    st.floats(0, 1),
    st.none(),
    st.sampled_from(["", "it grew"]),
    st.sampled_from(["", "too busy"]),
)


def ramped(server: Server, limits: Limits) -> tuple[list[Level], Knee]:
    levels: list[Level] = []
    for _ in range(100):
        following = step(levels, limits)
        if isinstance(following, Knee):
            return levels, following
        levels.append(server(following))
    raise AssertionError("it never ends")


def serving(most: float, each: float = 10.0) -> Server:
    """Return a server that has ``each`` tokens a second for a user, and ``most`` users' for all."""
    return lambda load: Level(load, each * min(load, most))


@given(st.data(), st.integers(1, 300), st.integers(1, 1000), st.booleans(), st.booleans())
def test_whatever_a_server_does_a_ramp_ends_within_its_bounds(
    data: st.DataObject, first: int, most: int, whole: bool, limited: bool
):
    limits = Limits(first, max(first, most), whole=whole, limited=limited)

    def server(load: float) -> Level:
        found = data.draw(LEVELS)
        return Level(load, found.output, found.good, found.answered, None, found.saturated, found.invalid)

    levels, knee = ramped(server, limits)
    loads = [each.load for each in levels]
    assert len(set(loads)) == len(loads) <= 3 + math.log2(max(1, limits.most / first))
    assert all(first <= load <= limits.most for load in loads)
    assert knee.reason
    ordered = sorted(levels, key=lambda each: each.load)
    if knee.load is None:
        assert broken(ordered, 0, limits)
    else:
        place = [each.load for each in ordered].index(knee.load)
        assert not any(broken(ordered, below, limits) for below in range(place + 1))


@given(st.integers(1, 200))
def test_the_knee_of_a_server_is_found_within_a_step(most: int):
    levels, knee = ramped(serving(most), Limits(1, 4096))
    assert knee.load is not None
    assert most / 2 <= knee.load <= 2 * most
    assert "less than" in knee.reason
    assert all(each.load <= 4 * most + 2 for each in levels)


@given(st.floats(0.1, 50), st.floats(0.5, 2))
def test_the_knee_of_a_rate_is_found_within_a_step(most: float, first: float):
    def server(load: float) -> Level:
        return Level(load, 10 * min(load, most), saturated="" if load <= most else "the queue grew")

    _, knee = ramped(server, Limits(first, 4096, whole=False))
    if most < first:
        assert knee == Knee(None, "the queue grew")
    else:
        assert knee.load is not None
        assert most / 2 <= knee.load <= most
        assert "the queue grew" in knee.reason


def test_a_ramp_that_nothing_stops_ends_where_it_may():
    levels, knee = ramped(serving(1e9), Limits(1, 20))
    assert [each.load for each in levels] == [1, 2, 4, 8, 16, 20]
    assert knee.load == 20
    assert "20 is the most" in knee.reason


def test_one_level_is_measured_between_the_best_and_the_first_that_was_worse():
    levels, knee = ramped(serving(24), Limits(1, 64))
    assert [each.load for each in levels] == [1, 2, 4, 8, 16, 32, 64, 45]
    assert knee.load == 32


def failing(load: float) -> Level:
    return Level(load, load, answered=1.0 if load <= 8 else 0.5)


def slow(load: float) -> Level:
    return Level(load, load, good=1.0 if load <= 8 else 0.5)


def busy(load: float) -> Level:
    return Level(load, load, invalid="" if load <= 8 else "it was late")


@pytest.mark.parametrize(
    ("server", "limited", "reason"),
    [
        (failing, False, "50 % of the requests failed"),
        (slow, True, "50 % of the requests were within the limits"),
        (busy, False, "the client could not keep up: it was late"),
    ],
)
def test_the_knee_is_named_with_its_reason(server: Server, limited: bool, reason: str):
    _, knee = ramped(server, Limits(1, 64, limited=limited))
    assert knee.load == 8
    assert reason in knee.reason


def test_without_limits_slow_requests_are_no_knee():
    _, knee = ramped(slow, Limits(1, 64))
    assert knee.load == 64


def test_twice_the_load_has_to_give_some_percent_more():
    limits = Limits(1, 8)
    almost = [Level(1, 100), Level(2, 100 * (1 + GAIN) - 0.01)]
    enough = [Level(1, 100), Level(2, 100 * (1 + GAIN))]
    assert broken(almost, 1, limits)
    assert not broken(enough, 1, limits)
