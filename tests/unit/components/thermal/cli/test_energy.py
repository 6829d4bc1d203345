from __future__ import annotations

import pytest

from aiidpd.components.thermal.cli.energy import money


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.00 EUR"),
        (0.000056, "< 0.0001 EUR"),
        (0.0001, "0.0001 EUR"),
        (0.00041, "0.00041 EUR"),
        (0.5, "0.5 EUR"),
        (12.346, "12.35 EUR"),
    ],
)
def test_a_price_has_the_digits_that_it_needs(value: float, text: str) -> None:
    assert money(value, "EUR") == text
