"""Draws of chance that a seed decides (pure): the same for the same names, in whatever order they are drawn.

So what a user requests does not depend on how fast the others are answered, nor on the process that it is in.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import TypeVar

T = TypeVar("T")

_NORMAL = NormalDist()
_BITS = 53


class Draws:
    """Source of draws; two with one seed are the same."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def data(self, *names: object) -> bytes:
        """Return 32 bytes."""
        return hashlib.sha256("/".join(map(str, (self.seed, *names))).encode()).digest()

    def unit(self, *names: object) -> float:
        """Return a number above 0 and below 1, each as likely."""
        whole = int.from_bytes(self.data(*names)[:7], "big") >> (56 - _BITS)
        return (whole + 0.5) / float(1 << _BITS)

    def between(self, least: float, most: float, *names: object) -> float:
        """Return a number in this range, each as likely."""
        return least + (most - least) * self.unit(*names)

    def exponential(self, mean: float, *names: object) -> float:
        """Return a time to the next of events that come independently, on average after ``mean``."""
        return -mean * math.log(self.unit(*names))

    def weighted(self, choices: Sequence[tuple[T, float]], *names: object) -> T:
        """Return one of ``choices``, each as often as its weight says."""
        place = self.unit(*names) * sum(weight for _, weight in choices)
        for choice, weight in choices:
            place -= weight
            if place < 0:
                return choice
        return choices[-1][0]


def normal_quantile(unit: float) -> float:
    """Return the value that a standard normal draw exceeds with the probability 1 - ``unit``."""
    return float(_NORMAL.inv_cdf(unit))
