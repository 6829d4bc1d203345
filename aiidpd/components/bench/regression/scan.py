"""Scan of the newest samples for a lasting deviation from the baseline (pure).

For each of a few windows that end with the newest sample, the deviation is estimated that a step at its
beginning would explain best, for noise of which a part lasts from one sample to the next (generalised least
squares for an autoregressive process of first order): a window-limited generalised likelihood ratio. Each
sample counts for a few standard deviations at most.

The bounds were found by simulation (``python -m bench.regression``): one false alarm in a month of probes
every 15 minutes, whichever noise of three it is, and a shift of 2.5 standard deviations found within six.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from aiidpd.components.bench.regression.baseline import Baseline, clipped

BOUNDS: Final = MappingProxyType({3: 4.8, 4: 4.3, 5: 3.9, 6: 3.35, 8: 3.8, 12: 4.0, 24: 4.2, 48: 4.4})
"""Standard deviations that the estimate of a window must be off, by the samples in it."""
LONGEST: Final = max(BOUNDS)
SMALLEST: Final = 0.03
"""Deviation (of the logarithm) below which nothing is reported, however sure it is."""
_CLIP: Final = 4.0  # standard deviations that one sample counts for at most
_LEAST: Final = 3  # samples without which there is no alarm: one outlier is none, and two are none
_WITHOUT_WORST: Final = 0.75  # share of the bound that the samples but the worst must be off
_YOUNG: Final = 4.0  # by how much bounds are wider while a baseline is of few samples: this much for one


@dataclass(frozen=True, slots=True)
class Deviation:
    """Mean deviation (of the logarithm, below 0 is worse) of the newest ``samples``, and its standard error.

    ``gain`` is how much more likely the samples are by a step at the window's beginning than without it, as
    a logarithm.
    """

    samples: int
    mean: float
    error: float
    gain: float

    @property
    def score(self) -> float:
        """Deviation in standard errors."""
        return self.mean / self.error


def residuals(logarithms: Sequence[float], sign: int, baseline: Baseline) -> list[float]:
    """Return the deviations from ``baseline``, below 0 where they are worse, clipped.

    ``sign`` is 1 for a figure of which more is better, else -1.
    """
    bound = max(_CLIP * baseline.scale, 2 * SMALLEST)
    return [clipped(sign * (each - baseline.centre), bound) for each in logarithms]


def deviation(rest: Sequence[float], sums: Sequence[float], samples: int, baseline: Baseline) -> Deviation:
    """Return that of the newest ``samples`` of ``rest``; ``sums`` are its partial sums, from 0 on."""
    lasting = baseline.correlation
    start = len(rest) - samples
    whole = sums[-1] - sums[start]
    first = rest[start]
    begins = first - lasting * rest[start - 1] if start else first
    follow = (whole - first) - lasting * (whole - rest[-1])
    fresh = 1 - lasting
    information = 1 + (samples - 1) * fresh**2
    mean = (begins + fresh * follow) / information
    variance = baseline.scale**2 * (1 - lasting**2) / information
    return Deviation(samples, mean, math.sqrt(variance + baseline.variance), mean**2 / (2 * variance))


def deviations(rest: Sequence[float], windows: Sequence[int], baseline: Baseline) -> list[Deviation]:
    """Return that of each of the ``windows`` for which there are enough samples."""
    sums = [0.0, *itertools.accumulate(rest)]
    return [deviation(rest, sums, each, baseline) for each in windows if each <= len(rest)]


def threshold(samples: int, error: float, baseline: Baseline, extra: float = 0.0) -> float:
    """Return the deviation from which on a window of ``samples`` counts."""
    bound = (BOUNDS[samples] + extra) * (1 + _YOUNG / baseline.count)
    return max(SMALLEST, bound * error)


def worse(rest: Sequence[float], baseline: Baseline, extra: float = 0.0) -> bool:
    """Return whether the newest of ``rest`` have been worse than ``baseline`` for a while.

    Most samples of a window must be, no fewer than three, and the rest without the worst. ``extra`` standard
    errors are added to the bounds.
    """
    for each in deviations(rest, tuple(BOUNDS), baseline):
        bound = threshold(each.samples, each.error, baseline, extra)
        if each.mean < -bound and _lasts(rest[-each.samples :], bound):
            return True
    return False


def _lasts(window: Sequence[float], bound: float) -> bool:
    """Return whether most samples of ``window`` are worse, and all but the worst of them as a whole."""
    beyond = sum(each < -bound / 2 for each in window)
    others = (math.fsum(window) - min(window)) / (len(window) - 1)
    return beyond >= max(_LEAST, len(window) // 2 + 1) and others < -_WITHOUT_WORST * bound
