"""Trend of a noisy, rounded temperature."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.thermal.governor.trend import Trend


def followed(
    rate: float, noise: float, seconds: float, *, interval: float = 0.25, start: float = -20.0
) -> Trend:
    trend, rng = Trend(), random.Random(1)
    for count in range(round(seconds / interval)):
        at = count * interval
        trend = trend.add(at, float(round(start + rate * at + rng.uniform(-noise, noise))))
    return trend


@pytest.mark.parametrize("rate", [-1.0, 0.0, 0.1, 1.0])
@pytest.mark.parametrize(("noise", "off"), [(0.0, 0.12), (2.0, 0.3)])
def test_it_learns_the_rate_through_rounding_and_noise(rate: float, noise: float, off: float) -> None:
    trend = followed(rate, noise, 30)

    assert trend.rate == pytest.approx(rate, abs=off)
    assert trend.value == pytest.approx(-20 + rate * 29.75, abs=1.0)


def test_it_is_less_sure_of_a_noisy_sensor_and_of_what_is_further_away() -> None:
    calm, noisy = followed(0.1, 0.0, 30), followed(0.1, 2.0, 30)

    assert noisy.noise > 3 * calm.noise
    assert noisy.forecast(20).error > 1.15 * calm.forecast(20).error
    assert calm.forecast(20).error > 2 * calm.forecast(5).error


def test_after_a_turn_it_expects_the_new_rate_and_soon_believes_another() -> None:
    trend = followed(1.0, 0.0, 20)
    turned = trend.turned(-0.5, 1.0)

    assert turned.rate == trend.rate - 0.5
    assert turned.value == trend.value
    assert turned.forecast(20).error > 3 * trend.forecast(20).error
    for filtered in (trend, turned):
        after = filtered
        for count in range(8):  # it falls now, by a degree a second
            after = after.add(20 + count * 0.25, -0.25 - count * 0.25)
        assert (after.rate < 0) == (filtered is turned)


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(-300, 300)), min_size=1, max_size=50))
def test_whatever_it_is_given_its_figures_stay_figures(samples: list[tuple[float, float]]) -> None:
    trend = Trend()
    for at, value in sorted(samples):
        trend = trend.add(at, value)
        forecast = trend.forecast(20)
        assert all(abs(figure) < 1e9 for figure in forecast)
        assert trend.value_variance >= 0
        assert trend.rate_variance >= 0


def test_a_forecast_of_one_sample_is_that_sample() -> None:
    forecast = Trend().add(5.0, -3.0).forecast(20)

    assert (forecast.now, forecast.rate, forecast.later) == (-3.0, 0.0, -3.0)
    assert forecast.error > 5


def test_the_longer_nobody_looked_the_less_is_sure() -> None:
    trend = followed(0.0, 0.0, 30)
    errors = [trend.add(29.75 + gap, -20.0).forecast(20).error for gap in (0.25, 5.0, 60.0)]

    assert all(one < other for one, other in pairwise(errors))
