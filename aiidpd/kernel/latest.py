"""Last thing read, for as long as it is true."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from aiidpd.kernel.clock import Clock
from aiidpd.kernel.reading import Reading

T = TypeVar("T")


class Latest(Generic[T]):
    """A cell that outlives its worker: a worker puts, the control API and a scrape read.

    A value older than ``max_age`` seconds is not shown: no data is neither zero nor the last value.
    ``changed`` is called after each value that was put.
    """

    def __init__(self, clock: Clock, max_age: float, *, changed: Callable[[], None] = lambda: None) -> None:
        self._clock = clock
        self.max_age = max_age
        self._changed = changed
        self._reading: Reading[T] | None = None

    def put(self, value: T) -> None:
        """Replace what is held with a value read now."""
        self._reading = Reading(value, self._clock.time(), self._clock.monotonic())
        self._changed()

    def clear(self) -> None:
        """Forget what is held: it is known to be no longer true."""
        self._reading = None

    def get(self) -> Reading[T] | None:
        """Return the reading, or None where there is none or it is too old."""
        reading = self._reading
        if reading is None or self._clock.monotonic() - reading.read > self.max_age:
            return None
        return reading
