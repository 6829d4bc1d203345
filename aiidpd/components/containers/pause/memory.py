"""What outlives a worker that pauses containers: what it holds, what it was asked, what it did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import anyio

from aiidpd.components.containers.pause.asks import BackOffRequest, BackOffRequests
from aiidpd.components.containers.pause.state import PauseState
from aiidpd.contracts.messages import BACK_OFF, BACK_OFF_ENDED
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.events import Event


class BackOffAsks:
    """Hears the asks on ``bus``, so that none is lost while a worker is replaced."""

    def __init__(self, bus: EventBus, clock: Clock) -> None:
        self._clock = clock
        self._asks = BackOffRequests()
        self.changed = anyio.Event()
        bus.attach(events=self._heard)

    def _heard(self, event: Event) -> None:
        if event.kind in (BACK_OFF, BACK_OFF_ENDED):
            self._asks = self._asks.hear(event, self._clock.monotonic())
            self.changed.set()

    def standing(self, *, simulated: bool) -> tuple[BackOffRequest, ...]:
        """Return the asks that hold now, to containers that are or are not ``simulated``."""
        return self._asks.standing(self._clock.monotonic(), simulated=simulated)


@dataclass(slots=True)
class PauseTally:
    """What was done over all runs, by the container's name."""

    pauses: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PauseView:
    """A container that is paused by us, since and until at most when in Unix seconds."""

    id: str
    name: str
    gpu: str
    reason: str
    since: float
    until: float


class PauseMemory:
    """The state, and what it looks like from outside."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.state = PauseState()
        self.tally = PauseTally()

    def holds(self, identity: str) -> bool:
        """Whether the container whose id begins with ``identity`` is paused by us, or may be."""
        return any(key.startswith(identity) for key, held in self.state.held.items() if held.asked)

    def standing(self) -> Iterator[PauseView]:
        """Yield the pauses that are known to hold."""
        offset = self._clock.time() - self._clock.monotonic()
        for held in self.state.held.values():
            if held.seen:
                pause = held.pause
                since, until = held.since + offset, held.until + offset
                yield PauseView(pause.id, pause.name, pause.gpu, pause.reason, since, until)
