"""From the record of a probe to its figures (pure).

A figure that the record cannot support is None, and ``withheld`` is why: a number that is wrong
is worse than none.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from aiidpd.components.bench.pace import Pace, pace
from aiidpd.engines.target import EngineTimings, Timeline

Scalar: TypeAlias = str | int | float | bool | None
TTFT = "ttft_seconds"
DECODE = "time_per_output_token_seconds"
GAPS = "chunk_gap_seconds"
LATE: Final = "this process was late"
"""Beginning of the reason of a figure that the lateness of this process took."""

# The part of the prompt that may come from the prefix cache before the first token no longer shows how fast
# prompts are read; not 0, for the head of the chat template is the same in every prompt.
_CACHED_SHARE: Final = 0.25
_LATE: Final = 0.001  # seconds by which this process may always be late
_LATE_SHARE: Final = 0.02  # the part of a figure that its lateness may make up
_LATE_CHUNKS: Final = 0.05  # the share of chunks that may be late before gaps are none


@dataclass(frozen=True, slots=True)
class Withheld:
    """A figure that is not given, and the reason."""

    figure: str
    reason: str


@dataclass(frozen=True, slots=True)
class BenchSample:
    """Figures of one probe; times in seconds, None where the record does not support one.

    ``time_per_output_token_seconds`` is (last chunk - first chunk) / (tokens after the first chunk) by the
    engine's own count; where it does not say how many the first chunk held, ``*_least_seconds`` and
    ``*_most_seconds`` bound it, and it is given where they are close. ``chunk_gap_*`` are between chunks, and
    a chunk is not a token. ``engine`` is what the engine reports itself: shown beside our figures, never in
    their place. All times begin when the request was sent; ``connect_seconds`` came before.
    ``client_delay_*`` is by how much this process itself was late meanwhile; where that could have changed a
    figure, the figure is withheld and ``invalid`` says so.
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
    time_per_output_token_least_seconds: float | None = None
    time_per_output_token_most_seconds: float | None = None
    request_tokens_per_second: float | None = None
    """Output tokens over the whole time of the request, its first token included."""
    connect_seconds: float | None = None
    client_delay_p95_seconds: float | None = None
    client_delay_max_seconds: float | None = None
    invalid: str = ""
    alone: bool | None = None
    """True where the engine's counters prove that it served nobody else meanwhile; null where that is not
    known, for ``alone_reason``."""
    alone_reason: str = ""
    warm: bool | None = None
    """True where the engine had just been at work; null where that is not known."""
    cold_reason: str = ""
    """Reason for which a first request, which does not count, warmed it up; empty where none did."""
    cold_ttft_seconds: float | None = None
    """Time to the first token of that first request."""
    speculative_acceptance_ratio: float | None = None
    """Share of the draft tokens of speculative decoding that were accepted, where the engine counts them."""
    throttled: str = ""
    """Reason for which a GPU was slower than it is; empty where none is known."""
    gpu: str = ""
    """Kind of GPU that the engine runs on; empty where it is not known."""
    circumstances: Mapping[str, Scalar] = field(default_factory=dict)
    """State of everything else meanwhile, by names for people; unknown ones are left out."""

    @property
    def usual(self) -> bool:
        """True where it may stand for the endpoint's speed: nothing throttled a GPU."""
        return not self.throttled


def measure(timeline: Timeline) -> BenchSample:
    """Return the figures that ``timeline`` supports."""
    chunks, withheld = timeline.chunks, dict[str, str]()
    ttft = chunks[0].at - timeline.started if chunks else None
    decode = pace(timeline)
    gaps = sorted(after.at - before.at for before, after in itertools.pairwise(chunks))
    withheld |= _found({TTFT: _withheld_first(timeline), DECODE: decode.withheld})
    late = _late(timeline)
    withheld |= late
    if TTFT in withheld:
        ttft = None
    if DECODE in withheld:
        decode = Pace(withheld=withheld[DECODE], least=decode.least, most=decode.most)
    if GAPS in withheld:
        gaps = []
    total = timeline.ended - timeline.started
    return BenchSample(
        ttft_seconds=ttft,
        time_per_output_token_seconds=decode.seconds,
        output_tokens_per_second=None if decode.seconds is None else 1 / decode.seconds,
        chunk_gap_p50_seconds=percentile(gaps, 0.5),
        chunk_gap_p95_seconds=percentile(gaps, 0.95),
        chunk_gap_max_seconds=gaps[-1] if gaps else None,
        total_seconds=total,
        chunks=len(chunks),
        prompt_tokens=timeline.prompt_tokens,
        output_tokens=timeline.output_tokens,
        cached_tokens=cached_tokens(timeline),
        finish=timeline.finish,
        engine=timeline.engine,
        withheld=tuple(Withheld(figure, reason) for figure, reason in withheld.items()),
        time_per_output_token_least_seconds=decode.least,
        time_per_output_token_most_seconds=decode.most,
        request_tokens_per_second=timeline.output_tokens / total
        if timeline.output_tokens and total > 0 and chunks
        else None,
        connect_seconds=timeline.connect_seconds,
        client_delay_p95_seconds=percentile(timeline.delays, 0.95),
        client_delay_max_seconds=timeline.delays[-1] if timeline.delays else None,
        invalid=next(iter(late.values()), ""),
    )


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """Return the smallest of ``ordered`` (ascending) that ``share`` of them do not exceed (nearest rank)."""
    if not ordered:
        return None
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _withheld_first(timeline: Timeline) -> str | None:
    if not timeline.chunks:
        return "no text arrived"
    return cached_reason(timeline)


def cached_tokens(timeline: Timeline) -> int | None:
    """Return how many tokens of the prompt came from a cache; None where the engine does not say."""
    if timeline.cached_tokens is not None or timeline.prompt_tokens is None or timeline.engine is None:
        return timeline.cached_tokens
    computed = timeline.engine.prompt_tokens
    return None if computed is None else max(0, timeline.prompt_tokens - computed)


def cached_reason(timeline: Timeline) -> str | None:
    """Return that the prompt came from a cache, None where it did not, as far as the engine says."""
    cached, prompt = cached_tokens(timeline) or 0, timeline.prompt_tokens or 0
    if cached > _CACHED_SHARE * prompt:
        return f"the prefix cache answered: {cached} of {prompt} prompt tokens were not computed"
    return None


def _late(timeline: Timeline) -> dict[str, str]:
    """Return the figures that are none because this process was late, each with the reason."""
    chunks = timeline.chunks
    if not chunks:
        return {}
    first, window = chunks[0].at - timeline.started, chunks[-1].at - chunks[0].at
    late = sorted(each.late for each in chunks)
    often = percentile(late, 1 - _LATE_CHUNKS) or 0.0
    ends = chunks[0].late + chunks[-1].late
    found: dict[str, str | None] = {
        TTFT: _lateness(chunks[0].late, max(_LATE, first * _LATE_SHARE)),
        DECODE: _lateness(ends, max(_LATE, window * _LATE_SHARE)),
        GAPS: _lateness(often, _LATE),
    }
    return _found(found)


def _lateness(seconds: float, bound: float) -> str | None:
    if seconds <= bound:
        return None
    return f"{LATE} to read it, by up to {seconds * 1e3:.3g} ms: the machine is too busy"


def _found(reasons: Mapping[str, str | None]) -> dict[str, str]:
    return {figure: reason for figure, reason in reasons.items() if reason is not None}
