"""Windows of the newest samples, beside the same estimate by matrices."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.bench.regression.baseline import Baseline
from aiidpd.components.bench.regression.scan import BOUNDS, deviations, residuals, threshold, worse


@given(
    st.lists(st.floats(-0.08, 0.08), min_size=4, max_size=30),
    st.floats(0, 0.9),
    st.integers(2, 29),
)
def test_a_window_is_the_generalised_least_squares_estimate(
    rest: list[float], correlation: float, samples: int
):
    samples = min(samples, len(rest))
    baseline = Baseline(0.0, 0.02, correlation, 10**9)
    (found,) = deviations(rest, (samples,), baseline)
    count = len(rest)
    # The sample before the window is taken as given; those before it say no more about an AR(1) process.
    covariance = 0.02**2 * correlation ** np.abs(np.subtract.outer(np.arange(count), np.arange(count)))
    step = np.array([0.0] * (count - samples) + [1.0] * samples)
    if samples == count:
        # Without one before, ours weighs the first sample like the others, which costs it a little.
        assert found.error >= 0
        return
    inverse = np.linalg.inv(covariance)
    information = step @ inverse @ step
    assert found.mean == pytest.approx(step @ inverse @ np.array(rest) / information, abs=1e-9)
    assert found.error**2 == pytest.approx(1 / information + baseline.variance, rel=1e-6)
    assert found.gain == pytest.approx(found.mean**2 * information / 2, rel=1e-6, abs=1e-9)


def test_residuals_are_worse_below_zero_and_clipped():
    baseline = Baseline(1.0, 0.02, 0.0, 100)
    assert residuals([1.0, 0.99, 0.0, 2.0], 1, baseline) == pytest.approx([0.0, -0.01, -0.08, 0.08])
    assert residuals([1.01], -1, baseline) == pytest.approx([-0.01])


@pytest.mark.parametrize("bad", [1, 2])
def test_fewer_than_three_bad_samples_are_none(bad: int):
    baseline = Baseline(0.0, 0.02, 0.0, 1000)
    rest = [0.0] * 50
    for place in itertools.islice(range(49, 0, -1), bad):
        rest[place] = -0.08
    assert not worse(rest, baseline)


def test_three_of_three_are():
    baseline = Baseline(0.0, 0.02, 0.0, 1000)
    assert worse([*[0.0] * 50, -0.08, -0.08, -0.08], baseline)
    assert not worse([*[0.0] * 50, 0.08, 0.08, 0.08], baseline)


def test_a_young_baseline_asks_for_more():
    young, old = Baseline(0.0, 0.02, 0.0, 48), Baseline(0.0, 0.02, 0.0, 1344)
    for samples in BOUNDS:
        assert threshold(samples, 0.02, young) > threshold(samples, 0.02, old)
