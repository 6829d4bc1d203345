"""Rolling sums and means over a sliding window, in few numbers (pure)."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

_BUCKETS = 60
_FEWEST = 4


@dataclass(frozen=True, slots=True)
class RollingSum:
    """A sum over a sliding window, in at most 61 buckets: exact to a sixtieth of the window."""

    buckets: tuple[tuple[float, float], ...] = ()

    def add(self, now: float, amount: float, window: float) -> RollingSum:
        """Return the sum with ``amount`` more; what is older than ``window`` is dropped."""
        buckets = self.buckets
        if buckets and buckets[0][0] <= now - window:
            buckets = tuple(bucket for bucket in buckets if bucket[0] > now - window)
        if not amount:
            return self if buckets is self.buckets else RollingSum(buckets)
        if buckets and now - buckets[-1][0] < window / _BUCKETS:
            start, before = buckets[-1]
            return RollingSum((*buckets[:-1], (start, before + amount)))
        return RollingSum((*buckets, (now, amount)))

    @property
    def total(self) -> float:
        """Sum over the window, as of the last :meth:`add`."""
        return sum(amount for _, amount in self.buckets)


@dataclass(frozen=True, slots=True)
class BucketedMeans:
    """Means of some figures over the last ``most`` buckets of ``width`` seconds each.

    ``done`` has (middle of the bucket, its means); what is not a full bucket yet is in ``sums``.
    ``slopes`` remembers what :meth:`slope` found in ``done``, which stays for several readings.
    """

    width: float
    most: int
    done: tuple[tuple[float, tuple[float, ...]], ...] = ()
    start: float = 0.0
    count: int = 0
    sums: tuple[float, ...] = ()
    slopes: dict[int, float | None] = field(default_factory=dict, compare=False, repr=False)

    def add(self, now: float, *figures: float) -> BucketedMeans:
        """Return the means with one reading of each figure more."""
        if self.count and now - self.start < self.width:
            sums = tuple(before + figure for before, figure in zip(self.sums, figures, strict=True))
            return BucketedMeans(
                self.width, self.most, self.done, self.start, self.count + 1, sums, self.slopes
            )
        done = self.done
        if self.count:
            means = tuple(total / self.count for total in self.sums)
            done = (*done[-self.most + 1 :], (self.start + self.width / 2, means))
            if now - self.start > 3 * self.width:
                done = ()  # what was in between is not known
        return BucketedMeans(self.width, self.most, done, now, 1, figures)

    def last(self, seconds: float) -> tuple[tuple[float, tuple[float, ...]], ...]:
        """Return the buckets of the last ``seconds``; none unless they are all there."""
        count = round(seconds / self.width)
        return self.done[-count:] if len(self.done) >= count else ()

    @property
    def newest(self) -> float:
        """Seconds that the newest full bucket took: at least the width, more where readings are rare."""
        return self.start + self.width / 2 - self.done[-1][0] if self.done else 0.0

    def slope(self, buckets: int = 0) -> float | None:
        """Return by how much the first figure changes a second, over the last ``buckets`` (0: all).

        It is the median over all pairs (Theil and Sen): of the buckets 29 % may be wild without any
        effect. None where they are not all there, or fewer than four.
        """
        if buckets not in self.slopes:
            points = self.done[-buckets:]
            self.slopes[buckets] = slope(points) if len(points) >= max(_FEWEST, buckets) else None
        return self.slopes[buckets]


def slope(points: tuple[tuple[float, tuple[float, ...]], ...]) -> float:
    """Return the median slope of the first figure over all pairs of ``points``."""
    pairs = combinations(points, 2)
    return statistics.median((b[0] - a[0]) / (later - at) for (at, a), (later, b) in pairs)


def spread(values: Sequence[float]) -> float:
    """Return the distance between the least and the greatest of ``values``."""
    return max(values) - min(values)
