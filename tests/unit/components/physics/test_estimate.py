"""Estimates of any model in any circumstances: bounded, ordered, each figure with its formula."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.physics.estimate import Estimate, Setting, estimate
from aiidpd.physics.model_shape import ModelShape
from aiidpd.physics.network import LINKS
from tests.unit.physics.shapes import BANDWIDTHS, LLAMA_8B_KV, efficiencies, model_shapes

SETTINGS = st.builds(
    Setting,
    model=model_shapes(),
    bandwidth=BANDWIDTHS,
    efficiency=efficiencies(),
    batch=st.integers(1, 64),
    context=st.integers(0, 10_000),
    flops=st.none() | st.floats(1e10, 1e16),
    draft_accepted=st.floats(1, 8),
    layers=st.none() | st.integers(1, 100),
    offload_layers=st.none() | st.integers(0, 100),
    ram_bandwidth=st.none() | BANDWIDTHS,
    link=st.none() | st.sampled_from(list(LINKS.values())),
    hops=st.integers(1, 4),
    hidden=st.none() | st.integers(1, 20_000),
    gpus=st.integers(1, 4),
    prompt_tokens=st.none() | st.integers(1, 100_000),
)


def values(found: Estimate) -> dict[str, float]:
    return {figure.key: figure.value for figure in found.figures}


@given(SETTINGS)
def test_every_figure_has_its_formula_and_none_that_is_expected_passes_its_ceiling(setting: Setting) -> None:
    with suppress(ValueError):
        found = estimate(setting)
        known = values(found)
        assert all(figure.value > 0 and figure.formula and figure.arithmetic for figure in found.figures)
        assert known["decode_expected_tok_s"] <= known["decode_ceiling_tok_s"] * (1 + 1e-9)
        assert ("batch_ceiling_tok_s" in known) == (setting.batch > 1)
        assert found.notes


@given(SETTINGS)
def test_a_hop_or_a_layer_in_ram_that_is_slower_never_makes_it_faster(setting: Setting) -> None:
    plain = replace(setting, link=None, offload_layers=None, gpus=1)
    before = values(estimate(plain))
    with suppress(ValueError):
        hops = values(estimate(replace(plain, link=LINKS["usb4"], hidden=4096)))
        assert hops["decode_ceiling_tok_s"] < before["decode_ceiling_tok_s"]
        slower = replace(plain, ram_bandwidth=plain.bandwidth / 10, offload_layers=1, layers=2, flops=None)
        hybrid = values(estimate(slower))
        assert (
            hybrid["decode_ceiling_tok_s"]
            < values(estimate(replace(plain, flops=None)))["decode_ceiling_tok_s"]
        )


def test_experts_that_all_agree_on_bound_what_a_batch_of_a_mixture_reaches() -> None:
    model = ModelShape(weight_bytes=90e9, expert_bytes=80e9, expert_count=8, expert_used_count=2)
    found = values(estimate(Setting(model=model, bandwidth=1e12, batch=4)))
    assert found["batch_ceiling_same_experts_tok_s"] == pytest.approx(4 * 1e12 / 30e9)
    assert found["batch_ceiling_tok_s"] == pytest.approx(4 * 1e12 / (10e9 + 80e9 * (1 - 0.75**4)))


def test_a_batch_that_compute_bounds_says_so() -> None:
    model = ModelShape(weight_bytes=8e9, active_parameters=8e9)
    found = estimate(Setting(model=model, bandwidth=896e9, batch=1024, flops=87.9e12))
    assert "requests x 2 x parameters / compute" in found.figures[0].formula
    assert values(found)["batch_ceiling_tok_s"] == pytest.approx(87.9e12 / 16e9)


def test_notes_say_what_is_left_out() -> None:
    model = ModelShape(
        weight_bytes=90e9, lookup_bytes=1e9, expert_bytes=80e9, expert_count=8, expert_used_count=2
    )
    notes = " ".join(
        estimate(Setting(model=model, bandwidth=1e12, batch=4, context=9, draft_accepted=2)).notes
    )
    for said in ("1 GB of embeddings", "2 of 8 experts", "4 tokens choose", "draft", "context is left out"):
        assert said in notes
    assert "keys" not in " ".join(
        estimate(Setting(model=replace(model, kv=LLAMA_8B_KV), bandwidth=1e12, context=9)).notes
    )
