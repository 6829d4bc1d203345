"""Limits of physics for an endpoint."""

from __future__ import annotations

import pytest

from aiidpd.components.bench.accept.limits import Machine, limits

SEED = Machine(bandwidth=102.4e9, weights=2e9, stated=True)


def test_a_model_s_ceiling_is_bandwidth_over_its_bytes():
    of = limits(SEED, prompt_tokens=100, streams=4)
    assert of.bounds["tokens_per_second"].value == pytest.approx(51.2)
    assert of.bounds["tokens_per_second"].arithmetic == "1 / (2 GB / 102.4 GB/s)"
    assert of.bounds["concurrent_tokens_per_second"].value == pytest.approx(4 * 51.2)
    assert of.expected is not None
    assert of.expected.value < 51.2
    assert of.certain


def test_a_draft_raises_ceiling_and_expectation():
    of = limits(Machine(bandwidth=102.4e9, weights=2e9, draft_accepted=2), prompt_tokens=None, streams=1)
    assert of.bounds["tokens_per_second"].value == pytest.approx(102.4)
    assert of.bounds["tokens_per_second"].arithmetic.endswith("x 2 accepted")


def test_the_first_token_takes_the_prompt_s_compute_or_the_weights_once():
    machine = Machine(bandwidth=896e9, weights=8e9, parameters=8.03e9, flops=87.9e12)
    long = limits(machine, prompt_tokens=438, streams=1)
    assert long.least is not None
    assert long.least.value == pytest.approx(2 * 8.03e9 * 438 / 87.9e12)
    short = limits(machine, prompt_tokens=1, streams=1)
    assert short.least is not None
    assert short.least.value == pytest.approx(8 / 896)


def test_without_compute_there_is_a_bound_and_no_least_to_derive_from():
    of = limits(Machine(bandwidth=896e9, weights=8e9, reason="give --gpu"), prompt_tokens=438, streams=1)
    assert of.least is None
    assert of.reason == "give --gpu"
    assert of.bounds["ttft_p50"].value == pytest.approx(8 / 896)


@pytest.mark.parametrize("machine", [Machine(), Machine(weights=2e9), Machine(bandwidth=1e9)])
def test_what_is_not_known_limits_nothing(machine: Machine):
    of = limits(machine, prompt_tokens=100, streams=1)
    assert (of.bounds, of.expected, of.least) == ({}, None, None)
    assert of.reason
