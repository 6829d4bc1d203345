"""Measured figures against claims."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.contracts.claims import ClaimBounds, ClaimedFigure, FigurePosition, MeasuredFigure, position_of

SPEED = ClaimBounds("c", "t", ClaimedFigure.DECODE, "local", of_batch=False, low=70, high=100, limit=112)
FIRST = ClaimBounds("c", "t", ClaimedFigure.TTFT, "local", of_batch=False, low=0.04, high=0.08, limit=0.009)


@pytest.mark.parametrize(
    ("bounds", "value", "expected"),
    [
        (SPEED, 69.9, FigurePosition.BELOW),
        (SPEED, 70, FigurePosition.WITHIN),
        (SPEED, 100, FigurePosition.WITHIN),
        (SPEED, 101, FigurePosition.ABOVE),
        (SPEED, 113, FigurePosition.FORBIDDEN),
        (FIRST, 0.02, FigurePosition.BELOW),
        (FIRST, 0.05, FigurePosition.WITHIN),
        (FIRST, 0.2, FigurePosition.ABOVE),
        (FIRST, 0.001, FigurePosition.FORBIDDEN),
    ],
)
def test_the_place_of_a_measured_figure(bounds: ClaimBounds, value: float, expected: FigurePosition) -> None:
    measured = MeasuredFigure("local", bounds.figure, value, of_batch=False)
    assert bounds.position(measured) is expected


@pytest.mark.parametrize(
    "measured",
    [
        MeasuredFigure("other", ClaimedFigure.DECODE, 80, of_batch=False),
        MeasuredFigure("local", ClaimedFigure.DECODE, 80, of_batch=True),
        MeasuredFigure("local", ClaimedFigure.TTFT, 80, of_batch=False),
    ],
)
def test_another_figure_says_nothing_of_it(measured: MeasuredFigure) -> None:
    assert SPEED.position(measured) is None


@given(st.floats(0, 1e6))
def test_without_a_limit_nothing_is_forbidden(value: float) -> None:
    bounds = ClaimBounds("c", "t", ClaimedFigure.DECODE, "", of_batch=False, low=1, high=2, limit=None)
    assert position_of(bounds, value) is not FigurePosition.FORBIDDEN
