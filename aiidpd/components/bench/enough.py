"""Length of all answers of a series, chosen by trying: as many tokens as tell the engine's pace."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable

from aiidpd.components.bench.longer import longer
from aiidpd.components.bench.settings import BenchSettings
from aiidpd.engines.target import Timeline
from aiidpd.kernel.errors import Unavailable


async def enough_tokens(
    probe: Callable[[int], Awaitable[Timeline]], tokens: int, settings: BenchSettings
) -> int:
    """Return how many tokens tell a pace, ``tokens`` at least; ``probe`` requests so many.

    Raises ``Unavailable`` where ``tokens`` themselves can't be had. That more can't, as where the context is
    too short, is no fault of the engine.
    """
    spent, wanted = 0.0, tokens
    for tries in itertools.count(1):
        try:
            timeline = await probe(wanted)
        except Unavailable:
            if tries == 1:
                raise
            return tokens
        spent, tokens = spent + timeline.ended - timeline.started, wanted
        more = longer(timeline, tokens, spent, tries, settings, for_others=True)
        if not isinstance(more, int):
            return tokens
        wanted = more
    raise AssertionError  # the count never ends
