"""Threads that work on several files at once, and the thread that has the control."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Final, Generic, TypeVar

from aiidpd.components.backup.process.control import Control
from aiidpd.components.backup.process.lane import Lane
from aiidpd.components.backup.process.pace import Gate, Rate, Stopped

T = TypeVar("T")
Task = Callable[[Lane], T]
_POLL: Final = 0.05  # seconds
_GIVE_UP: Final = 1.0  # seconds for threads to notice that the work is cancelled


class Crew(Generic[T]):
    """A number of daemon threads, started with the first task: one that hangs holds up no exit."""

    def __init__(self, control: Control, rate: Rate, threads: int) -> None:
        self._control = control
        self._rate = rate
        self._number = threads
        self._counts: SimpleQueue[int] = SimpleQueue()
        self._gate = Gate(control, rate, self._counts.put)
        self._tasks: SimpleQueue[Task[T] | None] = SimpleQueue()
        self._results: SimpleQueue[T | BaseException] = SimpleQueue()
        self._threads: list[Thread] = []
        self._owed = 0

    def give(self, task: Task[T]) -> None:
        """Have a thread carry out ``task``."""
        if not self._threads:
            self._threads = [
                Thread(target=self._work, name="aiidpd-backup-crew", daemon=True) for _ in range(self._number)
            ]
            for thread in self._threads:
                thread.start()
        self._tasks.put(task)
        self._owed += 1

    def ready(self) -> Iterator[T]:
        """Yield the results that there are; raises as :meth:`results`."""
        self._follow()
        while not self._results.empty():
            yield self._take(self._results.get())

    def results(self, most: int = 0) -> Iterator[T]:
        """Yield results until no more than ``most`` tasks are under way.

        Raises what a task has raised, and :class:`Cancelled`; then the threads end.
        """
        while self._owed > most:
            self._follow()
            try:
                found = self._results.get(timeout=_POLL)
            except Empty:
                continue
            yield self._take(found)
        self._follow()

    def close(self) -> None:
        """End the threads, also where they are in the middle of a task; wait a moment for them."""
        self._gate.stopped = True
        for _ in self._threads:
            self._tasks.put(None)
        until = time.monotonic() + _GIVE_UP
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        self._threads = []

    def _take(self, found: T | BaseException) -> T:
        self._owed -= 1
        if isinstance(found, BaseException):
            self.close()
            raise found
        return found

    def _follow(self) -> None:
        """Count what the threads have done; raises :class:`Cancelled`."""
        count = 0
        while not self._counts.empty():
            count += self._counts.get()
        try:
            self._control.step(count)
        except BaseException:
            self.close()
            raise

    def _work(self) -> None:
        lane = Lane(self._gate, self._rate)
        try:
            while (task := self._tasks.get()) is not None and not self._gate.stopped:
                try:
                    self._results.put(task(lane))
                except Stopped:
                    break
                except BaseException as error:  # noqa: BLE001 -- handed to the thread that has the control
                    self._results.put(error)
        finally:
            lane.close()
