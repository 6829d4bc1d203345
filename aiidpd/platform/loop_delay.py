"""Delay of an event loop: by how much what is due in it comes later, held up by others."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

PERIOD: Final = 0.002  # seconds between two beats
GRAIN: Final = 0.0012  # seconds; the loop waits in whole milliseconds, so that less is no delay
_ROUNDS: Final = 3  # of the loop, from what can be read to its reading
_MOST: Final = 16_384  # beats remembered: the last half minute, in 2 MiB


class LoopDelay:
    """Beats in the running loop while :meth:`measured`, and notes how late each beat was.

    Where nothing was held up, what arrives is read within ``GRAIN``.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._due: float | None = None
        self._beats: deque[tuple[float, float]] = deque(maxlen=_MOST)  # when due, and when it was
        self._handle: asyncio.TimerHandle | None = None

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Forget what was, and beat until the block ends."""
        self._beats.clear()
        self._plan(asyncio.get_running_loop())
        try:
            yield
        finally:
            if self._handle is not None:
                self._handle.cancel()
            self._due = None

    def delays(self) -> list[float]:
        """Return how late the beats were, in seconds, ascending."""
        return sorted(max(0.0, actual - due) for due, actual in self._beats)

    def before_now(self, since: float) -> float:
        """Return for how many seconds what is read now may have waited, and not before ``since``; 0 for none.

        From an arrival to its reading the loop goes round a few times, and may have been held up at each.
        """
        now = self._monotonic()
        held_up = [] if self._due is None else [now - max(self._due, since)]
        recent = itertools.islice(reversed(self._beats), _ROUNDS)
        held_up += [actual - max(due, since) for due, actual in recent if actual > since]
        return sum(each for each in held_up if each > GRAIN)

    def _plan(self, loop: asyncio.AbstractEventLoop) -> None:
        self._due = self._monotonic() + PERIOD
        self._handle = loop.call_later(PERIOD, self._beat, loop)

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._due is not None:
            self._beats.append((self._due, self._monotonic()))
            self._plan(loop)
