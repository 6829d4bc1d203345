"""Options of ``aiidpctl bench load``."""

from __future__ import annotations

import argparse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.bench.load.cli import depths, span, span_or_none, whole


@pytest.mark.parametrize(
    ("text", "seconds"), [("60s", 60), ("500ms", 0.5), ("10 min", 600), ("1.5h", 5400), ("20us", 2e-5)]
)
def test_a_time_has_its_unit(text: str, seconds: float):
    assert span(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "60", "0s", "-1s", "1 day", "1e3s", "\u0661s", "9" * 12 + "s"])
def test_what_is_no_time_is_refused(text: str):
    with pytest.raises(argparse.ArgumentTypeError, match="no time above 0 with its unit"):
        span(text)


def test_no_warm_up_is_one():
    assert (span_or_none("0"), span_or_none("0s"), span_or_none("3s")) == (0, 0, 3)


def test_depths_are_in_order_each_once():
    assert depths("16k,0, 4k,512,4096") == (0, 512, 4096, 16384)


@pytest.mark.parametrize("text", ["", "4k,", "-1", "x", "4M", "9999999"])
def test_what_is_no_depth_is_refused(text: str):
    with pytest.raises(argparse.ArgumentTypeError, match="no number of tokens"):
        depths(text)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "", "100001", "\u0661"])
def test_what_is_no_number_of_users_is_refused(text: str):
    with pytest.raises(argparse.ArgumentTypeError, match="no whole number"):
        whole(text)


@given(st.text(max_size=20))
def test_any_text_is_a_value_or_refused(text: str):
    for parse in (span, span_or_none, depths, whole):
        try:
            parse(text)
        except argparse.ArgumentTypeError:
            continue
