"""Lengths of prompts and answers, in tokens (pure)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from aiidpd.components.bench.load.draws import normal_quantile


@dataclass(frozen=True, slots=True)
class Lengths:
    """Log-normal lengths: half are above ``median``; ``spread`` is the standard deviation of their logarithm.

    They are cut at ``least`` and ``most``. A spread of 0 is one length.
    """

    median: float
    spread: float = 0.0
    least: int = 1
    most: int = 1_000_000

    @classmethod
    def by_mean(cls, mean: float, spread: float, least: int, most: int) -> Lengths:
        """Return lengths of this mean, before they are cut."""
        return cls(mean * math.exp(-(spread**2) / 2), spread, least, most)

    def at(self, unit: float) -> int:
        """Return the length below which a share ``unit`` of all are."""
        if not self.spread:
            return min(max(round(self.median), self.least), self.most)
        exponent = self.spread * normal_quantile(unit)
        return min(max(round(self.median * math.exp(exponent)), self.least), self.most)

    def __str__(self) -> str:
        if not self.spread:
            return f"{self.at(0.5)}"
        return f"{self.at(0.5)} ({self.at(0.1)} to {self.at(0.9)})"
