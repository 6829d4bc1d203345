"""Readings of engines at once, for whoever can't wait until the next is due."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

import anyio
import anyio.abc

from aiidpd.contracts.engines import EngineState

ReadEngine: TypeAlias = Callable[[str, Callable[[], bool]], Awaitable[EngineState | None]]
"""Reads the engine of a name, unless, when its turn has come, nobody waits for it any more."""


class FreshReads:
    """Hands readings to callers; the poller carries them out, in tasks of its own that no caller cuts off.

    It belongs to the component and outlives the poller; while there is none, nothing is known.
    """

    def __init__(self) -> None:
        self._group: anyio.abc.TaskGroup | None = None
        self._reader: ReadEngine | None = None

    @contextmanager
    def carried_out(self, reader: ReadEngine, group: anyio.abc.TaskGroup) -> Iterator[None]:
        """Have readings carried out by ``reader``, in tasks of ``group``."""
        self._reader, self._group = reader, group
        try:
            yield
        finally:
            self._reader = self._group = None

    async def read(self, name: str) -> EngineState | None:
        """Return the state of the engine ``name``, as a request that begins now finds it."""
        reader, group = self._reader, self._group
        if reader is None or group is None:
            return None
        ended = anyio.Event()
        found: EngineState | None = None
        waits = True

        async def carry_out() -> None:
            nonlocal found
            try:
                found = await reader(name, lambda: waits)
            finally:
                ended.set()

        group.start_soon(carry_out)
        try:
            await ended.wait()
        finally:
            waits = False
        return found
