"""Repetition of a measurement with more tokens, where the answer was too short to tell a pace (pure)."""

from __future__ import annotations

import math
from typing import Final

from aiidpd.components.bench.pace import SHORTEST_WINDOW, pace
from aiidpd.components.bench.settings import BenchSettings
from aiidpd.engines.target import Timeline

MOST_TOKENS: Final = 4096
"""Tokens that are requested at most, which is also the most that bench.max_tokens may be."""
MOST_TRIES: Final = 3
_WINDOW: Final = 3 * SHORTEST_WINDOW
_MOST_TIMES: Final = 8


def longer(
    timeline: Timeline,
    asked: int,
    spent: float,
    tries: int,
    settings: BenchSettings,
    *,
    for_others: bool = False,
) -> int | str | None:
    """Return how many tokens to request next, a text where that can't be, None where it is not needed.

    ``asked`` is how many were requested now, ``spent`` for how many seconds the endpoint was busy with this
    in ``tries``. ``for_others``: other answers of so many tokens are to follow, which the engine's own clock
    may not confirm as it does this one.
    """
    window = timeline.chunks[-1].at - timeline.chunks[0].at if timeline.chunks else 0.0
    if not pace(timeline).short and not (for_others and 0 < window < SHORTEST_WINDOW):
        return None
    if timeline.finish != "length":
        return "the answer ended by itself, so that more tokens would not come"
    if tries >= MOST_TRIES:
        return f"{tries} tries were too short"
    if asked >= MOST_TOKENS:
        return f"more than {MOST_TOKENS} tokens are never requested"
    times = min(_MOST_TIMES, _WINDOW / window) if window > 0 else _MOST_TIMES
    tokens = min(MOST_TOKENS, math.ceil(asked * times))
    takes = timeline.chunks[0].at - timeline.started + window * tokens / asked
    ratio = settings.gpu_time_ratio
    most = min(ratio * settings.interval, settings.timeout)
    if spent + takes > most:
        return (
            f"{tokens} tokens would take more than {most:.3g} s, {ratio:.1%} of bench.interval or "
            f"bench.timeout: raise these, or set bench.max_tokens to {tokens}"
        )
    return tokens
