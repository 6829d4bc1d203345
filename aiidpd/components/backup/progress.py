"""Following a run in a thread from the loop: its progress, its stall, its abandonment."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import anyio

from aiidpd.components.backup.cancel import RunControl
from aiidpd.components.backup.names import shown
from aiidpd.components.backup.view import RunProgress
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.errors import Unavailable
from aiidpd.platform.thread import in_daemon_thread

T = TypeVar("T")

POLL_EVERY = 0.25  # seconds between two readings of a run's progress


async def follow(
    call: Callable[[], T],
    control: RunControl,
    moved: Callable[[RunProgress], None],
    *,
    clock: Clock,
    stall_after: float,
) -> T:
    """Return what ``call``, which shows its life in ``control``, returns in a thread.

    ``moved`` is called with the progress whenever there was some. Raises what ``call`` raises, and
    :class:`Unavailable` after ``stall_after`` seconds without a sign of life. Then, and when this is
    cancelled, the thread is cancelled and left alone: it ends at its next step, if it ever gets there.
    """
    results: list[T] = []
    error: Exception | None = None

    async def watch(scope: anyio.CancelScope) -> None:
        seen, last = -1, clock.monotonic()
        while True:
            steps = control.steps
            if steps != seen:
                seen, last = steps, clock.monotonic()
                moved(control.progress)
            elif clock.monotonic() - last > stall_after:
                scope.cancel()
                return
            await clock.sleep(POLL_EVERY)

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(watch, group.cancel_scope)
            try:
                results.append(await in_daemon_thread(call))
            except Exception as raised:  # noqa: BLE001 -- raised below, outside the group that would wrap it
                error = raised
            group.cancel_scope.cancel()
    finally:
        control.cancelled = True
    if error is not None:
        raise error
    if not results:
        where = shown(control.at) or "its first step"
        reason = f"nothing has moved for {stall_after:g} s at {where}"
        remedy = "look for a dead disk or network mount (dmesg); the stuck thread holds the target's lock"
        raise Unavailable("continue", "the backup", reason=reason, remedy=remedy)
    return results[0]
