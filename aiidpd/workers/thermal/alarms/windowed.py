"""Sums and means over the last while, in few numbers (pure)."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from itertools import combinations

_PIECES = 60
_FEWEST = 4


@dataclass(frozen=True, slots=True)
class Sum:
    """A sum over a sliding window, in at most 61 pieces: right to a sixtieth of the window."""

    pieces: tuple[tuple[float, float], ...] = ()

    def add(self, now: float, amount: float, window: float) -> Sum:
        """Return the sum with ``amount`` more; what is older than ``window`` is dropped."""
        pieces = self.pieces
        if pieces and pieces[0][0] <= now - window:
            pieces = tuple(piece for piece in pieces if piece[0] > now - window)
        if not amount:
            return self if pieces is self.pieces else Sum(pieces)
        if pieces and now - pieces[-1][0] < window / _PIECES:
            start, before = pieces[-1]
            return Sum((*pieces[:-1], (start, before + amount)))
        return Sum((*pieces, (now, amount)))

    @property
    def total(self) -> float:
        """The sum."""
        return sum(amount for _, amount in self.pieces)


@dataclass(frozen=True, slots=True)
class Means:
    """The means of some figures over the last ``most`` stretches of ``width`` seconds each.

    ``done`` has (middle of the stretch, its means); what is not a full stretch yet is in the open sums.
    """

    width: float
    most: int
    done: tuple[tuple[float, tuple[float, ...]], ...] = ()
    start: float = 0.0
    count: int = 0
    sums: tuple[float, ...] = ()

    def add(self, now: float, *figures: float) -> Means:
        """Return the means with one reading of each figure more."""
        if self.count and now - self.start < self.width:
            sums = tuple(before + figure for before, figure in zip(self.sums, figures, strict=True))
            return Means(self.width, self.most, self.done, self.start, self.count + 1, sums)
        done = self.done
        if self.count:
            means = tuple(total / self.count for total in self.sums)
            done = (*done[-self.most + 1 :], (self.start + self.width / 2, means))
            if now - self.start > 3 * self.width:
                done = ()  # nobody knows what was in between
        return Means(self.width, self.most, done, now, 1, figures)

    def last(self, seconds: float) -> tuple[tuple[float, tuple[float, ...]], ...]:
        """Return the stretches of the last ``seconds``; none unless they are all there."""
        count = round(seconds / self.width)
        return self.done[-count:] if len(self.done) >= count else ()

    def slope(self, figure: int = 0) -> float | None:
        """Return by how much ``figure`` changes a second: the median over all pairs (Theil and Sen).

        Up to 29 % of the stretches may be wild without any effect. None with fewer than four.
        """
        if len(self.done) < _FEWEST:
            return None
        pairs = combinations(self.done, 2)
        return statistics.median((b[figure] - a[figure]) / (later - at) for (at, a), (later, b) in pairs)


def spread(values: list[float]) -> float:
    """Return the distance between the least and the largest of ``values``."""
    return max(values) - min(values)
