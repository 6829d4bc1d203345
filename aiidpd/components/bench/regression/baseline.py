"""Baseline of a figure: its usual value, its noise, and how long a deviation lasts (pure).

All of it is of logarithms, so that a deviation of 0.05 is one of about 5 %, whatever the figure.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

FIRST: Final = 96
"""Good samples after which a baseline is used: a day and a night of probes every 15 minutes."""
FULL: Final = 1344
"""Good samples after which it changes no more: two weeks, with their days, nights and weekends."""
_GROWTH: Final = 16  # it is estimated again whenever there is one more sample for so many
_NORMAL: Final = 1.4826  # from the median absolute deviation to the standard deviation of normal noise
_CENTRE_CLIP: Final = 2.0  # deviations beyond which a sample counts no more for the centre than one there
_SCALE_CLIP: Final = 3.0
_CLIPPED: Final = 1.008  # what clipping there takes from the standard deviation of normal noise
_LEAST_SCALE: Final = 0.001  # figures that never differ, such as made up ones, are no exact science either
_MOST_CORRELATED: Final = 0.95


@dataclass(frozen=True, slots=True)
class Baseline:
    """Usual value of a figure, from ``count`` samples.

    ``scale`` is the standard deviation of its logarithm, ``correlation`` that between one sample and the
    next, from 0 to 0.95.
    """

    centre: float
    scale: float
    correlation: float
    count: int

    @property
    def value(self) -> float:
        """Usual value, in the unit of the figure."""
        return math.exp(self.centre)

    @property
    def variance(self) -> float:
        """Variance of ``centre`` itself, which is an estimate."""
        lasting = (1 + self.correlation) / (1 - self.correlation)
        return self.scale**2 * lasting / self.count


def due(count: int, before: Baseline | None) -> bool:
    """Return whether to estimate a baseline of ``count`` samples, where ``before`` is the one there is."""
    if before is None:
        return count >= FIRST
    return count >= FULL or count >= before.count + max(1, before.count // _GROWTH)


def estimate(logarithms: Sequence[float]) -> Baseline:
    """Return the baseline of ``logarithms``, in their order in time; some of them may be outliers.

    The centre is a mean of clipped deviations (Huber), nearly as exact as a mean where there are no outliers.
    """
    centre = statistics.median(logarithms)
    spread = _NORMAL * statistics.median(abs(each - centre) for each in logarithms)
    spread = max(spread, _LEAST_SCALE)
    for _ in range(3):
        centre += statistics.fmean(clipped(each - centre, _CENTRE_CLIP * spread) for each in logarithms)
    rest = [clipped(each - centre, _SCALE_CLIP * spread) for each in logarithms]
    squares = math.fsum(each * each for each in rest)
    count = len(rest)
    scale = max(_LEAST_SCALE, _CLIPPED * math.sqrt(squares / count))
    return Baseline(centre, scale, _correlation(rest, squares), count)


def clipped(value: float, bound: float) -> float:
    """Return ``value``, or the nearest that is no further from 0 than ``bound``."""
    return max(-bound, min(bound, value))


def _correlation(rest: Sequence[float], squares: float) -> float:
    if not squares:
        return 0.0
    lagged = math.fsum(one * other for one, other in itertools.pairwise(rest)) / squares
    unbiased = lagged + (1 + 4 * lagged) / len(rest)  # short series look less correlated than they are
    return max(0.0, min(_MOST_CORRELATED, unbiased))
