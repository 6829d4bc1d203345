"""Cumulative series of joules: the sum of all GPUs over the last quarter of an hour (pure)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import pairwise
from typing import Final

_MOST: Final = 3600  # points: a quarter of an hour at four readings a second


class CumulativeSeries:
    """A growing sum at points in time, as (Unix seconds, joules); begins with ``points``."""

    def __init__(self, points: Iterable[tuple[float, float]] = ()) -> None:
        self._points: deque[tuple[float, float]] = deque(points, maxlen=_MOST)

    @property
    def newest(self) -> float | None:
        """Time of the newest point, None where there is none."""
        return self._points[-1][0] if self._points else None

    def add(self, at: float, joules: float) -> bool:
        """Add ``joules`` up to ``at``; return False where the clock was set back: the series begins anew."""
        goes_on = not self._points or at > self._points[-1][0]
        if not goes_on:
            self._points.clear()  # nothing before can be compared
        self._points.append((at, (self._points[-1][1] if self._points else 0.0) + joules))
        return goes_on

    def clear(self) -> None:
        """Forget everything."""
        self._points.clear()

    def between(self, start: float, end: float) -> tuple[float, float] | None:
        """Return the joules from ``start`` to ``end`` and how far off that can be; None where it is unknown.

        Between two points it is interpolated. How far off: the energy between the points around each end.
        """
        if not start < end:
            return None
        first, last = self.at(start), self.at(end)
        if first is None or last is None:
            return None
        return last[0] - first[0], first[1] + last[1]

    def at(self, moment: float) -> tuple[float, float] | None:
        """Return the sum at ``moment``, and how much of the energy around it can lie on its other side."""
        for (after, above), (before, below) in pairwise(reversed(self._points)):
            if before <= moment <= after:
                ratio = (moment - before) / (after - before)
                cut = max(ratio, 1 - ratio) * (above - below) if 0 < ratio < 1 else 0.0
                return below + ratio * (above - below), cut
            if moment > after:
                return None
        return None
