"""Quantities with their units, read and written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.bench.accept.quantities import Dimension, NotAQuantityError, parse, shown


@pytest.mark.parametrize(
    ("text", "dimension", "value"),
    [
        ("100 ms", Dimension.SECONDS, 0.1),
        ("100ms", Dimension.SECONDS, 0.1),
        ("10 min", Dimension.SECONDS, 600),
        ("60 tok/s", Dimension.TOKENS_PER_SECOND, 60),
        ("95 %", Dimension.SHARE, 0.95),
        ("128 tokens", Dimension.TOKENS, 128),
        (0, Dimension.COUNT, 0),
    ],
)
def test_a_quantity_is_read_with_its_unit(text: object, dimension: Dimension, value: float):
    assert parse(text, dimension) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "dimension"),
    [
        (100, Dimension.SECONDS),
        ("100", Dimension.SECONDS),
        ("100 ms", Dimension.TOKENS_PER_SECOND),
        ("0.95", Dimension.SHARE),
        (0.95, Dimension.SHARE),
        (True, Dimension.COUNT),
        ("1.5", Dimension.COUNT),
        ("1.5 tokens", Dimension.TOKENS),
        ("-1 ms", Dimension.SECONDS),
        ("nan s", Dimension.SECONDS),
        (None, Dimension.SECONDS),
        ([], Dimension.SECONDS),
        ("999999999999 h", Dimension.SECONDS),
    ],
)
def test_what_has_no_unit_or_another_one_is_refused_with_how_to_write_it(text: object, dimension: Dimension):
    with pytest.raises(NotAQuantityError, match="write "):
        parse(text, dimension)


@given(st.one_of(st.text(max_size=40), st.integers(), st.floats(), st.none()), st.sampled_from(Dimension))
def test_anything_is_a_quantity_or_refused(value: object, dimension: Dimension):
    try:
        found = parse(value, dimension)
    except NotAQuantityError:
        return
    assert 0 <= found <= 1e12


@given(
    st.floats(0.001, 1e5), st.sampled_from((Dimension.SECONDS, Dimension.SHARE, Dimension.TOKENS_PER_SECOND))
)
def test_what_is_written_is_read_again(value: float, dimension: Dimension):
    text = shown(value, dimension)
    if "e" not in text:
        assert parse(text, dimension) == pytest.approx(value, rel=0.01)
