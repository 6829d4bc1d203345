"""A worker with what runs beside it: tasks of its own concern, which live and fail with it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import anyio

from aiidpd.kernel.task import Heartbeat, Worker


class Accompanied:
    """A worker and its companions, each a function that never returns; when one ends badly, all end."""

    def __init__(self, worker: Worker, companions: Sequence[Callable[[], Coroutine[Any, Any, None]]]) -> None:
        self._worker = worker
        self._companions = tuple(companions)

    @property
    def simulated(self) -> bool:
        return self._worker.simulated

    async def run(self, heartbeat: Heartbeat) -> None:
        """Run until cancelled."""
        async with anyio.create_task_group() as group:
            for companion in self._companions:
                group.start_soon(companion)
            await self._worker.run(heartbeat)
            group.cancel_scope.cancel()
