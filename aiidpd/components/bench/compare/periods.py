"""Comparison of two periods of one endpoint, by what the history has of its measurements (pure).

Measurements of two periods have no pairs. The logarithms of their figures are compared by Yuen's test (K.
Yuen, "The two-sample trimmed t for unequal population variances", Biometrika 1974): Welch's, on means without
the highest and the lowest fifth, which a stall doesn't move. Measurements that follow each other are alike,
and count as fewer: the variance grows by (1 + r) / (1 - r), r being the correlation of neighbours (G. Bayley
and J. Hammersley, "The effective number of independent observations in an autocorrelated time series", 1946).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aiidpd.components.bench.compare.result import ERROR, FigureResult, figure_result
from aiidpd.components.bench.compare.sequential import Estimate
from aiidpd.components.bench.compare.student import critical

SERIES: Final = ("ttft_seconds", "time_per_output_token_seconds")
"""Figures that are compared: the time of a whole answer depends on its length, which is not on record."""
FEWEST: Final = 6
"""Measurements of a period; with fewer, no word is said."""
_TRIMMED: Final = 0.2
_MOST_ALIKE: Final = 0.9


@dataclass(frozen=True, slots=True)
class _Trimmed:
    """Mean without the extremes, the square of its error, and the degrees of freedom of that."""

    mean: float
    squared_error: float
    degrees: float


def compared(figure: str, a: Sequence[float], b: Sequence[float]) -> FigureResult:
    """Return ``figure`` of two periods, given in the order of time."""
    ours, theirs = [each for each in a if each > 0], [each for each in b if each > 0]
    found = unpaired(
        [math.log(each) for each in ours], [math.log(each) for each in theirs], ERROR / len(SERIES)
    )
    after = f"{len(ours)} and {len(theirs)} measurements"
    return figure_result(figure, ours, theirs, found, after)


def unpaired(a: Sequence[float], b: Sequence[float], error: float) -> Estimate:
    """Return the difference of the trimmed means, B less A; infinite bounds where there is too little."""
    if min(len(a), len(b)) < FEWEST:
        return Estimate(min(len(a), len(b)))
    ours, theirs = _trimmed(a), _trimmed(b)
    mean = theirs.mean - ours.mean
    squared = ours.squared_error + theirs.squared_error
    if squared <= 0:
        return Estimate(min(len(a), len(b)), mean, mean, mean)
    degrees = squared**2 / (ours.squared_error**2 / ours.degrees + theirs.squared_error**2 / theirs.degrees)
    reach = critical(error, degrees) * math.sqrt(squared)
    return Estimate(min(len(a), len(b)), mean, mean - reach, mean + reach)


def _trimmed(values: Sequence[float]) -> _Trimmed:
    ordered = sorted(values)
    cut = int(_TRIMMED * len(ordered))
    left = ordered[cut : len(ordered) - cut]
    mean = math.fsum(left) / len(left)
    moved = [min(max(each, left[0]), left[-1]) for each in ordered]  # winsorised
    middle = math.fsum(moved) / len(moved)
    squares = math.fsum((each - middle) ** 2 for each in moved)
    factor = _alike([min(max(each, left[0]), left[-1]) for each in values], middle, squares)
    degrees = max(1.0, len(left) / factor - 1)
    return _Trimmed(mean, factor * squares / (len(left) * (len(left) - 1)), degrees)


def _alike(values: Sequence[float], middle: float, squares: float) -> float:
    """Return by how much the variance of the mean grows because neighbours are alike."""
    if squares <= 0:
        return 1.0
    shifts = [each - middle for each in values]
    neighbours = math.fsum(one * next_ for one, next_ in itertools.pairwise(shifts)) / squares
    alike = min(max(neighbours, 0.0), _MOST_ALIKE)
    return (1 + alike) / (1 - alike)
