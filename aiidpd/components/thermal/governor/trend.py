"""Trend of a noisy, rounded temperature: a Kalman filter, its forecast and the error of that (pure)."""

from __future__ import annotations

import math
from typing import NamedTuple

_ROUNDED = 0.3  # the least variance that is believed: whole degrees have 1/12, but all of it in jumps
_MEMORY = 60  # samples over which the noise is learned
_FIRST_GUESS = 3  # samples that the first guess of the noise weighs as much as
_UNKNOWN_RATE = 0.25  # the variance of a rate before the second sample
_WANDER = 0.0015  # by how much the variance of the rate grows a second: what a fan or a load may do to it


class TrendForecast(NamedTuple):
    """``now`` is the fitted value, ``rate`` its change a second, ``later`` the value after the horizon.

    ``error`` is the standard error of ``later``.
    """

    now: float
    rate: float
    later: float
    error: float


class Trend(NamedTuple):
    """State of a Kalman filter for a value and its rate of change: each sample moves both a little.

    The less noise, the more a sample counts: rounded whole degrees are followed within 2 s, noise of
    2 degrees within about 5. ``at`` is the monotonic second of the last sample, and ``value``, ``rate`` hold
    then; the next three are their variances and what they have in common. ``noise`` is the variance of
    a sample. It is learned from second differences, which a steady rise leaves at zero.
    Source: the constant velocity model with white acceleration, as any textbook on tracking has it.
    """

    at: float = -math.inf
    value: float = 0.0
    rate: float = 0.0
    value_variance: float = 0.0
    rate_variance: float = _UNKNOWN_RATE
    covariance: float = 0.0
    noise: float = _ROUNDED
    learned: int = 0
    last: tuple[float, float] | None = None

    def add(self, at: float, sample: float) -> Trend:
        """Return the trend with one sample more."""
        noise, learned, last = self.noise, self.learned, self.last
        if last is None:
            return Trend(
                at, sample, noise=noise, value_variance=noise, learned=learned, last=(sample, sample)
            )
        learned = min(learned + 1, _MEMORY)
        bend = sample - 2 * last[1] + last[0]
        noise = max(_ROUNDED, noise + (bend * bend / 6 - noise) / (learned + _FIRST_GUESS))
        elapsed = max(0.0, at - self.at)
        common, moves = self.covariance, self.rate_variance
        spread = self.value_variance + elapsed * (2 * common + elapsed * (moves + _WANDER * elapsed / 3))
        common += elapsed * (moves + _WANDER * elapsed / 2)
        moves += _WANDER * elapsed
        ahead = self.value + self.rate * elapsed
        surprise, gain, pull = sample - ahead, spread / (spread + noise), common / (spread + noise)
        return Trend(
            at,
            ahead + gain * surprise,
            self.rate + pull * surprise,
            (1 - gain) * spread,
            moves - pull * common,
            (1 - gain) * common,
            noise,
            learned,
            (last[1], sample),
        )

    def turned(self, by: float, error: float) -> Trend:
        """Return the trend after something changed its rate by ``by``, give or take ``error``."""
        return self._replace(rate=self.rate + by, rate_variance=self.rate_variance + error * error)

    def forecast(self, horizon: float) -> TrendForecast:
        """Return what is expected ``horizon`` seconds after the last sample."""
        variance = self.value_variance + horizon * (2 * self.covariance + horizon * self.rate_variance)
        return TrendForecast(
            self.value, self.rate, self.value + self.rate * horizon, math.sqrt(max(0.0, variance))
        )
