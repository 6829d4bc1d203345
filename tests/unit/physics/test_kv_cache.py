"""Bytes that sequences store."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from aiidpd.formats.ggml import TENSOR_TYPES
from aiidpd.physics.kv_cache import KV_TYPES, KvShape
from tests.unit.physics.shapes import KV_TYPE, LLAMA_8B_KV, kv_shapes


def test_llama_8b_stores_128_kib_a_token() -> None:
    assert LLAMA_8B_KV.bytes_per_token() == 2 * 32 * 8 * 128 * 2 == 131_072
    assert LLAMA_8B_KV.bytes_per_token("fp8") == 65_536
    assert LLAMA_8B_KV.bytes_per_token("q8_0") == pytest.approx(65_536 * 34 / 32)


def test_grouped_queries_store_their_kv_heads_alone() -> None:
    all_heads = KvShape(kv_heads=(32,) * 32, key_length=128, value_length=128)
    assert all_heads.bytes_per_token() == 4 * LLAMA_8B_KV.bytes_per_token()


def test_latent_attention_stores_one_latent_a_block() -> None:
    deepseek = KvShape(
        kv_heads=(128,) * 61, key_length=192, value_length=128, latent_rank=512, rope_length=64
    )
    assert deepseek.bytes_per_token() == 61 * (512 + 64) * 2


def test_a_window_bounds_what_its_blocks_store() -> None:
    gemma = KvShape(kv_heads=(8,) * 12, key_length=128, value_length=128, window=1024, windowed_blocks=10)
    each = gemma.bytes_per_token()
    assert gemma.bytes_of(1024) == pytest.approx(each * 1024)
    assert gemma.bytes_of(9216) == pytest.approx(each * (1024 * 10 / 12 + 9216 * 2 / 12))


@given(kv_shapes(), KV_TYPE, st.integers(0, 10**6), st.integers(0, 10**6))
def test_more_tokens_never_store_less(kv: KvShape, kind: str, one: int, other: int) -> None:
    few, many = sorted((one, other))
    assert kv.bytes_of(few, kind) <= kv.bytes_of(many, kind) * (1 + 1e-9)
    assert kv.bytes_of(many, kind) <= many * kv.bytes_per_token(kind) * (1 + 1e-9)


@given(kv_shapes(), KV_TYPE, st.floats(0, 1e12), st.integers(1, 64))
def test_what_is_said_to_fit_fits(kv: KvShape, kind: str, room: float, count: int) -> None:
    tokens = kv.tokens_within(room, count, kind)
    assume(math.isfinite(tokens))
    assert count * kv.bytes_of(tokens, kind) <= room * (1 + 1e-6) + 1e-6
    assert count * kv.bytes_of(2 * tokens + 1, kind) >= room * (1 - 1e-6) - 1e-6 or kv.window is not None


def test_blocks_that_all_have_a_window_hold_any_length() -> None:
    kv = KvShape(kv_heads=(1,), key_length=1, value_length=1, window=4, windowed_blocks=1)
    assert kv.tokens_within(100) == math.inf
    assert kv.tokens_within(8) == 2
    assert KvShape(kv_heads=(0,), key_length=1, value_length=1).tokens_within(1) == math.inf


@pytest.mark.parametrize(
    "given_",
    [
        {"kv_heads": ()},
        {"kv_heads": (-1,)},
        {"kv_heads": (1,), "window": 0},
        {"kv_heads": (1,), "window": 4, "windowed_blocks": 2},
    ],
)
def test_what_no_model_stores(given_: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"blocks|window"):
        KvShape(key_length=1, value_length=1, **given_)  # type: ignore[arg-type]


def test_no_sequence_is_shorter_than_nothing() -> None:
    with pytest.raises(ValueError, match="fewer"):
        LLAMA_8B_KV.bytes_of(-1)


def test_quantised_types_have_the_size_of_their_blocks() -> None:
    sizes = {each.name.lower(): each.block_bytes / each.block_elements for each in TENSOR_TYPES.values()}
    assert {name: sizes[name] for name in KV_TYPES if name in sizes} == {
        name: KV_TYPES[name] for name in KV_TYPES if name in sizes
    }


def test_a_part_of_the_blocks_stores_their_share() -> None:
    assert LLAMA_8B_KV.of_blocks(2).bytes_per_token() == LLAMA_8B_KV.bytes_per_token() / 16
    gemma = KvShape(kv_heads=(8,) * 12, key_length=128, value_length=128, window=1024, windowed_blocks=10)
    assert gemma.of_blocks(2).windowed_blocks == 0  # both may be those without a window
    assert gemma.of_blocks(5).windowed_blocks == 3
    for wrong in (0, 13):
        with pytest.raises(ValueError, match="12 blocks"):
            gemma.of_blocks(wrong)


@given(kv_shapes(), st.integers(0, 10**6), st.data())
def test_a_part_never_stores_more_than_the_whole(kv: KvShape, tokens: int, data: st.DataObject) -> None:
    part = kv.of_blocks(data.draw(st.integers(1, len(kv.kv_heads))))
    assert part.bytes_per_token() <= kv.bytes_per_token() * (1 + 1e-9)
    assert part.windowed_blocks <= kv.windowed_blocks
    if len(set(kv.kv_heads)) == 1:  # else the share of windows is an average of unequal blocks
        assert part.bytes_of(tokens) <= kv.bytes_of(tokens) * (1 + 1e-9) + 1e-6
