"""Shape of a model as far as a token's cost goes: bytes of its weights that one step reads (pure)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from aiidpd.physics.kv_cache import KvShape


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """Weights of a model in bytes as they are stored, and how many of them a token needs.

    ``lookup_bytes`` are tables of which a token reads single rows; ``expert_bytes`` are those of
    ``expert_count`` experts, of which ``expert_used_count`` work on a token. None: not known.
    """

    weight_bytes: float
    lookup_bytes: float = 0.0
    expert_bytes: float = 0.0
    expert_count: int = 0
    expert_used_count: int = 0
    block_count: int | None = None
    parameters: float | None = None
    active_parameters: float | None = None
    kv: KvShape | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for a shape that no model has."""
        if not self.weight_bytes > 0:
            raise ValueError("a model has weights")
        if min(self.lookup_bytes, self.expert_bytes) < 0:
            raise ValueError("no part of the weights is less than 0")
        if self.lookup_bytes + self.expert_bytes > self.weight_bytes:
            raise ValueError("the parts of the weights are more than the whole")
        if not 0 <= self.expert_used_count <= self.expert_count:
            raise ValueError("a token can't use more experts than there are")

    @property
    def is_mixture(self) -> bool:
        """Return whether only some of its experts work on a token."""
        return self.expert_bytes > 0 and 0 < self.expert_used_count < self.expert_count

    def bytes_read(self, batch: int = 1) -> float:
        """Return the bytes of weights that a step for ``batch`` sequences reads: of experts, the expected."""
        return self._shared + self.expert_bytes * self._share(batch)

    def least_bytes_read(self) -> float:
        """Return the bytes that a step reads where all its sequences use the same experts."""
        return self.bytes_read(1)

    def with_the_same_experts(self) -> ModelShape:
        """Return the shape as steps see it whose sequences all use the same experts."""
        idle = self.expert_bytes * (1.0 - self._share(1))
        return replace(
            self,
            weight_bytes=self.weight_bytes - idle,
            expert_bytes=0.0,
            expert_count=0,
            expert_used_count=0,
        )

    @property
    def _shared(self) -> float:
        return self.weight_bytes - self.lookup_bytes - self.expert_bytes

    def _share(self, batch: int) -> float:
        return union_share(self.expert_count, self.expert_used_count, batch) if self.is_mixture else 1.0


def union_share(count: int, used: int, batch: int) -> float:
    """Return the share of ``count`` experts that ``batch`` tokens use together, by expectation.

    Each uses ``used`` of them, independently and each as often: an expert is left out by all with the
    probability (1 - used / count) ** batch.
    """
    if batch < 1:
        raise ValueError("a step is for one sequence at least")
    return min(1.0, max(used / count, 1.0 - (1.0 - used / count) ** batch))
