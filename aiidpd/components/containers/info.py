"""Task that reads how the container engine describes itself, which rarely changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

import anyio

from aiidpd.contracts.inspections import EngineFacts
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.errors import Inactive, Unavailable
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.task import Heartbeat

NAME: Final = "containers.info"
INTERVAL: Final = 300.0
"""Seconds between two readings."""
_AGAIN: Final = 10.0  # seconds after which a reading that failed is tried again
_POLL: Final = 1.0  # seconds between two looks at the version of the engine


class InfoSource(Protocol):
    """Source of what an engine says of itself."""

    async def read(self) -> EngineFacts:
        """Return its facts; raises :class:`~aiidpd.kernel.errors.Unavailable` in bounded time."""

    async def aclose(self) -> None:
        """Release what the adapter holds; may be called twice."""


class InfoWorker:
    """Reads the facts every five minutes, and at once when ``version``, the engine's, has changed."""

    simulated: Final = False

    def __init__(
        self, source: InfoSource, latest: Latest[EngineFacts], *, version: Callable[[], str], clock: Clock
    ) -> None:
        self._source = source
        self._latest = latest
        self._version = version
        self._clock = clock

    async def run(self, heartbeat: Heartbeat) -> None:
        try:
            while True:
                seen, good = self._version(), False
                with heartbeat.working():
                    good = await self._read()
                until = self._clock.monotonic() + (INTERVAL if good else _AGAIN)
                while self._clock.monotonic() < until and (not good or self._version() in ("", seen)):
                    await heartbeat.idle(anyio.Event(), _POLL)
        finally:
            with anyio.CancelScope(shield=True):
                await self._source.aclose()

    async def _read(self) -> bool:
        """Read once. An engine that does not answer is reported by the task that follows containers."""
        try:
            self._latest.put(await self._source.read())
        except Unavailable as error:
            self._latest.clear()
            raise Inactive(str(error)) from None
        return True
