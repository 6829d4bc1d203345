"""Sequences that fit beside the weights: the arithmetic of vLLM and of llama.cpp (pure)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from aiidpd.physics.kv_cache import KvShape
from aiidpd.physics.units import GIB

BLOCK_TOKENS: Final = 16
"""Tokens of a block of vLLM's KV cache: a sequence has whole ones."""
NON_TORCH_BYTES: Final = 0.25 * GIB
"""Driver, CUDA context and communication of one GPU, where vLLM's own log does not say it."""
ACTIVATION_BYTES: Final = 0.65 * GIB
"""Peak of activations while a batch of prompts is read, where vLLM's own log does not say it."""

COMPUTE_BUFFER_BYTES: Final = 0.5 * GIB
"""Compute buffer of llama.cpp, where its own log does not say it."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """Room for keys and values, and what fits there. Bytes may be below 0: then the weights do not fit."""

    total_bytes: float
    usable_bytes: float
    weight_bytes: float
    other_bytes: float
    kv_bytes: float
    kv_bytes_per_token: float
    tokens: int

    @property
    def fits(self) -> bool:
        """Return whether weights and a token fit."""
        return self.tokens > 0


def vllm(
    total: float,
    weights: float,
    kv: KvShape,
    *,
    utilization: float = 0.9,
    non_torch: float = NON_TORCH_BYTES,
    activations: float = ACTIVATION_BYTES,
    kv_type: str = "f16",
) -> Capacity:
    """Return what vLLM leaves for its KV cache: total x utilization - weights - non-torch - activations."""
    if not 0 < utilization <= 1:
        raise ValueError("a memory fraction is above 0 and at most 1")
    usable = total * utilization
    return _capacity(total, usable, weights, non_torch + activations, kv, kv_type, BLOCK_TOKENS)


def llamacpp(
    total: float,
    weights: float,
    kv: KvShape,
    *,
    compute_buffer: float = COMPUTE_BUFFER_BYTES,
    kv_type: str = "f16",
) -> Capacity:
    """Return what llama.cpp can have as context beside weights and compute buffer; slots share it."""
    return _capacity(total, total, weights, compute_buffer, kv, kv_type, 1)


def _capacity(  # noqa: PLR0917 -- the terms of one sum
    total: float, usable: float, weights: float, other: float, kv: KvShape, kv_type: str, block: int
) -> Capacity:
    room = usable - weights - other
    each = kv.bytes_per_token(kv_type)
    tokens = math.floor(max(0.0, room) / each) // block * block if each else 0
    return Capacity(total, usable, weights, other, room, each, tokens)


def sequences(
    capacity: Capacity, kv: KvShape, length: int, *, kv_type: str = "f16", block: int = BLOCK_TOKENS
) -> int:
    """Return how many sequences of ``length`` tokens fit at once."""
    if length < 1:
        raise ValueError("a sequence has a token at least")
    whole = math.ceil(length / block) * block
    return math.floor(max(0.0, capacity.kv_bytes) / own) if (own := kv.bytes_of(whole, kv_type)) else 0


def longest(
    capacity: Capacity, kv: KvShape, count: int, *, kv_type: str = "f16", block: int = BLOCK_TOKENS
) -> int:
    """Return the tokens that each of ``count`` sequences may have so that all fit at once."""
    if count < 1:
        raise ValueError("there is one sequence at least")
    tokens = kv.tokens_within(capacity.kv_bytes, count, kv_type)
    return math.floor(min(tokens, 2**40) / block) * block
