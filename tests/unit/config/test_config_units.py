from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiidpd.config.units import (
    BYTES,
    MILLISECONDS,
    Malformed,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)


def refusal(parse: Callable[[object], float], value: object) -> Malformed | None:
    try:
        parse(value)
    except Malformed as error:
        return error
    return None


@settings(deadline=None)
@given(st.integers(0, 10**11))
def test_a_formatted_duration_reads_as_itself(milliseconds: int):
    assert parse_duration(format_duration(milliseconds / 1000)) == milliseconds / 1000


@settings(deadline=None)
@given(st.integers(0, 2**60))
def test_a_formatted_size_reads_as_itself(size: int):
    text = format_size(size)
    if len(text.rstrip("BKMGTi")) <= 12:
        assert parse_size(text) == size


@settings(deadline=None)
@given(st.integers(0, 10**12 - 1), st.sampled_from(sorted(MILLISECONDS)))
def test_a_duration_is_its_number_times_its_unit(number: int, unit: str):
    assert parse_duration(f"{number}{unit}") == number * MILLISECONDS[unit] / 1000


@settings(deadline=None)
@given(st.integers(0, 10**12 - 1), st.sampled_from(sorted(BYTES)))
def test_a_size_is_its_number_times_its_unit(number: int, unit: str):
    assert parse_size(f"{number}{unit}") == number * BYTES[unit]


@settings(deadline=None)
@given(
    st.one_of(
        st.text(),
        st.from_regex(r"[0-9]{1,13} ?[a-zA-Z]{1,3}"),
        st.integers(),
        st.floats(),
        st.booleans(),
        st.none(),
        st.lists(st.text()),
    )
)
def test_whatever_is_given_is_read_or_refused_with_a_reason(value: object):
    for parse, units in ((parse_duration, MILLISECONDS), (parse_size, BYTES)):
        known = "|".join(units)
        readable = isinstance(value, str) and re.fullmatch(f"[0-9]{{1,12}}({known})", value) is not None
        error = refusal(parse, value)
        assert (error is None) == readable
        assert error is None or (error.reason and error.remedy)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (30, "a duration needs its unit"),
        (0.5, "a duration needs its unit"),
        ("30", "is not a duration"),
        ("", "is not a duration"),
        ("s", "is not a duration"),
        ("-1s", "is not a duration"),
        ("+1s", "is not a duration"),
        ("1.5s", "is not a duration"),
        ("1 s", "is not a duration"),
        (" 1s", "is not a duration"),
        ("1s\n", "is not a duration"),
        ("1h30m", "is not a duration"),
        ("\u0661s", "is not a duration"),
        ("1000000000000s", "is not a duration"),
        ("1S", "has an unknown unit, 'S'"),
        ("1min", "has an unknown unit, 'min'"),
        ("1M", "has an unknown unit, 'M'"),
        (True, "must be a duration"),
        (["1s"], "must be a duration"),
    ],
)
def test_a_duration_is_read_strictly(value: object, reason: str):
    with pytest.raises(Malformed) as refused:
        parse_duration(value)
    assert refused.value.reason == reason


@pytest.mark.parametrize("unit", ["MB", "KB", "kB", "M", "mib", "Mib", "kiB", "PiB"])
def test_a_size_has_a_binary_unit_written_as_such(unit: str):
    with pytest.raises(Malformed, match="unknown unit"):
        parse_size(f"1{unit}")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.25, "250ms"), (1.5, "1500ms"), (60, "1m"), (90, "90s"), (900, "15m"), (604800, "7d")],
)
def test_a_duration_is_shown_in_the_unit_that_fits(seconds: float, text: str):
    assert format_duration(seconds) == text
