"""Strategies for models, as tests of physics need them."""

from __future__ import annotations

from hypothesis import strategies as st

from aiidpd.physics.efficiency import Efficiency
from aiidpd.physics.kv_cache import KV_TYPES, KvShape
from aiidpd.physics.model_shape import ModelShape

LLAMA_8B_KV = KvShape(kv_heads=(8,) * 32, key_length=128, value_length=128)
BANDWIDTHS = st.floats(1e9, 1e13)
KV_TYPE = st.sampled_from(sorted(KV_TYPES))


@st.composite
def kv_shapes(draw: st.DrawFn) -> KvShape:
    blocks = draw(st.integers(1, 100))
    heads = draw(st.lists(st.integers(0, 128), min_size=blocks, max_size=blocks).map(tuple))
    latent = draw(st.sampled_from([0, 0, 512]))
    window = draw(st.none() | st.integers(1, 8192))
    return KvShape(
        kv_heads=heads,
        key_length=draw(st.integers(1, 512)),
        value_length=draw(st.integers(1, 512)),
        latent_rank=latent,
        rope_length=64 if latent else 0,
        window=window,
        windowed_blocks=draw(st.integers(0, blocks)) if window is not None else 0,
    )


@st.composite
def model_shapes(draw: st.DrawFn) -> ModelShape:
    shared = draw(st.floats(1e6, 1e12))
    lookup = draw(st.floats(0, 1e10))
    count = draw(st.integers(0, 256))
    experts = draw(st.floats(1e6, 1e12)) if count else 0.0
    return ModelShape(
        weight_bytes=shared + lookup + experts,
        lookup_bytes=lookup,
        expert_bytes=experts,
        expert_count=count,
        expert_used_count=draw(st.integers(0, count)),
        block_count=draw(st.none() | st.integers(1, 200)),
        active_parameters=draw(st.none() | st.floats(1e6, 1e12)),
        kv=draw(st.none() | kv_shapes()),
    )


@st.composite
def efficiencies(draw: st.DrawFn) -> Efficiency:
    return Efficiency(
        share=draw(st.floats(0.05, 1.0)),
        overhead_seconds=draw(st.floats(0, 0.01)),
        in_flight=draw(st.none() | st.floats(1e10, 1e13)),
    )
