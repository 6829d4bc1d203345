"""Arguments that are no plain words."""

import argparse

import pytest

from aiidpd.cli.arguments import size_argument


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4096", 4096),
        ("5GiB", 5 << 30),
        ("5g", 5 << 30),
        ("200MB", 200_000_000),
        ("1.5 KiB", 1536),
        ("7B", 7),
        ("2T", 2 << 40),
    ],
)
def test_sizes(text: str, expected: int) -> None:
    assert size_argument(text) == expected


@pytest.mark.parametrize("text", ["", "GiB", "5 apples", "-1", "1e9", "٣"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is no size"):
        size_argument(text)
