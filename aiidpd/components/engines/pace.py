"""Time between two polls of an engine, by how it answers (pure)."""

from __future__ import annotations

from typing import Final

LONGEST: Final = 60.0
"""Seconds: no engine is polled more rarely, however slow it is."""
_SHARE: Final = 20.0  # of the time at most one part in so many is spent with a poll of ours


def next_interval(interval: float, before: float, seconds: float, *, busy: bool) -> float:
    """Return the seconds to the next poll, after one that took ``seconds``; ``before`` is the last interval.

    ``busy``: the engine answered that it has too much to do.
    """
    wanted = max(interval, _SHARE * seconds, 2 * before if busy else 0.0)
    return min(wanted, max(interval, LONGEST))
