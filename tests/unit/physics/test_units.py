"""Sizes and rates: GiB and GB are never the same."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.physics.units import GB, GIB, NotAQuantity, gb_per_second, gib, parse_bytes, parse_rate


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4.58GiB", 4.58 * 2**30),
        ("4.58 GiB", 4.58 * 2**30),
        ("8GB", 8e9),
        ("512MiB", 512 * 2**20),
        ("1TB", 1e12),
        ("100B", 100),
        ("1kB", 1000),
        ("1KiB", 1024),
    ],
)
def test_sizes(text: str, expected: float) -> None:
    assert parse_bytes(text) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("448GB/s", 448e9),
        ("102.4GB/s", 102.4e9),
        ("1GiB/s", 2**30),
        ("40Gbit/s", 5e9),
        ("10Gb/s", 1.25e9),
        ("10Gbps", 1.25e9),
        ("1.8TB/s", 1.8e12),
    ],
)
def test_rates(text: str, expected: float) -> None:
    assert parse_rate(text) == pytest.approx(expected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "4.58",
        "4.58G",
        "4.58gb",
        "GiB",
        "-1GiB",
        "0GiB",
        "1e9GB",
        "4,5GiB",
        "1iB",
        "nanGB",
        "1GB/s",
        "9" * 99,
    ],
)
def test_what_leaves_a_size_open_is_refused(text: str) -> None:
    with pytest.raises(NotAQuantity):
        parse_bytes(text)


@pytest.mark.parametrize("text", ["448GB", "448", "448G/s", "448GB/m", "0GB/s", "448 GB per s"])
def test_what_leaves_a_rate_open_is_refused(text: str) -> None:
    with pytest.raises(NotAQuantity):
        parse_rate(text)


@given(st.integers(1, 10**6), st.sampled_from("kMGTP"))
def test_a_binary_unit_is_always_more_than_the_decimal_one(number: int, prefix: str) -> None:
    assert parse_bytes(f"{number}{prefix}iB") > parse_bytes(f"{number}{prefix}B")
    assert parse_rate(f"{number}{prefix}B/s") == pytest.approx(8 * parse_rate(f"{number}{prefix}bit/s"))


@given(st.integers(1, 10**9))
def test_what_is_written_in_gib_is_read_as_gib(hundredths: int) -> None:
    size = hundredths * GIB / 100
    assert parse_bytes(gib(size)) == pytest.approx(size)
    assert gib(size) != f"{size / GB:.2f} GB"


@given(st.text(max_size=30))
def test_any_text_is_a_quantity_or_refused(text: str) -> None:
    for parse in (parse_bytes, parse_rate):
        with suppress(NotAQuantity):
            assert parse(text) > 0


def test_rates_are_written_without_a_needless_zero() -> None:
    assert (gb_per_second(448e9), gb_per_second(102.4e9)) == ("448 GB/s", "102.4 GB/s")
