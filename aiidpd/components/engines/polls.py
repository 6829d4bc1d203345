"""Load that our polls put on each engine: since the start, and a minute at present (pure)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from aiidpd.engines.figures import PollLoad

_WINDOW: Final = 300.0  # seconds over which a rate is meant
_SHORTEST: Final = 10.0  # seconds; over less there is no rate
_MOST: Final = 600  # samples of one engine


@dataclass(frozen=True, slots=True)
class PollRate:
    """Load a minute: requests, seconds that the engine took for them, and bytes of its answers."""

    requests: float
    seconds: float
    bytes: float


class EnginePolls:
    """Polls of one engine. ``interval`` is the present one, in seconds."""

    def __init__(self) -> None:
        self.interval: float | None = None
        self.requests = 0
        self.seconds = 0.0
        self.bytes = 0
        self._samples: deque[tuple[float, int, float, int]] = deque(maxlen=_MOST)

    def add(self, now: float, before: tuple[int, float, int], after: PollLoad) -> None:
        """Add what a source's load has grown by since ``before``."""
        if not self._samples:
            self._samples.append((now, 0, 0.0, 0))
        self.requests += after.requests - before[0]
        self.seconds += after.seconds - before[1]
        self.bytes += after.bytes - before[2]
        self._samples.append((now, self.requests, self.seconds, self.bytes))

    def rate(self, now: float) -> PollRate | None:
        """Return the load a minute over the last five; None where that is not known yet."""
        while len(self._samples) > 1 and self._samples[1][0] <= now - _WINDOW:
            self._samples.popleft()
        if not self._samples:
            return None
        began, requests, seconds, size = self._samples[0]
        elapsed = now - began
        if elapsed < _SHORTEST:
            return None
        minutes = elapsed / 60
        return PollRate(
            (self.requests - requests) / minutes,
            (self.seconds - seconds) / minutes,
            (self.bytes - size) / minutes,
        )


class Polls:
    """Polls of every engine, by its name; they outlive the task."""

    def __init__(self) -> None:
        self._by_name: dict[str, EnginePolls] = {}

    def of(self, name: str) -> EnginePolls:
        """Return those of the engine ``name``."""
        return self._by_name.setdefault(name, EnginePolls())

    def known(self, name: str) -> EnginePolls | None:
        """Return those of the engine ``name``, None where it was never polled."""
        return self._by_name.get(name)

    def forget(self, names: Iterable[str]) -> None:
        """Drop all but those of ``names``."""
        wanted = set(names)
        self._by_name = {name: each for name, each in self._by_name.items() if name in wanted}
