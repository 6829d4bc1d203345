"""Budget and backoff of a container's heals (pure)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from aiidpd.components.containers.heal.policy import Budget
from aiidpd.components.containers.settings import HealSettings
from aiidpd.kernel.backoff import Backoff

JITTER: Final = 0.2


def within(stamps: Iterable[float], window: float, now: float) -> tuple[float, ...]:
    """Return those of ``stamps`` that lie at most ``window`` seconds before ``now``; none is after it.

    A stamp from a clock that was ahead counts as of now: a budget must not be forgotten for it.
    """
    return tuple(sorted(min(at, now) for at in stamps if now - at < window))


def left(budget: Budget, heals: Iterable[float], deaths: Iterable[float], now: float) -> int:
    """Return how many more heals or ends ``budget`` allows at ``now``."""
    used = len(within(heals, budget.window, now)) + len(within(deaths, budget.window, now))
    return max(0, budget.often - used)


def delay(heals: int, settings: HealSettings, uniform: float) -> float:
    """Return the seconds to wait after the last of so many ``heals`` within the window (at least 1)."""
    backoff = Backoff(initial=settings.backoff_initial, cap=settings.backoff_cap, jitter=JITTER)
    return backoff.delay(max(1, heals), uniform)
