"""Delays before a worker that ended is started again (pure)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Capped exponential backoff with jitter. All times in seconds.

    The delay before restart ``n`` (from 1, in a row) is ``initial * factor ** (n - 1)``, at most
    ``cap``, then spread by ``jitter`` (0.2 is plus or minus 20 %) so that workers that failed
    together do not come back together. A run of ``settled_after`` or longer ends the row.
    """

    initial: float = 0.5
    factor: float = 2.0
    cap: float = 60.0
    jitter: float = 0.2
    settled_after: float = 120.0

    def failures(self, failures: int, ran_for: float) -> int:
        """Return how many failures in a row a run of ``ran_for`` makes, after ``failures`` before it."""
        return 1 if ran_for >= self.settled_after else failures + 1

    def delay(self, failures: int, uniform: float) -> float:
        """Return the delay after ``failures`` in a row (at least 1); ``uniform`` is drawn from [0, 1)."""
        # The exponent is bounded: a float overflows near 2 ** 1024.
        base = min(self.cap, self.initial * self.factor ** min(failures - 1, 64))
        return base * (1 + self.jitter * (2 * uniform - 1))
