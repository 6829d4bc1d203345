"""Thermal resistance: how far a GPU ought to be above its idle temperature, by what was learnt (pure).

Of a settled GPU two things are measured against each other: how far it is above a reference, and how far a
clean card would be. The reference is the GPU itself, idle, a while ago: the room's temperature is in both,
and falls out. What is left is heat over conductance, of the load less of the idle,

    rise = c * (power / (fan + s) - reference power / (reference fan + s)),

where the conductance grows in a line with the fan speed and ``s`` is what the heatsink is worth without fan.
``s`` distinguishes dust from air: a card that gathers dust turns its fans up, to speeds that it never used
while it was clean, and is compared there with what the other speeds lead to expect. It is fitted to what was
learnt in several bands of fan speed, and to how fast the card cooled at each speed when its load ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import inf, log

_STILLS = tuple(0.05 * 1.08**step for step in range(48))  # to 1.9
_LIKELY = 0.3  # what ``s`` is where a card was seen at one fan speed only
_PRIOR = 5e-4  # weight of differing from that: a misfit of 2 % in all bands
_NEAR = 0.05  # of fan speed: within it bands count for each other
_LOOSE = 0.2  # what a misfit in how a card cools is worth next to one in how warm it is
_FULL = 3600.0  # seconds: what was learnt for longer weighs no more


@dataclass(frozen=True, slots=True)
class Operation:
    """A GPU ``rise`` degrees above its reference, and at which powers (watts) and fan speeds (ratios).

    It has settled, or cools by ``rate`` degrees a second.
    """

    rise: float
    power: float
    fan: float
    reference_power: float = 0.0
    reference_fan: float = 0.0
    rate: float = 0.0

    def path(self, still: float) -> float:
        """Return what the rise is in proportion to, where a heatsink without its fan is worth ``still``."""
        return self.power / (self.fan + still) - self.reference_power / (self.reference_fan + still)

    def loss(self, still: float, slope: float) -> float:
        """Return what the rate is in proportion to, where the rise is ``slope`` times the path."""
        room = self.rise + slope * self.reference_power / (self.reference_fan + still)
        return (self.fan + still) * room - slope * self.power


@dataclass(frozen=True, slots=True)
class Baseline:
    """Baseline of one band of fan speed: the mean of the operations over ``seconds``."""

    usual: Operation
    seconds: float


def expect(
    bands: tuple[Baseline, ...], operation: Operation, cooling: tuple[Baseline, ...] = ()
) -> float | None:
    """Return the rise, in degrees, that ``operation`` would have on the card that ``bands`` describe.

    ``cooling`` has the bands in which that card cooled. None where nothing is known.
    """
    if not bands:
        return None
    still = fit(bands, cooling)
    path = operation.path(still)
    if path <= 0:
        return None
    total = weights = 0.0
    for base in bands:
        usual = base.usual.path(still)
        if usual > 0:
            weight = min(base.seconds, _FULL) / ((base.usual.fan - operation.fan) ** 2 + _NEAR**2)
            total += weight * base.usual.rise / usual
            weights += weight
    return path * total / weights if weights else None


@lru_cache(maxsize=64)  # the bands change a little with each bucket that is learnt, and later no more
def fit(bands: tuple[Baseline, ...], cooling: tuple[Baseline, ...] = ()) -> float:
    """Return what a heatsink without fan is worth in fan speed: what fits ``bands`` and ``cooling`` best."""
    return min(_STILLS, key=lambda still: _misfit(bands, cooling, still))


def _misfit(bands: tuple[Baseline, ...], cooling: tuple[Baseline, ...], still: float) -> float:
    slope, error = _line([(base.usual.path(still) / base.usual.rise, base.seconds) for base in bands])
    if slope <= 0:
        return inf
    prior = _PRIOR * log(still / _LIKELY) ** 2
    if not cooling:
        return error + prior
    speed, off = _line([(base.usual.loss(still, slope) / base.usual.rate, base.seconds) for base in cooling])
    return error + prior + _LOOSE * off if speed > 0 else inf


def _line(shares: list[tuple[float, float]]) -> tuple[float, float]:
    """Return the factor that brings each share nearest to 1, and the mean square of what is missing then.

    The shares come with the seconds for which they were learnt. (0, infinity) where one is not positive.
    """
    if min(share for share, _ in shares) <= 0:
        return 0.0, inf
    known = [(share, min(seconds, _FULL)) for share, seconds in shares]
    factor = sum(weight * share for share, weight in known) / sum(
        weight * share**2 for share, weight in known
    )
    missing = sum(weight * (1 - factor * share) ** 2 for share, weight in known)
    return factor, missing / sum(weight for _, weight in known)
