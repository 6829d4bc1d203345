"""Speed at depth: how fast a prompt is read and an answer generated after so many tokens (pure).

As ``llama-bench -d`` does, but over HTTP: a first request fills the cache with the depth, a second has the
same beginning and some more, and asks for an answer. The server says how much of the second it had to read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aiidpd.components.bench.load.draws import Draws
from aiidpd.components.bench.load.text import prose
from aiidpd.components.bench.stats import DECODE, TTFT, measure
from aiidpd.engines.target import Timeline

READ_TOKENS: Final = 512
"""Tokens of a prompt after the depth, of which the speed of reading is measured."""
ANSWER_TOKENS: Final = 128
CALIBRATION: Final = (100, 400)
"""Estimated tokens of two prompts that say how many tokens a server makes of ours."""


@dataclass(frozen=True, slots=True)
class DepthRow:
    """Speeds at one depth, None where ``reason`` says why not. ``read`` are the prompt tokens computed."""

    depth: int
    prompt_tokens: int | None = None
    read: int | None = None
    ttft: float | None = None
    prompt_tokens_per_second: float | None = None
    output_tokens_per_second: float | None = None
    reason: str = ""


def filled(draws: Draws, nonce: str, tokens: float) -> str:
    """Return the beginning of a prompt, of about ``tokens`` estimated ones; the nonce comes first."""
    return f"{nonce} {prose(draws, round(tokens), 'depth')}" if tokens >= 1 else nonce


def continued(draws: Draws, beginning: str, depth: int, tokens: float) -> str:
    """Return ``beginning`` with about ``tokens`` estimated ones more."""
    return f"{beginning} {prose(draws, max(1, round(tokens)), 'after', depth)}"


def per_estimated(counts: Sequence[int | None]) -> float | None:
    """Return how many tokens the server makes of an estimated one, by its ``counts`` of the calibration."""
    first, second = counts
    if first is None or second is None or second <= first:
        return None
    return (second - first) / (CALIBRATION[1] - CALIBRATION[0])


def row_of(depth: int, timeline: Timeline) -> DepthRow:
    """Return the speeds that the second request at ``depth`` tells."""
    sample = measure(timeline)
    prompt, cached = timeline.prompt_tokens, timeline.cached_tokens
    engine = timeline.engine.prompt_tokens if timeline.engine else None
    read = prompt - cached if prompt is not None and cached is not None else engine
    first = timeline.chunks[0].at - timeline.started if timeline.chunks else None
    reasons = {each.figure: each.reason for each in sample.withheld}
    why = [reasons[DECODE]] if DECODE in reasons else []
    if sample.invalid and TTFT in reasons:
        first = None
        why.insert(0, reasons[TTFT])
    if read is None and depth:
        why.insert(0, "the server does not say how much of the prompt it had to read")
    elif read is None:
        read = prompt
    return DepthRow(
        depth,
        prompt,
        read,
        first,
        read / first if read and first else None,
        sample.output_tokens_per_second,
        "; ".join(dict.fromkeys(why)),
    )
