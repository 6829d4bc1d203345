"""Long work in a thread, followed from the loop: its progress, its stall, its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol, TypeVar

import anyio

from aiidpd.kernel.clock import Clock
from aiidpd.kernel.errors import Unavailable
from aiidpd.platform.thread import in_daemon_thread

T = TypeVar("T")
POLL_EVERY: Final = 0.25
STALL_AFTER: Final = 600.0
"""Seconds without a step after which a thread is left alone."""


class Control(Protocol):
    """Link to the thread: it counts ``steps``, and ends soon once it is cancelled."""

    steps: int

    @property
    def at(self) -> str:
        """Return where the work is."""

    def cancel(self) -> None:
        """Have it end."""


async def follow(
    call: Callable[[], T], control: Control, moved: Callable[[], None], *, clock: Clock, what: str
) -> T:
    """Return what ``call`` returns in a thread; ``moved`` is called several times a second meanwhile.

    Raises what ``call`` raises, and :class:`Unavailable` after :data:`STALL_AFTER` seconds without a step.
    Then, and when this is cancelled, ``control`` is cancelled.
    """
    results: list[T] = []
    errors: list[Exception] = []

    async def watch(scope: anyio.CancelScope) -> None:
        seen, last = -1, clock.monotonic()
        while True:
            moved()
            if control.steps != seen:
                seen, last = control.steps, clock.monotonic()
            elif clock.monotonic() - last > STALL_AFTER:
                scope.cancel()
                return
            await clock.sleep(POLL_EVERY)

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(watch, group.cancel_scope)
            try:
                results.append(await in_daemon_thread(call))
            except Exception as raised:  # noqa: BLE001 -- raised below, outside the group that would wrap it
                errors.append(raised)
            group.cancel_scope.cancel()
    finally:
        control.cancel()
    moved()
    if errors:
        raise errors[0]
    if not results:
        reason = f"nothing has moved for {STALL_AFTER:g} s at {control.at or 'its first step'}"
        raise Unavailable("continue", what, reason=reason, remedy="look for a dead disk or mount (dmesg)")
    return results[0]
