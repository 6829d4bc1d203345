"""Time per output token: what the record of a probe can tell of it (pure).

It is the time from the first chunk to the last over the tokens that came after the first chunk. Servers
count tokens, not chunks, so that the first chunk's share has to be known: from the engine's count in each
chunk, from the engine's own time, or within bounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aiidpd.engines.target import Chunk, Timeline

SHORTEST_WINDOW: Final = 0.1
"""Seconds from first to last token; in less, a flushed buffer looks like a fast engine."""
# Chunks that follow each other faster (seconds) count as one arrival: they may come from one buffer.
_RESOLUTION: Final = 0.001
_FASTER: Final = 4  # times as fast as on average, where that is faster still
_AGREEMENT: Final = 1.5  # the factor within which the engine's own time per token confirms ours
_SAME: Final = 0.02  # the share within which the engine's own time is the same as ours
_CLOSE: Final = 0.05  # the share by which the bounds may differ for the figure between them to be given
_AT_ONCE: Final = 0.1  # the share of the mean interval within which two chunks came at once
_SILENT_TOKENS: Final = 8  # tokens without text that an answer may hold: ends, and marks of a thought or call


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds a token, None where it is ``withheld``; ``least`` and ``most`` bound it where they are known.

    ``short`` says that a longer answer could tell it.
    """

    seconds: float | None = None
    withheld: str | None = None
    least: float | None = None
    most: float | None = None
    short: bool = False


def pace(timeline: Timeline) -> Pace:
    """Return the time per output token of ``timeline``."""
    reason = _uncounted(timeline)
    tokens = timeline.output_tokens
    if reason is not None or tokens is None:
        return Pace(withheld=reason)
    chunks = timeline.chunks
    window = chunks[-1].at - chunks[0].at
    fewest, most = _after_first(timeline, tokens, window)
    if window > 0:
        reason = _held_back(timeline, tokens, window, fewest)
        if reason is not None:
            return Pace(withheld=reason)
    if window <= 0 or not _confirmed(timeline, window, fewest, most):
        found = _burst(chunks, tokens, window)
        if found is not None:
            return found
    least, longest = window / most, window / fewest if fewest > 0 else None
    if longest is None or longest > least * (1 + _CLOSE):
        return Pace(withheld=_untold(least, longest), least=least, most=longest)
    return Pace(2 * window / (fewest + most), least=least, most=longest)


def _uncounted(timeline: Timeline) -> str | None:
    """Return why the tokens of the answer are not known, or None where they are."""
    chunks, tokens = timeline.chunks, timeline.output_tokens
    if not chunks:
        return "no text arrived"
    if tokens is None:
        return "the server reported no usage, and chunks are not tokens"
    if tokens < 2:  # noqa: PLR2004 -- the first interval lies between two tokens
        return f"the server counted {tokens} tokens, and an interval lies between two"
    if len(chunks) > 2 * tokens:
        return f"the server counted {tokens} tokens and sent {len(chunks)} chunks"
    size = sum(map(_size, chunks))
    if tokens > size + _SILENT_TOKENS:
        return f"the server counted {tokens} tokens for {size} bytes of text"
    return None


def _after_first(timeline: Timeline, tokens: int, window: float) -> tuple[int, int]:
    """Return at least and at most how many tokens came after the first arrival, up to the last."""
    chunks = timeline.chunks
    head = _together(chunks, window)
    first, later = [chunk.tokens for chunk in chunks[:head]], [chunk.tokens for chunk in chunks[head:]]
    counted, rest = _sum(first), _sum(later)
    if counted and rest is not None and tokens - _SILENT_TOKENS <= counted + rest <= tokens:
        return rest, rest
    # Each token has a byte of text, and each later chunk a token.
    largest = max(head, min(sum(map(_size, chunks[:head])), tokens - len(later)))
    least = head
    if counted and counted <= tokens - len(later):
        least = largest = counted
    ending = 0 if timeline.finish == "length" else 1  # the token that ends a text has no chunk
    most, fewest = tokens - least, tokens - largest - ending
    engine = timeline.engine.time_between_tokens if timeline.engine else None
    if engine and window > 0 and fewest < most:
        implied = round(window / engine)
        if fewest <= implied <= most and abs(window / implied - engine) <= _SAME * engine:
            return implied, implied  # its clock and ours agree on so many
    return max(0, fewest), max(1, most)


def _together(chunks: Sequence[Chunk], window: float) -> int:
    """Return how many chunks the first arrival brought: they came faster than the others do."""
    close = window / max(1, len(chunks) - 1) * _AT_ONCE
    return max(1, sum(chunk.at - chunks[0].at < close for chunk in chunks)) if window > 0 else len(chunks)


def _sum(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _held_back(timeline: Timeline, tokens: int, window: float, fewest: int) -> str | None:
    """Return why the times of the chunks are not the engine's, None where nothing says so."""
    engine = timeline.engine.time_per_output_token if timeline.engine else None
    if engine and fewest > 0 and window / fewest * _AGREEMENT < engine:
        return (
            f"{_amount(tokens, window)}, but the engine says {engine * 1e3:.3g} ms a token: "
            "something on the way held them back"
        )
    return None


def _confirmed(timeline: Timeline, window: float, fewest: int, most: int) -> bool:
    """Return whether the engine's own clock agrees with ours, so that no window is too short."""
    engine = timeline.engine.time_per_output_token if timeline.engine else None
    return bool(engine and fewest > 0 and window / most <= engine * _AGREEMENT)


def _burst(chunks: Sequence[Chunk], tokens: int, window: float) -> Pace | None:
    """Return the pace of what came from one buffer, as far as that can be seen, None where it did not."""
    if window < SHORTEST_WINDOW:
        arrivals, _ = _arrivals(chunks, _RESOLUTION)
        reason = (
            ": too short to tell an engine's speed from a flushed buffer"
            if arrivals > 1
            else ", in one burst"
        )
        return Pace(withheld=f"{_amount(tokens, window)}{reason}", short=True)
    # A fast engine's tokens follow each other as fast as those of a buffer, but all of them.
    arrivals, first_share = _arrivals(chunks, min(_RESOLUTION, window / len(chunks) / _FASTER))
    if first_share * tokens > max(3.0, tokens / 4):
        return Pace(withheld=f"{first_share:.0%} of the text came at once with the first chunk")
    if arrivals * 8 < tokens:
        return Pace(withheld=f"{tokens} tokens came in {arrivals} bursts")
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


def _size(chunk: Chunk) -> int:
    return max(chunk.characters, chunk.text_bytes)


def _untold(least: float, most: float | None) -> str:
    bounds = f"from {least * 1e3:.3g} ms" + (f" to {most * 1e3:.3g} ms" if most is not None else "")
    return f"how many tokens the first chunk held is not known, which leaves {bounds} a token"


def _amount(tokens: int, window: float) -> str:
    return f"{tokens} tokens in {window * 1e3:.3g} ms"
