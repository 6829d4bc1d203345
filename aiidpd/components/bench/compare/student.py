"""Student's t distribution, for any positive number of degrees of freedom (pure).

The tail is the regularised incomplete beta function, by its continued fraction (DLMF 8.17.22).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

_STEPS: Final = 300
_PRECISION: Final = 1e-13
_TINY: Final = 1e-300
_HALVINGS: Final = 200


def two_sided(statistic: float, degrees: float) -> float:
    """Return the probability that |T| exceeds ``statistic``."""
    if math.isinf(statistic):
        return 0.0
    return _beta(degrees / 2, 0.5, degrees / (degrees + statistic * statistic))


@lru_cache(maxsize=256)
def critical(level: float, degrees: float) -> float:
    """Return the value that |T| exceeds with probability ``level``, which lies between 0 and 1."""
    low, high = 0.0, 1.0
    while two_sided(high, degrees) > level:
        low, high = high, 2 * high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        if two_sided(middle, degrees) > level:
            low = middle
        else:
            high = middle
    return high


def _beta(first: float, second: float, at: float) -> float:
    if at <= 0 or at >= 1:
        return 0.0 if at <= 0 else 1.0
    scale = math.exp(
        math.lgamma(first + second)
        - math.lgamma(first)
        - math.lgamma(second)
        + first * math.log(at)
        + second * math.log1p(-at)
    )
    if at < (first + 1) / (first + second + 2):
        return scale * _fraction(first, second, at) / first
    return 1 - scale * _fraction(second, first, 1 - at) / second


def _fraction(first: float, second: float, at: float) -> float:
    """Return the continued fraction, by the method of Lentz."""
    upper, lower = 1.0, 1 / _away(1 - (first + second) * at / (first + 1))
    found = lower
    for step in range(1, _STEPS):
        double = first + 2 * step
        even = step * (second - step) * at / ((double - 1) * double)
        odd = -(first + step) * (first + second + step) * at / (double * (double + 1))
        for part in (even, odd):
            lower = 1 / _away(1 + part * lower)
            upper = _away(1 + part / upper)
            found *= lower * upper
        if abs(lower * upper - 1) < _PRECISION:
            break
    return found


def _away(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
