"""Hops and GPUs that share layers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.physics.network import LINKS, hop, tensor_parallel_sums, with_hops


@pytest.mark.parametrize("name", sorted(LINKS))
def test_each_link_has_its_source_and_a_bound_below_what_is_expected(name: str) -> None:
    link = LINKS[name]
    found = hop(link, 8192)
    assert link.source
    assert 0 < found.least_seconds < found.expected_seconds


def test_usb4_at_0_4_ms_is_no_matter_of_the_wire() -> None:
    found = hop(LINKS["usb4"], 8192)
    assert found.least_seconds < 0.0004 < found.expected_seconds < 0.008


def test_usb4_has_40_gbit_s_less_its_encoding() -> None:
    assert LINKS["usb4"].bandwidth == pytest.approx(40e9 / 8 * 128 / 132)


@given(st.sampled_from(sorted(LINKS)), st.integers(1, 20_000), st.integers(1, 64))
def test_more_on_the_way_is_never_faster(name: str, hidden: int, tokens: int) -> None:
    link = LINKS[name]
    assert hop(link, hidden, tokens + 1).least_seconds > hop(link, hidden, tokens).least_seconds
    assert with_hops(0.01, 2, hop(link, hidden).least_seconds) < 100


@given(st.sampled_from(sorted(LINKS)), st.integers(1, 20_000), st.integers(1, 200), st.integers(1, 8))
def test_more_gpus_never_sum_in_less_latency(name: str, hidden: int, blocks: int, gpus: int) -> None:
    link = LINKS[name]
    few = tensor_parallel_sums(link, gpus, hidden=hidden, blocks=blocks)
    more = tensor_parallel_sums(link, gpus + 1, hidden=hidden, blocks=blocks)
    assert 0 <= few.least_seconds <= few.expected_seconds
    assert more.least_seconds >= 2 * blocks * 2 * gpus * link.one_way_seconds
    assert (few.expected_seconds == 0) == (gpus == 1)


def test_there_is_one_gpu_at_least() -> None:
    with pytest.raises(ValueError, match="one GPU"):
        tensor_parallel_sums(LINKS["nvlink4"], 0, hidden=1, blocks=1)
