"""Events of a runtime as they come: a bounded queue, and the memory of what the stream brought."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterable
from math import inf
from typing import Final

import anyio

from aiidpd.components.containers.runtime import RuntimeEvent
from aiidpd.kernel.errors import Unavailable

_QUEUE: Final = 4096  # events; more than the engine itself remembers
_REMEMBERED: Final = 4096


class EventQueue:
    """A bounded queue of the events that came; ``ended`` is why the stream ended, once it has.

    ``lost``: it had no room for one. ``withheld`` counts the events that the runtime remembers and the stream
    did not bring.
    """

    def __init__(self) -> None:
        self.events: deque[RuntimeEvent] = deque(maxlen=_QUEUE)
        self.arrived = anyio.Event()
        self.ended: str | None = None
        self.lost = False
        self.withheld = 0
        self._brought: dict[RuntimeEvent, None] = {}

    async def follow(self, stream: AsyncIterator[RuntimeEvent]) -> None:
        """Append what ``stream`` brings until it ends."""
        # Nothing but appending happens here: an engine drops events for a listener that lags 100 ms.
        try:
            async for event in stream:
                self._append(event)
        except Unavailable as error:
            self.ended = str(error)
        else:
            self.ended = "the engine ended it"
        self.wake()

    def missing(self, events: Iterable[RuntimeEvent]) -> list[RuntimeEvent]:
        """Return those of ``events`` that the stream did not bring."""
        return [event for event in events if event not in self._brought]

    def bring(self, events: Iterable[RuntimeEvent]) -> None:
        """Append those of ``events`` that the stream did not bring yet."""
        for event in self.missing(events):
            self._append(event)

    def repair(self, events: Iterable[RuntimeEvent]) -> None:
        """Append ``events``, which the stream withheld."""
        for event in events:
            self.withheld += 1
            self._append(event)

    def wake(self) -> None:
        """Wake whoever waits for ``arrived``."""
        self.arrived.set()

    def take(self, until: float = inf) -> list[RuntimeEvent]:
        """Take the events up to ``until`` (Unix seconds), in the order of their times."""
        taken = sorted((event for event in self.events if event.time <= until), key=lambda event: event.time)
        self.events = deque((event for event in self.events if event.time > until), maxlen=_QUEUE)
        return taken

    def settle(self) -> None:
        """Wait anew in ``arrived``: what is in the queue has been seen."""
        self.arrived = anyio.Event()

    def _append(self, event: RuntimeEvent) -> None:
        self.lost = self.lost or len(self.events) == _QUEUE
        self.events.append(event)
        self._brought[event] = None
        if len(self._brought) > _REMEMBERED:
            del self._brought[next(iter(self._brought))]
        self.wake()
