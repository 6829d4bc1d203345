"""Day on which a file system is full, by a robust trend of its free space (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from statistics import median
from typing import Final

from aiidpd.components.models.record import SpaceSample

DAY_SECONDS: Final = 86400.0
FEWEST_DAYS: Final = 4
FEWEST_FALLS: Final = 3
MOST_DAYS: Final = 60
_REMARKABLE: Final = 0.05
"""Part of the largest fall from one day to the next, from which on another one counts."""
_HORIZON_DAYS: Final = 3650.0


@dataclass(frozen=True, slots=True)
class DiskTrend:
    """Trend of one file system.

    ``full_at`` is in Unix seconds, None where it is not known or not in sight: ``reason`` says which.
    ``growth_bytes_per_day`` is None where it is not known.
    """

    full_at: float | None
    growth_bytes_per_day: float | None
    reason: str


def with_sample(
    samples: Sequence[SpaceSample], now: float, free_bytes: int, total_bytes: int
) -> tuple[SpaceSample, ...]:
    """Return ``samples`` with today's in the place of an earlier one of today, bounded.

    Samples of another size of the file system, or of days that have not come yet, are left out.
    """
    today = int(now // DAY_SECONDS)
    earlier = [
        each for each in samples if today - MOST_DAYS < each.day < today and each.total_bytes == total_bytes
    ]
    return (*earlier, SpaceSample(today, free_bytes, total_bytes))


def trend(samples: Sequence[SpaceSample], now: float) -> DiskTrend:
    """Return the trend of ``samples``, one a day, by the median of the slopes of all pairs (Theil-Sen)."""
    if len(samples) < FEWEST_DAYS or samples[-1].day - samples[0].day < FEWEST_DAYS - 1:
        return DiskTrend(None, None, f"not known: it takes {FEWEST_DAYS} days of samples")
    slope = median(
        (b.free_bytes - a.free_bytes) / (b.day - a.day) for a, b in combinations(samples, 2) if b.day != a.day
    )
    if slope >= 0:
        return DiskTrend(None, -slope, "not in sight: free space does not shrink")
    falls = [a.free_bytes - b.free_bytes for a, b in pairwise(samples)]
    if sum(fall > _REMARKABLE * max(falls) for fall in falls) < FEWEST_FALLS:
        return DiskTrend(None, -slope, "not known: one or two large steps are no trend")
    days = samples[-1].free_bytes / -slope
    if days > _HORIZON_DAYS:
        return DiskTrend(None, -slope, "not in sight: not within ten years")
    return DiskTrend(now + days * DAY_SECONDS, -slope, "")
