"""Over-saturation: more arrives than is served, so that a queue grows without bound (pure).

The number of requests in the system is watched at regular moments. In the steady state it rises and falls
about its mean; where it grows, a rank test for a trend (Mann and Kendall) finds that in the means of blocks
of moments, for single ones depend on each other. A trend alone is no harm, as at the start, when the system
fills: the last third has also to be above the first by a share of all that is to arrive. The same test goes
over the times to the first token.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Final

BLOCKS: Final = 12
"""Parts into which what was watched is divided."""
FEWEST: Final = 4 * BLOCKS
"""Moments below which nothing is said."""
_SURE: Final = (
    3.3  # standard deviations of the trend under no trend: 1 in 2,000, for it is asked again and again
)
_GROWTH: Final = 1.5  # times as much in the last third as in the first
_QUEUE: Final = 4.0  # requests more in the last third than in the first, at least
_NOISE: Final = 3.0  # times the square root of their number, by which requests in the system come and go
_WAIT: Final = 0.5  # seconds more to the first token, at least
_SHARE: Final = 0.05
"""Share of all that is to arrive, or of the whole time, by which a queue grows at least."""


@dataclass(frozen=True, slots=True)
class Growth:
    """Mean of the first third and of the last, of what grew."""

    first: float
    last: float


def trend(values: Sequence[float]) -> float:
    """Return the statistic of Mann and Kendall in standard deviations: above 0 where ``values`` rise."""
    count = len(values)
    total = sum(
        (later > earlier) - (later < earlier)
        for place, earlier in enumerate(values)
        for later in values[place + 1 :]
    )
    variance = count * (count - 1) * (2 * count + 5) / 18
    if not variance or not total:
        return 0.0
    return (total - math.copysign(1, total)) / math.sqrt(variance)


def growth(values: Sequence[float], *, least: float = 0.0, noise: float = 0.0) -> Growth | None:
    """Return how ``values``, at regular moments, grew; None where they did not, or that can't be said.

    ``least`` is by how much they grow at least, and ``noise`` times the square root of the last ones.
    """
    if len(values) < FEWEST:
        return None
    blocks = means(values, BLOCKS)
    third = BLOCKS // 3
    first, last = fmean(blocks[:third]), fmean(blocks[-third:])
    if (
        last - first < max(least, noise * math.sqrt(max(0.0, last)))
        or last < _GROWTH * first
        or trend(blocks) < _SURE
    ):
        return None
    return Growth(first, last)


def means(values: Sequence[float], blocks: int) -> list[float]:
    """Return the means of as many parts of ``values``, of one length as far as that goes."""
    bounds = [round(place * len(values) / blocks) for place in range(blocks + 1)]
    return [fmean(values[begin:end]) for begin, end in pairwise(bounds) if end > begin]


def reason(
    in_system: Sequence[float], first_tokens: Sequence[float], *, arrivals: float, seconds: float
) -> str:
    """Return why a load is too much, empty where it is not known to be.

    ``in_system`` are the requests in the system at regular moments so far, ``first_tokens`` the seconds to
    the first token of requests by their arrival; ``arrivals`` and ``seconds`` are those of the whole load.
    """
    found = growth(in_system, least=max(_QUEUE, _SHARE * arrivals), noise=_NOISE)
    if found is not None:
        return f"requests in the system rose from {found.first:.3g} to {found.last:.3g} and went on rising"
    found = growth(first_tokens, least=max(_WAIT, _SHARE * seconds))
    if found is not None:
        return f"the first token came ever later, {found.first:.3g} s and then {found.last:.3g} s"
    return ""
