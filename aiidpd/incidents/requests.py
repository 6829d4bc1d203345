"""How many requests ran and waited over the last minutes, by endpoint (pure)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

COLUMNS: Final = ("time", "endpoint", "requests_running", "requests_waiting")
"""The columns of what an incident keeps of it."""

_MOST: Final = 4096  # looks, of all endpoints together


@dataclass(frozen=True, slots=True)
class RequestCount:
    """One look at an endpoint's engine, in monotonic seconds; None is what it did not tell."""

    endpoint: str
    at: float
    running: int | None
    waiting: int | None


class RequestTrack:
    """The looks of the last ``keep`` seconds, in memory that is bounded."""

    def __init__(self, keep: float) -> None:
        self._keep = keep
        self._looks: deque[RequestCount] = deque(maxlen=_MOST)
        self._last: dict[str, float] = {}

    def add(self, counts: Iterable[RequestCount]) -> list[RequestCount]:
        """Take the last look at each endpoint; return those that are new."""
        known = list(counts)
        fresh = [each for each in known if each.at > self._last.get(each.endpoint, float("-inf"))]
        self._looks.extend(fresh)
        self._last = {each.endpoint: each.at for each in known}
        if fresh:
            oldest = max(each.at for each in fresh) - self._keep
            while self._looks[0].at < oldest:
                self._looks.popleft()
        return fresh

    def since(self, at: float) -> list[RequestCount]:
        """Return the looks from ``at`` (monotonic seconds) on, the oldest first."""
        return [each for each in self._looks if each.at >= at]


def rows(looks: Iterable[RequestCount], offset: float) -> list[list[Any]]:
    """Return ``looks`` as rows of :data:`COLUMNS`; ``offset`` added to their seconds gives Unix seconds."""
    return [[each.at + offset, each.endpoint, each.running, each.waiting] for each in looks]
