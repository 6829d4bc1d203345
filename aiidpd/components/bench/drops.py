"""Measurements that are none: no failure of the endpoint, but nothing that may be called its speed (pure)."""

from __future__ import annotations

from enum import StrEnum


class Drop(StrEnum):
    """Labels of reasons for which a measurement does not count."""

    DISTURBED = "disturbed"
    """A user came, and the request was ended for that."""
    SHARED = "shared"
    """By the engine's counters others were served meanwhile."""
    CACHED = "cached"
    """The prompt came from a cache."""
    THROTTLED = "throttled"
    """A GPU was throttled, and bench.throttled is reject."""


class Dropped(Exception):
    """A measurement that does not count; the text is the reason."""

    def __init__(self, label: Drop, reason: str) -> None:
        self.label = label
        super().__init__(reason)
