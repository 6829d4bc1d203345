"""Where a noisy, rounded temperature is heading, and how sure that is (pure)."""

from __future__ import annotations

import math
from dataclasses import dataclass

_ROUNDED = 1 / 12  # the variance of a figure that is given in whole degrees
_MEMORY = 60  # samples over which the noise is learned
_FEWEST = 3  # samples that a slope needs


@dataclass(frozen=True, slots=True)
class Forecast:
    """``now`` is the fitted value, ``rate`` its change a second, ``later`` the value after the horizon.

    ``error`` is the standard error of ``later``.
    """

    now: float
    rate: float
    later: float
    error: float


@dataclass(frozen=True, slots=True)
class Trend:
    """The samples of the last ``window`` seconds as (monotonic second, value), and the noise on them.

    The noise is learned from second differences, which a steady rise leaves at zero, and it outlives
    :meth:`restarted`: so a few samples that lie on a line by chance are not mistaken for a sure rise.
    """

    samples: tuple[tuple[float, float], ...] = ()
    variance: float = _ROUNDED
    learned: int = 0

    def add(self, at: float, value: float, window: float) -> Trend:
        """Return the trend with one sample more."""
        variance, learned = self.variance, self.learned
        if len(self.samples) >= _FEWEST - 1:
            bend = value - 2 * self.samples[-1][1] + self.samples[-2][1]
            learned = min(learned + 1, _MEMORY)
            # The first guess weighs as much as a few samples, so that one odd difference isn't all we know.
            variance += (bend * bend / 6 - variance) / (learned + _FEWEST)
        kept = tuple(sample for sample in self.samples if sample[0] > at - window)
        return Trend((*kept, (at, value)), variance, learned)

    def restarted(self) -> Trend:
        """Return a trend without samples: what drives the temperature has changed."""
        return Trend((), self.variance, self.learned)

    @property
    def highest(self) -> float:
        """The highest sample; minus infinity where there is none."""
        return max((value for _, value in self.samples), default=-math.inf)

    def span(self, now: float) -> float:
        """Return how many seconds the samples reach back from ``now``."""
        return now - self.samples[0][0] if self.samples else 0.0

    def forecast(self, horizon: float) -> Forecast:
        """Return the straight line through the samples, ``horizon`` seconds on; at least one is needed.

        With fewer than three, or with all at one moment, the last value stands and its rate is zero.
        """
        last, latest = self.samples[-1]
        noise = math.sqrt(max(self.variance, _ROUNDED))
        count = len(self.samples)
        # Reckoned from the last sample, so that the sums stay small and exact enough.
        ats = values = squares = products = 0.0
        for at, value in self.samples:
            ago, gain = at - last, value - latest
            ats += ago
            values += gain
            squares += ago * ago
            products += ago * gain
        spread = squares - ats * ats / count
        if count < _FEWEST or spread <= 0:
            return Forecast(latest, 0.0, latest, noise)
        rate = (products - ats * values / count) / spread
        mean, ahead = latest + values / count, horizon - ats / count
        error = noise * math.sqrt(1 / count + ahead * ahead / spread)
        return Forecast(mean - rate * ats / count, rate, mean + rate * ahead, error)
