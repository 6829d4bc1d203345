"""Keys and values that a sequence stores, in bytes a token: GQA, MLA, sliding windows, quantised (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

KV_TYPES: Final[Mapping[str, float]] = {
    "f32": 4.0,
    "f16": 2.0,
    "bf16": 2.0,
    "fp8": 1.0,
    "int8": 1.0,
    "q8_0": 34 / 32,
    "q5_1": 24 / 32,
    "q5_0": 22 / 32,
    "q4_1": 20 / 32,
    "q4_0": 18 / 32,
    "iq4_nl": 18 / 32,
}
"""Bytes of one stored number; those of GGML with their scales, 32 numbers a block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KvShape:
    """Numbers that a model stores for a token.

    ``kv_heads`` has the KV heads of each block, 0 for one without attention. With ``latent_rank`` a block
    stores one latent and ``rope_length`` numbers instead (multi-head latent attention). ``windowed_blocks``
    of them see ``window`` tokens alone.
    """

    kv_heads: tuple[int, ...]
    key_length: int
    value_length: int
    latent_rank: int = 0
    rope_length: int = 0
    window: int | None = None
    windowed_blocks: int = 0

    def __post_init__(self) -> None:
        """Raise ValueError for a shape that no model has."""
        numbers = (self.key_length, self.value_length, self.latent_rank, self.rope_length, *self.kv_heads)
        if min(numbers) < 0 or not self.kv_heads:
            raise ValueError("a model has blocks, and no length is less than 0")
        if not 0 <= self.windowed_blocks <= len(self.kv_heads) or (
            self.window is not None and self.window < 1
        ):
            raise ValueError("a window is of a token at least, and of no more blocks than there are")

    def of_blocks(self, count: int) -> KvShape:
        """Return the shape of the last ``count`` blocks, with as few windows among them as there may be."""
        if not 1 <= count <= len(self.kv_heads):
            raise ValueError(f"a model of {len(self.kv_heads)} blocks has no part of {count}")
        windowed = max(0, self.windowed_blocks - (len(self.kv_heads) - count))
        return replace(self, kv_heads=self.kv_heads[-count:], windowed_blocks=windowed)

    @property
    def numbers_per_token(self) -> float:
        """Return the numbers that all blocks store for one token."""
        if self.latent_rank:
            return len(self.kv_heads) * (self.latent_rank + self.rope_length)
        return sum(self.kv_heads) * (self.key_length + self.value_length)

    def bytes_per_token(self, kv_type: str = "f16") -> float:
        """Return the bytes that a token adds while it is within every window."""
        return self.numbers_per_token * KV_TYPES[kv_type]

    def bytes_of(self, tokens: float, kv_type: str = "f16") -> float:
        """Return the bytes that a sequence of ``tokens`` has stored, and that each further token reads."""
        if tokens < 0:
            raise ValueError("a sequence has no fewer than 0 tokens")
        each = self.bytes_per_token(kv_type)
        if self.window is None or not self.windowed_blocks:
            return each * tokens
        windowed = self.windowed_blocks / len(self.kv_heads)
        return each * (windowed * min(tokens, self.window) + (1.0 - windowed) * tokens)

    def tokens_within(self, room: float, sequences: int = 1, kv_type: str = "f16") -> float:
        """Return the tokens that each of ``sequences`` may have so that all fit into ``room`` bytes."""
        own = max(0.0, room) / sequences
        each = self.bytes_per_token(kv_type)
        if not each:
            return float("inf")
        windowed = self.windowed_blocks / len(self.kv_heads) if self.window is not None else 0.0
        if self.window is None or own <= each * self.window or not windowed:
            return own / each
        if windowed >= 1.0:
            return float("inf")
        return (own - each * windowed * self.window) / (each * (1.0 - windowed))
