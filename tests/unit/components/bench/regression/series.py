"""Series of a figure with a shift in them, the same on every machine."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

from bench.regression import INTERVAL, NOISES, USUAL

BEFORE = 200
AFTER = 12


def shifted(
    name: str, seed: int, factor: float, *, before: int = BEFORE, after: int = AFTER, noise: float = 0.02
) -> list[float]:
    """Return ``before`` values with the noise ``name``, then ``after`` that are ``factor`` times as large."""
    source, value, found = random.Random(f"{name} {seed} {factor}"), 0.0, []
    for place in range(before + after):
        value = NOISES[name](source, value)
        found.append(USUAL * (factor if place >= before else 1.0) * math.exp(noise * value))
    return found


def timed(values: list[float], start: float = 0.0) -> Iterator[tuple[float, float]]:
    """Yield ``values`` with the time of each."""
    for place, value in enumerate(values):
        yield start + place * INTERVAL, value
