"""Several tokens a step."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.physics.speculative import ceiling, mean_accepted


def test_a_draft_that_is_always_right_yields_all_and_one() -> None:
    assert mean_accepted(1.0, 4) == 5
    assert mean_accepted(0.0, 4) == 1
    assert mean_accepted(0.5, 2) == pytest.approx(1 + 0.5 + 0.25)


@given(st.floats(0, 1), st.integers(0, 32))
def test_a_step_yields_one_token_at_least_and_the_draft_and_one_at_most(
    acceptance: float, draft: int
) -> None:
    assert 1 <= mean_accepted(acceptance, draft) <= (draft + 1) * (1 + 1e-9)


def test_the_ceiling_is_multiplied() -> None:
    assert ceiling(50, 2.5) == 125


@pytest.mark.parametrize(
    "call", [lambda: ceiling(50, 0.9), lambda: mean_accepted(1.1, 2), lambda: mean_accepted(0.5, -1)]
)
def test_what_no_draft_does(call: object) -> None:
    with pytest.raises(ValueError, match=r"step yields|acceptance"):
        call()  # type: ignore[operator]
