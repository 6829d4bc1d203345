"""Policy of retention: how many snapshots are kept, and how large they may be together (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class RetentionPolicy(Protocol):
    """Policy as the decision reads it; the table ``[backup.retention]`` is one, ``max_size`` in bytes."""

    @property
    def keep_last(self) -> int:
        """Newest snapshots that are kept."""

    @property
    def keep_daily(self) -> int:
        """Newest days of which the last snapshot is kept."""

    @property
    def keep_weekly(self) -> int:
        """Newest ISO weeks of which the last snapshot is kept."""

    @property
    def keep_monthly(self) -> int:
        """Newest months of which the last snapshot is kept."""

    @property
    def max_size(self) -> int:
        """Bytes of all contents together, each counted once; 0: no bound."""

    @property
    def pins(self) -> tuple[str, ...]:
        """Snapshots that are always kept, by their ids."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Policy that travels to the process; see :class:`RetentionPolicy`. The default removes nothing."""

    keep_last: int = 0
    keep_daily: int = 0
    keep_weekly: int = 0
    keep_monthly: int = 0
    max_size: int = 0
    pins: tuple[str, ...] = ()


def policy_of(policy: RetentionPolicy) -> Policy:
    """Return ``policy`` for the way to the process."""
    return Policy(
        policy.keep_last,
        policy.keep_daily,
        policy.keep_weekly,
        policy.keep_monthly,
        policy.max_size,
        policy.pins,
    )
