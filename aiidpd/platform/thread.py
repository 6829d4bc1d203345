"""Calls that may block for ever, in threads that hold up neither the loop nor the end of the process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from threading import Thread
from typing import Final, Generic, TypeVar, cast

import anyio

from aiidpd.kernel.clock import Clock
from aiidpd.kernel.errors import AiidpdError, Unavailable

T = TypeVar("T")
NAME: Final = "aiidpd-blocking"
"""Name of each such thread."""


@dataclass(slots=True)
class _Outcome(Generic[T]):
    value: T | None = None
    error: BaseException | None = None


async def in_daemon_thread(call: Callable[[], T]) -> T:
    """Return what ``call`` returns, or raise what it raises. Cancelled, it leaves the thread alone.

    Unlike the threads of :func:`anyio.to_thread.run_sync` these are not joined at the end of the
    process: a read from a dead disk would prevent its end.
    """
    loop = asyncio.get_running_loop()
    finished = anyio.Event()
    outcome: _Outcome[T] = _Outcome()

    def work() -> None:
        try:
            outcome.value = call()
        except BaseException as error:  # noqa: BLE001 -- raised again in the loop
            outcome.error = error
        # Without waiting: a loop that ends just now would never confirm that it was notified.
        with suppress(RuntimeError):  # it has ended already, and nobody waits any more
            loop.call_soon_threadsafe(finished.set)

    Thread(target=work, name=NAME, daemon=True).start()
    await finished.wait()
    if outcome.error is not None:
        raise outcome.error
    return cast("T", outcome.value)


class ThreadProbe:
    """Runs calls that may never return: one at a time, for at most ``patience`` seconds each."""

    def __init__(self, clock: Clock, patience: float) -> None:
        self._clock = clock
        self._patience = patience
        self._running = False

    def check(self, what: str, subject: str) -> None:
        """Raise :class:`Unavailable` while an earlier call has not returned: its thread still hangs."""
        if self._running:
            raise self._silent(what, subject)

    async def call(self, work: Callable[[], T], what: str, subject: str) -> T:
        """Return what ``work`` returns in a thread; raises its own errors, and :class:`Unavailable`."""
        self.check(what, subject)
        self._running = True

        def answer() -> T:
            try:
                return work()
            finally:
                self._running = False

        answers: list[T] = []
        error: AiidpdError | None = None
        async with anyio.create_task_group() as group:

            async def bound() -> None:
                await self._clock.sleep(self._patience)
                group.cancel_scope.cancel()

            group.start_soon(bound)
            try:
                answers.append(await in_daemon_thread(answer))
            except AiidpdError as raised:
                error = raised  # raised below, outside the group that would wrap it
            group.cancel_scope.cancel()
        if error is not None:
            raise error
        if not answers:
            raise self._silent(what, subject)
        return answers[0]

    def _silent(self, what: str, subject: str) -> Unavailable:
        reason = f"it has not answered for {self._patience:g} s"
        remedy = "look for a dead disk or network mount (dmesg)"
        return Unavailable(f"read {what}", subject, reason=reason, remedy=remedy)
