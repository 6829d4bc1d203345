"""Estimate of a shift once it is certain that there is one: size, confidence, onset, shape (pure)."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from aiidpd.components.bench.regression.baseline import Baseline, clipped
from aiidpd.components.bench.regression.scan import BOUNDS, deviations, residuals

Shape = Literal["step", "gradual"]
LEAST: Final = 3
"""Samples after an onset."""
_LIKELY: Final = 2.0  # onsets whose likelihood (logarithm) is less by no more than this are possible too
_GRADUAL: Final = 24  # samples over which a slope can be told from a step
_NORMAL_95: Final = 1.96
_NORMAL: Final = 1.4826  # from the median absolute deviation to the standard deviation of normal noise
_SURE: Final = 4.0  # logarithm of the likelihood by which a slope must explain more than a step


@dataclass(frozen=True, slots=True)
class Shift:
    """Shift of a figure against its baseline.

    ``ratio`` is the value now to the baseline, ``ratio_low`` and ``ratio_high`` are its 95 % confidence
    interval. ``confidence`` is 1 - p, where p is the probability of as large a deviation by chance in any of
    the windows that are scanned. ``onset`` (Unix seconds) is the first sample after it, or any from
    ``onset_from`` to ``onset_to``. A ``gradual`` shift grew over many samples, and its onset is where it is
    first seen.
    """

    ratio: float
    ratio_low: float
    ratio_high: float
    confidence: float
    onset: float
    onset_from: float
    onset_to: float
    shape: Shape


def find_shift(
    times: Sequence[float], logarithms: Sequence[float], sign: int, baseline: Baseline, least: int = LEAST
) -> Shift:
    """Return the shift that explains the samples best; it holds up to the newest.

    It began at least ``least`` samples ago. ``sign`` is 1 where more is better, else -1.
    """
    rest = residuals(logarithms, sign, baseline)
    found = deviations(rest, range(min(least, len(rest)), len(rest) + 1), baseline)
    best = max(found, key=lambda each: each.gain)
    possible = [each.samples for each in found if each.gain >= best.gain - _LIKELY]
    shift = Shift(
        ratio=1.0,
        ratio_low=1.0,
        ratio_high=1.0,
        confidence=0.0,
        onset=times[-best.samples],
        onset_from=times[-max(possible)],
        onset_to=times[-min(possible)],
        shape="gradual" if is_gradual(rest, baseline) else "step",
    )
    return measured(shift, logarithms[-best.samples :], baseline)


def measured(shift: Shift, logarithms: Sequence[float], baseline: Baseline) -> Shift:
    """Return ``shift`` with the size that it has by ``logarithms``, samples after its onset."""
    count = len(logarithms)
    centre = statistics.median(logarithms)
    spread = max(baseline.scale, _NORMAL * statistics.median(abs(each - centre) for each in logarithms))
    mean = centre + statistics.fmean(clipped(each - centre, 2 * spread) for each in logarithms)
    lasting = (1 + baseline.correlation) / (1 - baseline.correlation)
    error = math.sqrt(spread**2 * lasting / count + baseline.variance)
    size = mean - baseline.centre
    chance = math.erfc(abs(size) / error / math.sqrt(2)) / 2
    return replace(
        shift,
        ratio=math.exp(size),
        ratio_low=math.exp(size - _NORMAL_95 * error),
        ratio_high=math.exp(size + _NORMAL_95 * error),
        confidence=max(0.0, 1 - len(BOUNDS) * chance),
    )


def is_gradual(rest: Sequence[float], baseline: Baseline) -> bool:
    """Return whether a straight line from some sample on explains residuals better than the best step."""
    lasting = (1 + baseline.correlation) / (1 - baseline.correlation)
    step = line = total = weighted = 0.0
    for length, each in enumerate(reversed(rest), 1):
        # Weights are 1 for the oldest, then 2, 3, ...: one more sample at the beginning adds 1 to each.
        total += each
        weighted += total
        if length >= LEAST:
            step = max(step, total**2 / length)
        if length >= _GRADUAL:
            line = max(line, weighted**2 / (length * (length + 1) * (2 * length + 1) / 6))
    return (line - step) / (2 * baseline.scale**2 * lasting) > _SURE
