"""What fits beside the weights."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.physics import capacity
from aiidpd.physics.kv_cache import KvShape
from aiidpd.physics.units import GIB
from tests.unit.physics.shapes import KV_TYPE, LLAMA_8B_KV, kv_shapes


def test_vllms_own_log_of_an_80_gb_gpu() -> None:
    # vLLM pull request 10511: Llama 3 8B, 79.22 GiB, 0.90
    room = capacity.vllm(
        79.22 * GIB, 14.96 * GIB, LLAMA_8B_KV, utilization=0.9, non_torch=1.79 * GIB, activations=1.26 * GIB
    )
    assert room.usable_bytes / GIB == pytest.approx(71.29, abs=0.01)
    assert room.kv_bytes / GIB == pytest.approx(53.29, abs=0.01)


def test_32_sequences_forget_the_weights() -> None:
    room = capacity.vllm(16 * GIB, 8e9, LLAMA_8B_KV, utilization=0.8)
    assert capacity.sequences(room, LLAMA_8B_KV, 4096) == 8
    assert capacity.sequences(room, LLAMA_8B_KV, 2048) == 17
    assert 1000 < capacity.longest(room, LLAMA_8B_KV, 32) < 1200


def test_weights_that_do_not_fit_leave_no_token() -> None:
    room = capacity.vllm(8 * GIB, 8e9, LLAMA_8B_KV)
    assert not room.fits
    assert room.kv_bytes < 0
    assert capacity.sequences(room, LLAMA_8B_KV, 1) == 0


@given(
    kv_shapes(),
    KV_TYPE,
    st.floats(1e9, 1e12),
    st.floats(1e8, 1e12),
    st.floats(0.05, 1),
    st.integers(1, 50_000),
)
def test_capacity_is_never_more_than_the_memory(  # noqa: PLR0917 -- one strategy each
    kv: KvShape, kind: str, total: float, weights: float, share: float, length: int
) -> None:
    room = capacity.vllm(total, weights, kv, utilization=share, kv_type=kind)
    count = capacity.sequences(room, kv, length, kv_type=kind)
    assert room.tokens * room.kv_bytes_per_token <= total
    assert count * kv.bytes_of(length, kind) + (weights if count else 0) <= total * (1 + 1e-9)


@given(kv_shapes(), KV_TYPE, st.floats(1e9, 1e12), st.integers(1, 64))
def test_what_is_the_longest_fits(kv: KvShape, kind: str, total: float, count: int) -> None:
    room = capacity.llamacpp(total, 5e8, kv, kv_type=kind)
    tokens = capacity.longest(room, kv, count, kv_type=kind)
    assert count * kv.bytes_of(tokens, kind) <= max(0.0, room.kv_bytes) * (1 + 1e-6)


@pytest.mark.parametrize(
    "call",
    [
        lambda _: capacity.vllm(1e9, 1e8, LLAMA_8B_KV, utilization=1.1),
        lambda room: capacity.sequences(room, LLAMA_8B_KV, 0),
        lambda room: capacity.longest(room, LLAMA_8B_KV, 0),
    ],
)
def test_what_makes_no_sense(call: object) -> None:
    room = capacity.vllm(16 * GIB, 8e9, LLAMA_8B_KV)
    with pytest.raises(ValueError, match=r"fraction|at least"):
        call(room)  # type: ignore[operator]
