"""Comparison of two periods without pairs."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.bench.compare.periods import FEWEST, compared, unpaired
from tests.forms import short_and_long

samples = st.lists(st.floats(-1, 1).map(lambda each: round(each, 4)), min_size=FEWEST, max_size=20)


def day(mean: float, chance: random.Random, alike: float = 0.0, count: int = 96) -> list[float]:
    """Logarithms of a day of measurements with 2 % of noise, each like the one before to some degree."""
    found, shift = [], 0.0
    for _ in range(count):
        shift = alike * shift + math.sqrt(1 - alike**2) * chance.gauss(0, 0.02)
        found.append(mean + shift)
    return found


@given(samples, samples)
def test_to_swap_the_periods_mirrors_the_interval(a: list[float], b: list[float]):
    ours, theirs = unpaired(a, b, 0.05), unpaired(b, a, 0.05)
    assert (theirs.low, theirs.high) == pytest.approx((-ours.high, -ours.low))


def test_a_slower_day_is_found_and_a_stall_is_not_one():
    chance = random.Random(1)
    before = [math.exp(each) for each in day(math.log(0.02), chance)]
    after = [math.exp(each) for each in day(math.log(0.021), chance)]
    found = compared("time_per_output_token_seconds", before, after)
    assert found.outcome == "slower"
    assert found.ratio == pytest.approx(1.05, abs=0.01)
    assert found.text.startswith("B is 4.")
    stalls = compared("time_per_output_token_seconds", before, [*before[:-3], 5.0, 5.0, 5.0])
    assert stalls.outcome == "alike"
    assert stalls.text == "no difference above 1.5 %"


def test_a_few_measurements_say_nothing():
    found = compared("ttft_seconds", [0.1] * 5, [0.2] * 50)
    assert (found.outcome, found.ratio) == ("open", None)
    assert found.text == "not clear after 5 and 50 measurements: too few"
    same = compared("ttft_seconds", [0.1] * 6, [0.2] * 6)
    assert same.outcome == "slower"


@short_and_long("runs", 100, 3000)
@pytest.mark.parametrize("alike", [0.0, 0.3])
def test_no_more_than_the_error_are_false_between_equal_days(runs: int, alike: float):
    chance = random.Random(4)
    false = 0
    for _ in range(runs):
        found = unpaired(day(0.0, chance, alike), day(0.0, chance, alike), 0.05)
        false += not found.low <= 0 <= found.high
    print(f"false answers {false / runs:.4f}")  # noqa: T201
    assert false / runs <= 0.06 + 3 * math.sqrt(0.05 / runs)
