"""Baselines: usual value, noise, and how long a deviation lasts."""

from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.bench.regression.baseline import FIRST, FULL, due, estimate
from bench.regression import NOISES
from tests.unit.components.bench.regression.series import shifted


@pytest.mark.parametrize(("noise", "correlation"), [("iid", 0.0), ("ar1", 0.3), ("t5", 0.0)])
def test_it_knows_the_noise_that_made_the_samples(noise: str, correlation: float):
    assert noise in NOISES
    found = estimate([math.log(each) for each in shifted(noise, 1, 1.0, before=FULL, after=0)])
    assert found.value == pytest.approx(80, rel=0.003)
    assert found.scale == pytest.approx(0.02, rel=0.12)
    assert found.correlation == pytest.approx(correlation, abs=0.07)
    assert found.count == FULL


def test_a_tenth_of_outliers_moves_it_little():
    values = [math.log(each) for each in shifted("iid", 1, 1.0, before=480, after=0)]
    found = estimate([each - 2.0 if place % 10 == 0 else each for place, each in enumerate(values)])
    assert found.value == pytest.approx(80, rel=0.01)
    assert found.scale < 0.04


@given(st.lists(st.floats(-700, 700), min_size=2, max_size=100))
def test_whatever_the_samples_it_is_finite_and_among_them(values: list[float]):
    found = estimate(values)
    assert min(values) - 1e-6 <= found.centre <= max(values) + 1e-6
    assert found.scale > 0
    assert 0 <= found.correlation <= 0.95
    assert math.isfinite(found.variance)


def test_constant_samples_have_a_scale_all_the_same():
    found = estimate([1.0] * FIRST)
    assert (found.centre, found.correlation) == (1.0, 0.0)
    assert found.scale > 0


def test_a_median_of_the_same_samples_is_not_far():
    values = [math.log(each) for each in shifted("t5", 3, 1.0, before=FULL, after=0)]
    assert estimate(values).centre == pytest.approx(statistics.median(values), abs=0.002)


def test_it_is_estimated_now_and_then_and_when_it_is_complete():
    first = estimate([1.0] * FIRST)
    assert not due(FIRST - 1, None)
    assert due(FIRST, None)
    assert not due(FIRST + 5, first)
    assert due(FIRST + 6, first)
    assert due(FULL, estimate([1.0] * (FULL - 1)))
