"""The sequential test of pairs: invariances, errors and power."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.bench.compare.sequential import (
    FEWEST,
    NEGLIGIBLE,
    Estimate,
    Outcome,
    estimate,
    interim_analyses,
)
from tests.forms import short_and_long

NOISE = 0.02  # of each measurement, so that a difference has the square root of two times as much
ERROR = 0.05
differences = st.lists(st.floats(-0.5, 0.5).map(lambda each: round(each, 6)), max_size=24)
most = st.integers(4, 60)
OPPOSITE = {
    Outcome.LESS: Outcome.MORE,
    Outcome.MORE: Outcome.LESS,
    Outcome.ALIKE: Outcome.ALIKE,
    Outcome.OPEN: Outcome.OPEN,
}


@given(differences, most)
def test_to_swap_the_sides_mirrors_the_answer(found: list[float], most: int):
    ours, theirs = (estimate([sign * each for each in found], most, ERROR) for sign in (1, -1))
    assert (theirs.low, theirs.high) == pytest.approx((-ours.high, -ours.low))
    assert theirs.mean == pytest.approx(-ours.mean)
    assert theirs.outcome is OPPOSITE[ours.outcome]


@given(differences, most, st.sampled_from([0.25, 0.5, 2.0, 8.0]))
def test_the_scale_of_the_noise_scales_the_interval(found: list[float], most: int, factor: float):
    ours = estimate(found, most, ERROR)
    scaled = estimate([factor * each for each in found], most, ERROR)
    assert (scaled.low, scaled.high) == pytest.approx((factor * ours.low, factor * ours.high), rel=1e-6)


@given(differences, most, st.floats(-1, 1))
def test_what_is_added_to_all_moves_the_interval(found: list[float], most: int, shift: float):
    ours = estimate(found, most, ERROR)
    moved = estimate([each + shift for each in found], most, ERROR)
    assert (moved.low, moved.high) == pytest.approx((ours.low + shift, ours.high + shift), abs=1e-6)


@given(differences, most)
def test_the_interval_only_narrows_and_a_difference_stays_one(found: list[float], most: int):
    before = Estimate()
    for count in range(len(found) + 1):
        after = estimate(found[:count], most, ERROR)
        assert before.low <= after.low <= after.high <= before.high
        assert after.low <= after.mean <= after.high
        if before.outcome is not Outcome.OPEN and before.outcome is not Outcome.ALIKE:
            assert after.outcome is before.outcome
        before = after


@given(st.integers(0, 300))
def test_looks_ascend_and_the_last_one_has_every_pair(most: int):
    found = interim_analyses(most)
    assert list(found) == sorted(set(found))
    assert all(FEWEST <= each <= most for each in found)
    assert not found if most < FEWEST else found[-1] == most


def test_nothing_is_known_before_the_first_look_and_between_looks_nothing_changes():
    values = [0.03, 0.032, 0.029, 0.031, 0.5]
    assert estimate(values[:3], 20, ERROR) == Estimate()
    assert estimate(values[:4], 20, ERROR) == estimate(values, 20, ERROR)
    assert estimate(values[:4], 20, ERROR).outcome is Outcome.MORE


def test_equal_sides_are_alike_at_the_first_look():
    found = estimate([0.0] * 4, 20, ERROR)
    assert (found.low, found.high, found.outcome) == (0, 0, Outcome.ALIKE)


def test_intervals_that_exclude_each_other_leave_the_first_one():
    first = [0.1, 0.1001, 0.0999, 0.1]
    found = estimate([*first, -3.0, -3.0, -3.0, -3.0], 20, ERROR)
    assert found.low <= found.mean <= found.high


def noise(chance: random.Random, degrees: int | None) -> float:
    """One difference of two measurements, of Student's distribution with ``degrees`` or normal."""
    value = chance.gauss(0, 1)
    if degrees is not None:
        value /= math.sqrt(chance.gammavariate(degrees / 2, 2 / degrees)) * math.sqrt(degrees / (degrees - 2))
    return math.sqrt(2) * NOISE * value


def stopped(effect: float, error: float, chance: random.Random, degrees: int | None) -> tuple[Outcome, int]:
    """Outcome of one comparison that ends as soon as it is clear, and its pairs."""
    values = [effect + noise(chance, degrees) for _ in range(20)]
    for count in interim_analyses(20):
        outcome = estimate(values[:count], 20, error).outcome
        if outcome is not Outcome.OPEN:
            return outcome, count
    return Outcome.OPEN, 20


@short_and_long("runs", 150, 10_000)
@pytest.mark.parametrize("degrees", [None, 5], ids=["normal", "student"])
def test_three_percent_are_found_in_20_pairs_with_90_percent_power(runs: int, degrees: int | None):
    """The error is that of one figure of three, as in a comparison."""
    chance = random.Random(1)
    found = [stopped(math.log(1.03), ERROR / 3, chance, degrees) for _ in range(runs)]
    power = sum(outcome is Outcome.MORE for outcome, _ in found) / runs
    print(f"power {power:.3f}, {sum(pairs for _, pairs in found) / runs:.1f} pairs")  # noqa: T201
    assert power >= 0.9 - 2 * math.sqrt(0.09 / runs)
    assert not any(outcome is Outcome.LESS for outcome, _ in found[:1000])


@short_and_long("runs", 150, 10_000)
@pytest.mark.parametrize("degrees", [None, 5], ids=["normal", "student"])
@pytest.mark.parametrize("error", [ERROR, ERROR / 3])
def test_no_more_than_the_error_are_false_where_there_is_no_difference(
    runs: int, degrees: int | None, error: float
):
    chance = random.Random(2)
    false = sum(stopped(0.0, error, chance, degrees)[0] in (Outcome.LESS, Outcome.MORE) for _ in range(runs))
    print(f"false answers {false / runs:.4f} of {error:.4f}")  # noqa: T201
    assert false / runs <= error + 3 * math.sqrt(error / runs)


@short_and_long("runs", 150, 10_000)
def test_no_more_than_the_error_are_called_alike_though_they_differ_by_more(runs: int):
    chance = random.Random(3)
    alike = sum(stopped(1.01 * NEGLIGIBLE, ERROR, chance, None)[0] is Outcome.ALIKE for _ in range(runs))
    assert alike / runs <= ERROR + 3 * math.sqrt(ERROR / runs)
