"""Ceilings of decoding and of reading a prompt, and the speed to expect (pure).

Speed of one request and of a batch are different figures: a step serves every sequence of its batch with one
token, so that the first never grows with the batch and the second does.
"""

from __future__ import annotations

from dataclasses import dataclass

from aiidpd.physics.efficiency import Efficiency
from aiidpd.physics.model_shape import ModelShape

_FLOPS_PER_PARAMETER = 2  # one product and one sum


@dataclass(frozen=True, slots=True)
class Step:
    """One decode step for ``batch`` sequences: what it must read and compute at least, and its times."""

    batch: int
    weight_bytes: float
    kv_bytes: float
    least_seconds: float
    expected_seconds: float
    bound: str
    """``memory`` or ``compute``: the one of the two that takes longer."""

    @property
    def request_ceiling(self) -> float:
        """Return the tokens a second that one request can't pass."""
        return 1 / self.least_seconds

    @property
    def request_expected(self) -> float:
        """Return the tokens a second to expect of one request."""
        return 1 / self.expected_seconds

    @property
    def batch_ceiling(self) -> float:
        """Return the tokens a second that all requests together can't pass."""
        return self.batch / self.least_seconds

    @property
    def batch_expected(self) -> float:
        """Return the tokens a second to expect of all requests together."""
        return self.batch / self.expected_seconds


def decode(
    model: ModelShape,
    bandwidth: float,
    efficiency: Efficiency,
    *,
    batch: int = 1,
    context: float = 0,
    kv_type: str = "f16",
    flops: float | None = None,
) -> Step:
    """Return a decode step of ``model`` on a memory of ``bandwidth`` bytes a second.

    Each of ``batch`` sequences has ``context`` tokens before this one. ``flops`` is the device's peak at the
    precision that it computes in; None where not known.
    """
    weights = model.bytes_read(batch)
    kv = batch * model.kv.bytes_of(context, kv_type) if model.kv is not None and context else 0.0
    read = weights + kv
    memory = read / bandwidth
    compute = batch * _FLOPS_PER_PARAMETER * (model.active_parameters or 0) / flops if flops else 0.0
    reached = read / efficiency.bandwidth(bandwidth)
    expected = max(reached, compute) + efficiency.overhead(weights, model.block_count)
    return Step(
        batch=batch,
        weight_bytes=weights,
        kv_bytes=kv,
        least_seconds=max(memory, compute),
        expected_seconds=max(expected, memory, compute),
        bound="compute" if compute > memory else "memory",
    )


def prefill_seconds(
    active_parameters: float,
    tokens: float,
    flops: float,
    *,
    read: float = 0.0,
    bandwidth: float | None = None,
) -> float:
    """Return the least seconds in which ``tokens`` that no cache has are read: the bound of the first token.

    Every token needs two operations a parameter, and the weights (``read``) pass once.
    """
    compute = _FLOPS_PER_PARAMETER * active_parameters * tokens / flops
    return max(compute, read / bandwidth if bandwidth else 0.0)


def prefill_tokens(active_parameters: float, seconds: float, flops: float) -> float:
    """Return the tokens that no cache has of which a prompt may consist to be read within ``seconds``."""
    return seconds * flops / (_FLOPS_PER_PARAMETER * active_parameters)
