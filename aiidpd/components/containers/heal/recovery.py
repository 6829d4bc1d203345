"""Re-creations that were cut short, by a kill or by a runtime that was away: finished or undone."""

from __future__ import annotations

from typing import Final

import anyio

from aiidpd.components.containers.heal.events import HealPublisher
from aiidpd.components.containers.heal.protocols import Recreator
from aiidpd.components.containers.recreate.journal import NAME
from aiidpd.kernel.clock import Clock
from aiidpd.platform.statefile import StateUnreadable

_AGAIN: Final = 1.0  # seconds


class Recovery:
    """Has ``recreator`` recover what is left: one caller at a time, and each until nothing is left."""

    def __init__(self, recreator: Recreator, publisher: HealPublisher, clock: Clock) -> None:
        self._recreator = recreator
        self._publisher = publisher
        self._clock = clock
        self._lock = anyio.Lock()

    async def run(self) -> None:
        """Return once nothing is left that could be recovered."""
        async with self._lock:
            while True:
                try:
                    found = await self._recreator.recover()
                except StateUnreadable as error:
                    self._publisher.file_failed(NAME, str(error))
                    return
                for each in found:
                    if not each.pending:
                        self._publisher.recovered(each)
                if not self._recreator.pending:
                    return
                await self._clock.sleep(_AGAIN)
