"""A witness to the event stream, by which a stalled stream and a silent runtime show within five seconds.

An endless answer that brings nothing looks the same whether nothing happens or it is stalled. So every 1.5
seconds the events that the runtime itself remembers of the last moments are read, as an answer that ends, on
a connection of its own. An event in it that the stream did not bring within a second proves a loss or a
stall; it is not lost, since it is in that answer. No answer within 1.5 seconds, twice in a row, is a runtime
that is silent, be it stopped, stuck or gone.

Why not an event of our own that must come back? Each that Docker's API offers (a tag, a volume, an update, a
command inside of a container) changes something, shows to everybody who follows events, uses up the
runtime's memory of 256 events, and needs rights to write. To read changes nothing. What it can't show is a
stream that stalls while nothing happens, by which nothing is lost: it shows with the first event that the
stream withholds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import anyio

from aiidpd.components.containers.runtime import ContainerRuntime
from aiidpd.components.containers.stream import EventQueue
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.errors import NotInstalled, Unavailable

INTERVAL: Final = 1.5  # seconds
DEADLINE: Final = 1.5
_MISSES: Final = 2
_GRACE: Final = 1.0  # seconds that the stream may take to bring an event
_AGAIN: Final = 0.1  # seconds until what seems missing, or silent, is looked at again


class Canary:
    """Reads through ``runtime`` what the stream of ``queue`` should have brought.

    ``silent`` is why the runtime does not answer, None while it does. ``changed(silent)`` is called with each
    change of it.
    """

    def __init__(
        self, runtime: ContainerRuntime, clock: Clock, changed: Callable[[Unavailable | None], None]
    ) -> None:
        self.silent: Unavailable | None = None
        self.answered = anyio.Event()
        """Set by the first answer after none came; whoever has seen it replaces it."""
        self._runtime = runtime
        self._clock = clock
        self._changed = changed
        self._queue: EventQueue | None = None
        self._since = 0.0
        self._ready = 0.0
        self._misses = 0

    def attach(self, queue: EventQueue, since: float) -> None:
        """Compare with the stream of ``queue``, which was opened just now for events since ``since``."""
        self._queue = queue
        self._since = since
        self._ready = self._clock.monotonic() + _GRACE

    def detach(self) -> None:
        """Compare with no stream; read on whether the runtime answers."""
        self._queue = None

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            doubtful = self._misses and self.silent is None
            await self._clock.sleep(_AGAIN if doubtful else INTERVAL)
            await self.check()

    async def check(self) -> None:
        """Read once."""
        queue = self._queue
        until = self._clock.time() - _GRACE
        since = min(self._since, until) if queue is not None else until
        try:
            events = await self._runtime.recall(since, until, within=DEADLINE)
        except Unavailable as error:
            self._missed(error)
            return
        self._answered()
        if queue is None or queue is not self._queue or self._clock.monotonic() < self._ready:
            return
        if queue.missing(events):
            await self._clock.sleep(_AGAIN)
            queue.repair(queue.missing(events))
        self._since = until

    def _missed(self, error: Unavailable) -> None:
        self._misses += 1
        if self._misses >= _MISSES and self.silent is None:
            self.silent = error
            if not isinstance(error, NotInstalled):
                self._changed(error)

    def _answered(self) -> None:
        if self._misses:
            self.answered.set()
        self._misses = 0
        if self.silent is not None:
            self.silent = None
            self._changed(None)
