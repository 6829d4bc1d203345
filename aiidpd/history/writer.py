"""Writing thread: it gathers what is recorded and puts it on disk in whole transactions."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from itertools import islice
from typing import Protocol

from aiidpd.history.database import Batch, is_damage, is_passing
from aiidpd.history.rows import Spend
from aiidpd.kernel.errors import Unavailable, describe
from aiidpd.kernel.events import Event, Sample

_EVENTS, _SAMPLES = 100, 2_000  # the most that one transaction takes: bounds the write-ahead log
_RETRY_FIRST, _RETRY_MOST = 1.0, 30.0  # seconds


class Storage(Protocol):
    """Destination of batches. Every method may block, and raise :class:`sqlite3.Error`, :class:`OSError`."""

    @property
    def bytes(self) -> int:
        """Bytes on the disk."""

    def write(self, batch: Batch) -> None:
        """Store the whole batch or nothing of it."""

    def tidy(self) -> None:
        """Forget what is too old or too much."""

    def close(self) -> None:
        """Close the file."""


class Writer:
    """Queues rows without ever waiting for the disk, and writes them from a thread of its own.

    ``storage`` is None where the file could not be opened yet; ``reopen`` opens it, and is given whether
    the file was found damaged. Events are written after ``event_delay`` seconds, samples every
    ``sample_delay`` seconds. While writing fails at most ``pending_limit`` rows wait in memory: beyond
    it the oldest sample goes, and an event only where no sample is left; ``dropped_*`` count them.
    """

    def __init__(
        self,
        storage: Storage | None,
        reopen: Callable[[bool], Storage],
        *,
        name: str,
        problem: str | None = None,
        event_delay: float = 0.1,
        sample_delay: float = 5.0,
        pending_limit: int = 20_000,
    ) -> None:
        self._storage = storage
        self._reopen = reopen
        self._name = name
        self._event_delay = event_delay
        self._sample_delay = sample_delay
        self._pending_limit = pending_limit
        self._changed = threading.Condition()
        self._events: deque[Event] = deque()
        self._samples: deque[Sample] = deque()
        self._spends: deque[tuple[Spend, Future[None]]] = deque()
        self._flushes: list[Future[None]] = []
        self._writing = Batch()
        self._events_due = self._retry_at = 0.0
        self._samples_due = time.monotonic() + sample_delay
        self._failures = 0
        self._damaged = self._stopping = False
        self.problem = problem
        self.dropped_events = self.dropped_samples = self.written_events = self.written_samples = 0
        self.bytes = 0 if storage is None else storage.bytes
        # A daemon thread: a disk that hangs must not prevent the process from ending.
        self._thread = threading.Thread(target=self._run, name="history-writer", daemon=True)
        self._thread.start()

    @property
    def pending(self) -> int:
        """Number of rows that are recorded and not yet on disk."""
        writing = self._writing
        return len(self._events) + len(self._samples) + len(writing.events) + len(writing.samples)

    def add_event(self, event: Event) -> None:
        """Queue ``event``."""
        with self._changed:
            self._events.append(event)
            if len(self._events) == 1:
                self._events_due = time.monotonic() + self._event_delay
                self._changed.notify()
            self._bound()

    def add_sample(self, sample: Sample) -> None:
        """Queue ``sample``."""
        with self._changed:
            self._samples.append(sample)
            if len(self._samples) == _SAMPLES:
                self._changed.notify()
            self._bound()

    def add_spend(self, spend: Spend) -> Future[None]:
        """Queue ``spend``; the future ends when it is on disk; it fails with :class:`Unavailable`."""
        future = _uncancellable()
        with self._changed:
            if self._stopping:
                future.set_exception(self._unavailable("it is closed"))
            else:
                self._spends.append((spend, future))
                self._changed.notify()
        return future

    def flush(self) -> Future[None]:
        """Return what ends when all that was recorded is on disk; it fails with :class:`Unavailable`."""
        future = _uncancellable()
        with self._changed:
            if self._stopping:
                future.set_exception(self._unavailable("it is closed"))
            else:
                self._flushes.append(future)
                self._changed.notify()
        return future

    def pending_events(self) -> list[Event]:
        """Return the events that are not yet on disk, oldest first."""
        with self._changed:
            return [*self._writing.events, *self._events]

    def report_damage(self) -> None:
        """Report that a reader found the file damaged: it is set aside and a new one begun."""
        with self._changed:
            self._damaged = True
            self._changed.notify()

    def close(self, timeout: float) -> bool:
        """Write what waits and end the thread, within ``timeout`` seconds; return whether all is on disk."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(timeout)
        return not self._thread.is_alive() and self.pending == 0

    def _bound(self) -> None:
        while len(self._events) + len(self._samples) > self._pending_limit:
            if self._samples:
                self._samples.popleft()
                self.dropped_samples += 1
            else:
                self._events.popleft()
                self.dropped_events += 1

    def _run(self) -> None:
        while True:
            stopping = self._wait()
            done = self._cycle()
            if stopping and (not done or self.pending == 0):
                break
        if self._storage is not None:
            try:
                self._storage.close()
            except (sqlite3.Error, OSError) as error:
                self.problem = self._explain(error)

    def _wait(self) -> bool:
        """Sleep until something is due; return whether the end was requested."""
        with self._changed:
            while not self._stopping:
                now = time.monotonic()
                due = 0.0 if self._spends or self._flushes else self._due()
                if due <= now:
                    break
                self._changed.wait(due - now)
            return self._stopping

    def _due(self) -> float:
        due = self._samples_due
        if self._events:
            due = min(due, self._events_due)
        if self._damaged or len(self._samples) >= _SAMPLES:
            due = 0.0
        return max(due, self._retry_at)

    def _cycle(self) -> bool:
        """Write one batch; return whether that succeeded."""
        with self._changed:
            events = [self._events.popleft() for _ in range(min(_EVENTS, len(self._events)))]
            samples = list(islice(self._samples, _SAMPLES))
            for _ in samples:
                self._samples.popleft()
            spends = list(self._spends)
            self._spends.clear()
            self._writing = Batch(events, samples, [spend for spend, _ in spends])
            flushes, self._flushes = self._flushes, []
            damaged, self._damaged = self._damaged, False
        try:
            self._write(self._writing, damaged=damaged)
        except Exception as error:  # noqa: BLE001 -- whatever it is, the rows stay and the thread continues
            failure = self._failed(error)
            for future in (*(future for _, future in spends), *flushes):
                future.set_exception(failure)
            return False
        with self._changed:
            self._writing = Batch()
            self.written_events += len(events)
            self.written_samples += len(samples)
            self._failures, self._retry_at = 0, 0.0
            if len(self._samples) < _SAMPLES:
                self._samples_due = time.monotonic() + self._sample_delay
            if self._events or self._samples:
                self._flushes.extend(flushes)  # not all that they wait for is written yet
                flushes = []
        for _, future in spends:
            future.set_result(None)
        self._tidy()
        for future in flushes:
            future.set_result(None)
        return True

    def _write(self, batch: Batch, *, damaged: bool) -> None:
        if self._storage is None or damaged:
            if self._storage is not None:
                storage, self._storage = self._storage, None
                storage.close()
            self._storage = self._reopen(damaged)
        if batch.events or batch.samples or batch.spends:
            self._storage.write(batch)

    def _tidy(self) -> None:
        if self._storage is None:
            return
        try:
            self._storage.tidy()
        except (sqlite3.Error, OSError) as error:
            self._damaged = self._damaged or is_damage(error)
            self.problem = self._explain(error)
        else:
            self.problem = None
        self.bytes = self._storage.bytes

    def _failed(self, error: Exception) -> Unavailable:
        with self._changed:
            self._events.extendleft(reversed(self._writing.events))
            self._samples.extendleft(reversed(self._writing.samples))
            self._writing = Batch()
            self._bound()
            self._damaged = self._damaged or is_damage(error)
            delay = min(_RETRY_FIRST * 2**self._failures, _RETRY_MOST)
            self._failures = min(self._failures + 1, 10)
            self._retry_at = time.monotonic() + delay
        if self._storage is not None and not is_passing(error) and not self._damaged:
            storage, self._storage = self._storage, None  # a fresh connection may fare better
            try:
                storage.close()
            except (sqlite3.Error, OSError):
                error.add_note("and it could not be closed")
        self.problem = self._explain(error)
        return self._unavailable(_reason(error))

    def _explain(self, error: Exception) -> str:
        reason = f"{_reason(error)}; {self.pending} rows wait in memory"
        return str(Unavailable("write history", self._name, reason=reason))

    def _unavailable(self, reason: str) -> Unavailable:
        remedy = "free space or repair the disk, and writing resumes by itself"
        return Unavailable("write history", self._name, reason=reason, remedy=remedy)


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, (sqlite3.Error, OSError)) else describe(error)


def _uncancellable() -> Future[None]:
    future: Future[None] = Future()
    future.set_running_or_notify_cancel()  # who waits may leave; the row is written all the same
    return future
