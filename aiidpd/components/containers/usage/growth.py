"""Memory that only grows, and when it will be used up (pure).

Of each quarter of an hour the lowest figure counts, so that memory which comes and goes has a level floor.
The slope is the median of those between all pairs (Theil and Sen), which single outliers don't move.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from statistics import median
from typing import Final

BUCKET_SECONDS: Final = 900.0
MOST_BUCKETS: Final = 96
"""A day."""
FEWEST_BUCKETS: Final = 16
"""Four hours: before, nothing is said."""
WARM_UP_SECONDS: Final = 1800.0
"""What a run reads in its first half hour is loading and warming up."""
GROWING_SHARE: Final = 0.9
"""Share of pairs that must rise, so that it only grows."""
LEAST_GROWTH_BYTES: Final = 64 << 20
LEAST_GROWTH_SHARE: Final = 0.02
CLEAR_FACTOR: Final = 1.5
"""A warning ends when what is left lasts for so many times the horizon."""


@dataclass(frozen=True, slots=True)
class Trend:
    """Floor of the memory of one run of a container, by quarters of an hour; times in monotonic seconds."""

    run: float | None
    """Start of the run (Unix seconds)."""
    began: float
    """Monotonic second of its start."""
    floors: tuple[tuple[float, int], ...] = ()
    bucket: tuple[float, int] | None = None
    """Beginning of the present quarter of an hour, and its lowest figure so far."""
    slope: float | None = None
    """Bytes a second by the floors so far, where they only grow."""
    warned: bool = False


@dataclass(frozen=True, slots=True)
class Exhaustion:
    """Memory that will be used up in ``seconds``. ``bound``: by the container's limit, or by the host's."""

    seconds: float
    bytes_per_hour: float
    used_bytes: int
    left_bytes: int
    bound: str


def begin(run: float | None, now: float, age_seconds: float) -> Trend:
    """Return the trend of a run that is first read at ``now``, ``age_seconds`` after its start."""
    return Trend(run, now - max(0.0, age_seconds))


def step(before: Trend, used_bytes: int, now: float) -> Trend:
    """Return the trend after a reading of ``used_bytes`` at ``now``."""
    if now - before.began < WARM_UP_SECONDS:
        return before
    if before.bucket is None:
        return replace(before, bucket=(now, used_bytes))
    start, lowest = before.bucket
    if now - start < BUCKET_SECONDS:
        return before if used_bytes >= lowest else replace(before, bucket=(start, used_bytes))
    floors = (*before.floors, (start, lowest))[-MOST_BUCKETS:]
    return replace(before, floors=floors, bucket=(now, used_bytes), slope=_slope(floors))


def exhaustion(
    trend: Trend,
    used_bytes: int,
    *,
    limit_bytes: int | None,
    host_left_bytes: int | None,
    horizon_seconds: float,
) -> Exhaustion | None:
    """Return when memory that only grows reaches its bound, where that is within the horizon, else None."""
    if trend.slope is None or trend.slope <= 0 or horizon_seconds <= 0:
        return None
    bounds = []
    if limit_bytes is not None:
        bounds.append((max(0, limit_bytes - used_bytes), "its limit"))
    if host_left_bytes is not None:
        bounds.append((max(0, host_left_bytes), "the host's memory"))
    if not bounds:
        return None
    left, bound = min(bounds)
    seconds = left / trend.slope
    if seconds > horizon_seconds * (CLEAR_FACTOR if trend.warned else 1.0):
        return None
    return Exhaustion(seconds, trend.slope * 3600, used_bytes, left, bound)


def warned(trend: Trend, found: Exhaustion | None) -> Trend:
    """Return the trend, with whether a warning about it is active."""
    return trend if trend.warned == (found is not None) else replace(trend, warned=found is not None)


def _slope(floors: tuple[tuple[float, int], ...]) -> float | None:
    """Return the slope of ``floors`` where they only grow, and still do, else None."""
    if len(floors) < FEWEST_BUCKETS:
        return None
    late = floors[-(len(floors) // 3) :]
    if _rising(floors) < GROWING_SHARE or _rising(late) < GROWING_SHARE:
        return None
    grown = floors[-1][1] - floors[0][1]
    if grown < max(LEAST_GROWTH_BYTES, LEAST_GROWTH_SHARE * floors[0][1]):
        return None
    # The slower of both: what fills a cache grows less and less.
    return min(_theil_sen(floors), _theil_sen(late))


def _rising(floors: tuple[tuple[float, int], ...]) -> float:
    pairs = [later[1] > earlier[1] for earlier, later in combinations(floors, 2)]
    return sum(pairs) / len(pairs)


def _theil_sen(floors: tuple[tuple[float, int], ...]) -> float:
    return median((b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(floors, 2))
