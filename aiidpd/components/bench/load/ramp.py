"""Ramp: a level of load after another until more load gives no more, or breaks a limit (pure).

A level is a number of users, or requests a second. It doubles from one to the next; behind the knee one level
more is measured between the best and the first that was worse.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

GAIN: Final = 0.05
"""Share by which twice the load has to give more output at least."""
GOOD_SHARE: Final = 0.9
"""Share of the requests that have to be within the limits, and answered at all."""
_CLOSE: Final = 1.5  # ratio of two levels between which none is measured


@dataclass(frozen=True, slots=True)
class Level:
    """Level of load, and what came of it.

    ``output`` is in tokens a second. ``answered`` is the share of the requests that were answered, ``good``
    that of those that kept the limits. ``saturated`` is why it was too much, ``invalid`` why the client did
    not send what it should.
    """

    load: float
    output: float
    good: float = 1.0
    answered: float = 1.0
    ttft_p95: float | None = None
    saturated: str = ""
    invalid: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a ramp: levels from ``first`` to ``most``; ``whole``: they are whole numbers."""

    first: float
    most: float
    whole: bool = True
    limited: bool = False
    """Limits of latency were given, so that requests beyond them count as bad."""


@dataclass(frozen=True, slots=True)
class Knee:
    """Level up to which more load gives more, and why not beyond; ``load`` is None where there is none."""

    load: float | None
    reason: str


def step(levels: Sequence[Level], limits: Limits) -> float | Knee:
    """Return the level to measure next, or the knee where there is nothing more to measure."""
    if not levels:
        return limits.first
    ordered = sorted(levels, key=lambda each: each.load)
    bad = next((place for place, _ in enumerate(ordered) if broken(ordered, place, limits)), None)
    if bad is None:
        last = ordered[-1].load
        if last < limits.most:
            return _whole(min(limits.most, 2 * last), limits)
        return Knee(
            last, f"{limits.most:g} is the most that was allowed, and more load gave more until there"
        )
    why = broken(ordered, bad, limits)
    if bad == 0:
        return Knee(None, why)
    good, worse = ordered[bad - 1].load, ordered[bad].load
    between = _whole(math.sqrt(good * worse), limits)
    # One level between them is enough: noise is not far from what is left then.
    if worse / good > _CLOSE and good < between < worse and not ordered[bad].invalid:
        return between
    return Knee(good, f"at {worse:g} {why}")


def broken(ordered: Sequence[Level], place: int, limits: Limits) -> str:
    """Return why the level at ``place`` of ``ordered`` is beyond the knee, empty where it is not."""
    level = ordered[place]
    reasons = (
        level.invalid and f"the client could not keep up: {level.invalid}",
        level.saturated,
        level.answered < GOOD_SHARE and f"{100 * (1 - level.answered):.0f} % of the requests failed",
        limits.limited
        and level.good < GOOD_SHARE
        and f"{100 * level.good:.0f} % of the requests were within the limits",
        place > 0 and _gains_nothing(ordered[place - 1], level),
    )
    return next((each for each in reasons if each), "")


def _gains_nothing(before: Level, level: Level) -> str:
    # Between two levels that are nearer than a doubling, less has to be gained.
    wanted = GAIN * math.log2(level.load / before.load)
    if level.output >= before.output * (1 + wanted):
        return ""
    return (
        f"output was {level.output:.4g} tok/s after {before.output:.4g} at {before.load:g}: "
        f"less than {100 * wanted:.1f} % more"
    )


def _whole(load: float, limits: Limits) -> float:
    return float(max(1, round(load))) if limits.whole else load
