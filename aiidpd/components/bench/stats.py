"""From the record of a probe to its figures (pure).

A figure that the record cannot support is None, and ``withheld`` is why: a number that is wrong
is worse than none.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aiidpd.engines.target import Chunk, EngineTimings, Timeline

TTFT = "ttft_seconds"
DECODE = "time_per_output_token_seconds"

# Chunks that follow each other faster (seconds) count as one arrival: they may come from one buffer.
_RESOLUTION: Final = 0.001
_SHORTEST_WINDOW: Final = (
    0.1  # seconds from first to last token; in less, a flushed buffer looks like a fast engine
)
# The part of the prompt that may come from the prefix cache before the first token no longer shows how fast
# prompts are read; not 0, for the head of the chat template is the same in every prompt.
_CACHED_SHARE: Final = 0.25
_AGREEMENT: Final = 1.5  # the factor within which the engine's own time per token confirms ours


@dataclass(frozen=True, slots=True)
class Withheld:
    """A figure that is not given, and the reason."""

    figure: str
    reason: str


@dataclass(frozen=True, slots=True)
class BenchSample:
    """Figures of one probe; times in seconds, None where the record does not support one.

    ``time_per_output_token_seconds`` is (last chunk - first chunk) / (tokens - 1) with the server's
    own token count; a server that counts the end-of-text token, which has no chunk, makes it smaller
    by one part in ``output_tokens``. ``chunk_gap_*`` are between chunks, and a chunk is not a token.
    ``engine`` is what the engine reports itself: shown beside our figures, never in their place.
    """

    ttft_seconds: float | None
    time_per_output_token_seconds: float | None
    output_tokens_per_second: float | None
    chunk_gap_p50_seconds: float | None
    chunk_gap_p95_seconds: float | None
    chunk_gap_max_seconds: float | None
    total_seconds: float
    chunks: int
    prompt_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    finish: str | None
    engine: EngineTimings | None
    withheld: tuple[Withheld, ...]


def measure(timeline: Timeline) -> BenchSample:
    """Return the figures that ``timeline`` supports."""
    withheld: list[Withheld] = []
    chunks = timeline.chunks
    ttft = chunks[0].at - timeline.started if chunks else None
    reason = _withheld_first(timeline)
    if reason is not None:
        ttft = None
        withheld.append(Withheld(TTFT, reason))
    per_token = None
    reason = _withheld_decode(timeline)
    if reason is not None:
        withheld.append(Withheld(DECODE, reason))
    elif timeline.output_tokens is not None:
        per_token = _window(chunks) / (timeline.output_tokens - 1)
    gaps = sorted(after.at - before.at for before, after in itertools.pairwise(chunks))
    return BenchSample(
        ttft_seconds=ttft,
        time_per_output_token_seconds=per_token,
        output_tokens_per_second=None if per_token is None else 1 / per_token,
        chunk_gap_p50_seconds=percentile(gaps, 0.5),
        chunk_gap_p95_seconds=percentile(gaps, 0.95),
        chunk_gap_max_seconds=gaps[-1] if gaps else None,
        total_seconds=timeline.ended - timeline.started,
        chunks=len(chunks),
        prompt_tokens=timeline.prompt_tokens,
        output_tokens=timeline.output_tokens,
        cached_tokens=timeline.cached_tokens,
        finish=timeline.finish,
        engine=timeline.engine,
        withheld=tuple(withheld),
    )


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """Return the smallest of ``ordered`` (ascending) that ``share`` of them do not exceed (nearest rank)."""
    if not ordered:
        return None
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _withheld_first(timeline: Timeline) -> str | None:
    if not timeline.chunks:
        return "no text arrived"
    cached, prompt = timeline.cached_tokens or 0, timeline.prompt_tokens or 0
    if cached > _CACHED_SHARE * prompt:
        return f"the prefix cache answered: {cached} of {prompt} prompt tokens were not computed"
    return None


def _withheld_decode(timeline: Timeline) -> str | None:
    """Return why the time per output token cannot be known, or None where it can."""
    chunks, tokens = timeline.chunks, timeline.output_tokens
    if not chunks:
        return "no text arrived"
    if tokens is None:
        return "the server reported no usage, and chunks are not tokens"
    if tokens < 2:  # noqa: PLR2004 -- the first interval lies between two tokens
        return f"the server counted {tokens} tokens, and an interval lies between two"
    if len(chunks) > 2 * tokens:
        return f"the server counted {tokens} tokens and sent {len(chunks)} chunks"
    engine = timeline.engine.time_per_output_token if timeline.engine else None
    return _withheld_window(chunks, tokens, engine)


def _withheld_window(chunks: Sequence[Chunk], tokens: int, engine: float | None) -> str | None:
    window = _window(chunks)
    if engine and window > 0:
        ours = window / (tokens - 1)
        if ours * _AGREEMENT < engine:
            return (
                f"{_amount(tokens, window)}, but the engine says {engine * 1e3:.3g} ms a token: "
                "something on the way held them back"
            )
        if ours <= engine * _AGREEMENT:
            return None  # two clocks agree, however short the window is
    return _withheld_burst(chunks, tokens, window)


def _withheld_burst(chunks: Sequence[Chunk], tokens: int, window: float) -> str | None:
    arrivals, first_share = _arrivals(chunks, _RESOLUTION)
    if arrivals == 1 or window <= 0:
        return f"{_amount(tokens, window)}, in one burst"
    if window < _SHORTEST_WINDOW:
        return f"{_amount(tokens, window)}: too short to tell an engine's speed from a flushed buffer"
    if first_share * tokens > max(3.0, tokens / 4):
        return f"{first_share:.0%} of the text came at once with the first chunk"
    if arrivals * 8 < tokens:
        return f"{tokens} tokens came in {arrivals} bursts"
    return None


def _arrivals(chunks: Sequence[Chunk], resolution: float) -> tuple[int, float]:
    """Return in how many separate arrivals the chunks came, and the first one's share of the text."""
    arrivals, first, last = 1, chunks[0].characters, chunks[0].at
    for chunk in chunks[1:]:
        if chunk.at - last >= resolution:
            arrivals += 1
        elif arrivals == 1:
            first += chunk.characters
        last = chunk.at
    return arrivals, first / max(1, sum(chunk.characters for chunk in chunks))


def _window(chunks: Sequence[Chunk]) -> float:
    return chunks[-1].at - chunks[0].at


def _amount(tokens: int, window: float) -> str:
    return f"{tokens} tokens in {window * 1e3:.3g} ms"
