"""Ceilings, and expected speeds below them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.physics import roofline
from aiidpd.physics.efficiency import GENERAL, Efficiency
from aiidpd.physics.model_shape import ModelShape
from tests.unit.physics.shapes import BANDWIDTHS, KV_TYPE, LLAMA_8B_KV, efficiencies, model_shapes

BATCH = st.integers(1, 256)
CONTEXT = st.integers(0, 100_000)
FLOPS = st.none() | st.floats(1e10, 1e16)


def test_the_seed_systems_division_is_112() -> None:
    step = roofline.decode(ModelShape(weight_bytes=8e9), 896e9, GENERAL)
    assert step.request_ceiling == pytest.approx(112)
    assert step.request_expected < 0.8 * 112


def test_keys_and_values_are_read_too() -> None:
    model = ModelShape(weight_bytes=8e9, kv=LLAMA_8B_KV)
    step = roofline.decode(model, 896e9, GENERAL, batch=4, context=1000)
    assert step.kv_bytes == 4 * 1000 * 131_072
    assert step.request_ceiling == pytest.approx(896e9 / (8e9 + step.kv_bytes))
    assert step.batch_ceiling == 4 * step.request_ceiling


def test_a_large_batch_is_bound_by_compute() -> None:
    model = ModelShape(weight_bytes=8e9, active_parameters=8e9)
    step = roofline.decode(model, 896e9, GENERAL, batch=1024, flops=100e12)
    assert step.bound == "compute"
    assert step.batch_ceiling == pytest.approx(100e12 / 16e9)


@given(model_shapes(), BANDWIDTHS, efficiencies(), BATCH, CONTEXT, KV_TYPE, FLOPS)
def test_expected_never_passes_the_ceiling(  # noqa: PLR0917 -- one strategy each
    model: ModelShape,
    bandwidth: float,
    of: Efficiency,
    batch: int,
    context: int,
    kind: str,
    flops: float | None,
) -> None:
    step = roofline.decode(model, bandwidth, of, batch=batch, context=context, kv_type=kind, flops=flops)
    assert step.request_expected <= step.request_ceiling
    assert step.batch_expected <= step.batch_ceiling
    assert step.request_ceiling <= step.batch_ceiling


@given(model_shapes(), BANDWIDTHS, efficiencies(), BATCH, CONTEXT)
def test_more_bandwidth_is_never_slower(
    model: ModelShape, bandwidth: float, of: Efficiency, batch: int, context: int
) -> None:
    slow = roofline.decode(model, bandwidth, of, batch=batch, context=context)
    fast = roofline.decode(model, 2 * bandwidth, of, batch=batch, context=context)
    assert fast.request_ceiling >= slow.request_ceiling
    assert fast.request_expected >= slow.request_expected


@given(model_shapes(), BANDWIDTHS, efficiencies(), BATCH, CONTEXT)
def test_one_request_is_never_faster_in_a_larger_batch_and_all_together_never_slower(
    model: ModelShape, bandwidth: float, of: Efficiency, batch: int, context: int
) -> None:
    small = roofline.decode(model, bandwidth, of, batch=batch, context=context)
    large = roofline.decode(model, bandwidth, of, batch=batch + 1, context=context)
    assert large.request_ceiling <= small.request_ceiling * (1 + 1e-9)
    assert large.batch_ceiling >= small.batch_ceiling * (1 - 1e-9)


@given(model_shapes(), BANDWIDTHS, efficiencies(), CONTEXT, CONTEXT)
def test_a_longer_context_is_never_faster(
    model: ModelShape, bandwidth: float, of: Efficiency, one: int, other: int
) -> None:
    short, long = sorted((one, other))
    before = roofline.decode(model, bandwidth, of, context=short)
    after = roofline.decode(model, bandwidth, of, context=long)
    assert after.request_ceiling <= before.request_ceiling * (1 + 1e-9)


def test_embeddings_left_out_raise_the_ceiling() -> None:
    whole = ModelShape(weight_bytes=4.92e9)
    known = replace(whole, lookup_bytes=0.3e9)
    ceilings = [roofline.decode(each, 448e9, GENERAL).request_ceiling for each in (whole, known)]
    assert ceilings[0] < ceilings[1]


@given(st.floats(1e6, 1e12), st.floats(0.001, 10), st.floats(1e10, 1e16))
def test_the_tokens_of_a_time_take_that_time(parameters: float, seconds: float, flops: float) -> None:
    tokens = roofline.prefill_tokens(parameters, seconds, flops)
    assert roofline.prefill_seconds(parameters, tokens, flops) == pytest.approx(seconds)


def test_a_prompt_takes_as_long_as_the_weights_at_least() -> None:
    assert roofline.prefill_seconds(8e9, 1, 1e15, read=8e9, bandwidth=896e9) == pytest.approx(8 / 896)
