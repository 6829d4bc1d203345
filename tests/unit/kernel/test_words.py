from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.kernel.words import apart, lasting


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "less than a second"), (0.99, "less than a second"), (1.0, "1 s"), (61.4, "61 s")],
)
def test_how_long_something_lasted_is_never_nothing(seconds: float, text: str) -> None:
    assert lasting(seconds) == text


@pytest.mark.parametrize(
    ("difference", "text"), [(3.0, "3 °C above it"), (-2.46, "2.46 °C below it"), (0.01, "at it")]
)
def test_a_difference_has_its_side(difference: float, text: str) -> None:
    assert apart(difference, "it") == text


@given(st.floats(-300, 300))
def test_a_difference_is_never_none_at_all(difference: float) -> None:
    said = apart(difference, "it")
    assert not said.startswith(("0 ", "-"))
    assert ("above" in said) <= (difference > 0)
    assert ("below" in said) <= (difference < 0)
