"""Over-saturation of an open loop, on simulated queues."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.bench.load.draws import Draws
from aiidpd.components.bench.load.saturation import BLOCKS, FEWEST, growth, means, reason, trend
from tests.forms import short_and_long

SECONDS, SERVERS, SERVICE = 60.0, 8, 1.0
CAPACITY = SERVERS / SERVICE


def queue(rate: float, seed: int, *, seconds: float = SECONDS) -> tuple[list[float], list[float]]:
    """Return the requests in the system at 240 moments, and the waits in the order of arrival."""
    draws = Draws(seed)
    free = [0.0] * SERVERS
    at, number = 0.0, 0
    spans, waits = [], []
    while (at := at + draws.exponential(1 / rate, "arrival", number)) < seconds:
        begins = max(at, heapq.heappop(free))
        ends = begins + draws.exponential(SERVICE, "service", number)
        heapq.heappush(free, ends)
        spans.append((at, ends))
        waits.append(begins - at + 0.05)
        number += 1
    moments = [seconds * (place + 0.5) / 240 for place in range(240)]
    return [float(sum(begin <= moment < end for begin, end in spans)) for moment in moments], waits


def watched(rate: float, seed: int) -> str:
    """Return what a watch finds that tests each second, as the load does."""
    in_system, waits = queue(rate, seed)
    for second in range(1, 61):
        waited = waits[: int(rate * second)]
        found = reason(in_system[: second * 4], waited, arrivals=rate * SECONDS, seconds=SECONDS)
        if found:
            return found
    return ""


@short_and_long("runs", 60, 1000)
def test_a_load_that_can_be_served_is_not_called_too_much(runs: int):
    wrong = sum(bool(watched(0.7 * CAPACITY, seed)) for seed in range(runs))
    assert wrong <= math.ceil(0.02 * runs)


@short_and_long("runs", 20, 300)
def test_twice_what_can_be_served_is_found_in_a_minute(runs: int):
    assert all(watched(2 * CAPACITY, seed) for seed in range(runs))


@short_and_long("runs", 20, 300)
def test_a_third_more_than_can_be_served_is_found_mostly(runs: int):
    assert sum(bool(watched(1.33 * CAPACITY, seed)) for seed in range(runs)) >= 0.9 * runs


def test_the_reason_names_what_grew():
    rising = [float(place) for place in range(240)]
    assert reason(rising, [], arrivals=500, seconds=60).startswith("requests in the system rose from")
    later = [place / 10 for place in range(240)]
    assert "first token came ever later" in reason([], later, arrivals=500, seconds=60)
    assert reason([], [], arrivals=0, seconds=0) == ""


@given(st.lists(st.floats(0, 1e6), max_size=300))
def test_what_does_not_grow_is_never_too_much(values: list[float]):
    falling = sorted(values, reverse=True)
    assert growth(falling) is None
    assert trend(falling) <= 0


@given(st.floats(0, 1e6), st.integers(0, 500))
def test_what_stays_is_never_too_much(value: float, count: int):
    assert growth([value] * count) is None


@pytest.mark.parametrize("count", [0, 1, FEWEST - 1])
def test_of_few_moments_nothing_is_said(count: int):
    assert growth([float(place * 100) for place in range(count)]) is None


@given(st.lists(st.floats(-1e6, 1e6), min_size=BLOCKS, max_size=200))
def test_blocks_are_as_many_as_asked_for_and_have_the_mean_of_all(values: list[float]):
    blocks = means(values, BLOCKS)
    assert len(blocks) == BLOCKS
    assert min(values) - 1e-6 <= min(blocks) <= max(blocks) <= max(values) + 1e-6


def oracle(values: list[int]) -> float:
    score = sum(
        (values[later] > values[earlier]) - (values[later] < values[earlier])
        for later in range(len(values))
        for earlier in range(later)
    )
    variance = len(values) * (len(values) - 1) * (2 * len(values) + 5) / 18
    return 0.0 if not score else (score - (1 if score > 0 else -1)) / math.sqrt(variance)


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=30, unique=True))
def test_the_trend_is_that_of_mann_and_kendall(values: list[int]):
    assert trend([float(each) for each in values]) == pytest.approx(oracle(values))
    mirrored: Callable[[float], float] = lambda value: -value  # noqa: E731 -- typed
    assert trend([mirrored(each) for each in values]) == pytest.approx(-oracle(values))
