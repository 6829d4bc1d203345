"""Student's t distribution."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.bench.compare.student import critical, two_sided


@pytest.mark.parametrize(
    ("level", "degrees", "value"),
    [(0.05, 1, 12.706), (0.05, 19, 2.093), (0.01, 9, 3.250), (0.001, 3, 12.924), (0.05, 1e6, 1.960)],
)
def test_its_values_are_those_of_the_tables(level: float, degrees: float, value: float):
    assert critical(level, degrees) == pytest.approx(value, abs=6e-4)
    assert two_sided(value, degrees) == pytest.approx(level, rel=2e-3)


@given(st.floats(1e-9, 1 - 1e-9), st.floats(0.5, 1e4))
def test_level_and_critical_value_are_inverse(level: float, degrees: float):
    assert two_sided(critical(level, degrees), degrees) == pytest.approx(level, rel=1e-5, abs=1e-12)


@given(st.floats(0, 1e6), st.floats(0.5, 200))
def test_one_degree_is_cauchy_s_and_all_lie_in_bounds(statistic: float, degrees: float):
    assert two_sided(statistic, 1) == pytest.approx(1 - 2 * math.atan(statistic) / math.pi, abs=1e-8)
    assert 0 <= two_sided(statistic, degrees) <= 1


def test_infinity_is_never_exceeded():
    assert two_sided(math.inf, 3) == 0
