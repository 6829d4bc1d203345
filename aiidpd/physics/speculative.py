"""Speculative and multi-token decoding: several tokens a step of the model that decides (pure)."""

from __future__ import annotations


def mean_accepted(acceptance: float, draft: int) -> float:
    """Return the tokens a step yields where each of ``draft`` tokens is accepted with ``acceptance``.

    The first that is refused ends them, and the model's own token follows in any case: a geometric sum
    (Leviathan, Kalman and Matias, 2023).
    """
    if not 0 <= acceptance <= 1 or draft < 0:
        raise ValueError("an acceptance is from 0 to 1, and a draft has no fewer than 0 tokens")
    if acceptance == 1:
        return draft + 1.0
    return float((1 - acceptance ** (draft + 1)) / (1 - acceptance))


def ceiling(plain: float, accepted: float) -> float:
    """Return the ceiling of tokens a second where a step yields ``accepted`` tokens on average.

    The draft's own time is left out, so that this is a bound for every draft. Raises ValueError below 1: a
    step yields a token at least.
    """
    if accepted < 1:
        raise ValueError("a step yields a token at least, so a mean accepted length is 1 or more")
    return plain * accepted
