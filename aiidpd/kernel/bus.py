"""Event bus: events and samples from whoever publishes to all who subscribed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Self

import anyio

from aiidpd.kernel.events import Event, Sample


class Subscription:
    """A bounded queue of the events published since it was made; use it as a context manager.

    A reader that is too slow loses the oldest events, never the publisher's time; ``missed``
    counts what it lost.
    """

    def __init__(self, limit: int, leave: Callable[[Subscription], None]) -> None:
        self._queue: deque[Event] = deque(maxlen=limit)
        self._arrived = anyio.Event()
        self._leave = leave
        self.missed = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._leave(self)

    def offer(self, event: Event) -> None:
        """Append ``event`` (called by the bus)."""
        if len(self._queue) == self._queue.maxlen:
            self.missed += 1
        self._queue.append(event)
        self._arrived.set()

    async def next(self) -> Event:
        """Return the oldest event not yet read; wait for one where there is none."""
        while not self._queue:
            self._arrived = anyio.Event()
            await self._arrived.wait()
        return self._queue.popleft()


class EventBus:
    """Hands each event and sample to everyone who listens. Publishing never waits and never fails.

    Sinks are called at once, in order (the log, the history's queue); subscriptions queue.
    """

    def __init__(self, last_id: int = 0) -> None:
        self._last_id = last_id
        self._subscriptions: list[Subscription] = []
        self._event_sinks: list[Callable[[Event], None]] = []
        self._sample_sinks: list[Callable[[Sample], None]] = []

    def attach(
        self,
        *,
        events: Callable[[Event], None] | None = None,
        samples: Callable[[Sample], None] | None = None,
    ) -> None:
        """Call ``events`` and ``samples`` for everything published from now on; they must not block."""
        if events is not None:
            self._event_sinks.append(events)
        if samples is not None:
            self._sample_sinks.append(samples)

    def publish(self, event: Event) -> Event:
        """Number ``event``, hand it to every sink and subscription, and return it with its number."""
        self._last_id += 1
        event = replace(event, id=self._last_id)
        for sink in self._event_sinks:
            sink(event)
        for subscription in tuple(self._subscriptions):
            subscription.offer(event)
        return event

    def sample(self, sample: Sample) -> None:
        """Hand ``sample`` to every sample sink."""
        for sink in self._sample_sinks:
            sink(sample)

    def subscribe(self, limit: int = 1024) -> Subscription:
        """Return a subscription that holds at most ``limit`` unread events."""
        subscription = Subscription(limit, self._subscriptions.remove)
        self._subscriptions.append(subscription)
        return subscription

    @property
    def subscribers(self) -> int:
        """Number of open subscriptions."""
        return len(self._subscriptions)
