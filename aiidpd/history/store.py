"""History as the daemon sees it: sinks for the event bus, budgets that survive, and questions."""

from __future__ import annotations

import asyncio
import math
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self, TypeVar

import anyio
import anyio.to_thread

from aiidpd.history import reader
from aiidpd.history.database import Database, is_damage
from aiidpd.history.files import inspect, set_aside
from aiidpd.history.reader import EventQuery, SampleQuery
from aiidpd.history.retention import MIB, MINIMUM_BYTES, Limits
from aiidpd.history.rows import Point, Spend
from aiidpd.history.writer import Writer
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.clock_watch import ClockWatch
from aiidpd.kernel.errors import Misconfigured, Unavailable
from aiidpd.kernel.events import Event, Sample, Severity

T = TypeVar("T")

_PENDING_LIMIT = 20_000  # rows in memory while the disk takes none: some 5 MB
_READ_SECONDS = 10.0
_WRITE_SECONDS = 5.0
_READERS = 4
_END_OF_TIME = 1e11  # Unix seconds: the year 5138
_DAMAGE_PAUSE = 3_600.0  # seconds; a disk that damages file after file is not filled with them


@dataclass(frozen=True, slots=True)
class HistoryStats:
    """Counts since the start. ``problem`` is the reason why writing fails, a sentence, or None."""

    problem: str | None
    pending: int
    written_events: int
    written_samples: int
    dropped_events: int
    dropped_samples: int
    bytes: int


class _DatabaseOpener:
    """Opens the file again where it was lost or damaged, and collects the notices to publish about it."""

    def __init__(self, path: Path, limits: Limits, clock: Clock, watch: ClockWatch) -> None:
        self._path = path
        self._limits = limits
        self._clock = clock
        self._watch = watch
        self._set_aside_at = -math.inf
        self.notices: list[str] = []

    def open(self, damaged: bool) -> Database:
        if not damaged:
            try:
                return Database(self._path, self._limits, self._clock, self._watch)
            except sqlite3.Error as error:
                if not is_damage(error):
                    raise
                what = str(error)
        else:
            what = "SQLite found it damaged while it was in use"
        now = time.monotonic()
        if now - self._set_aside_at < _DAMAGE_PAUSE:
            raise OSError(f"{what}, soon after another damaged one was set aside: the disk is not sound")
        self._set_aside_at = now
        aside = set_aside(self._path, self._clock)
        self.notices.append(
            f"the history {self._path} was damaged ({what}); it is kept as {aside} and a new one was begun; "
            "check the disk, and delete the old file when nobody needs it"
        )
        return Database(self._path, self._limits, self._clock, self._watch)


class History:
    """Events, samples and budgets on disk. Recording never waits and never raises.

    A sample can be read about 5 s after it was recorded, an event at once.
    """

    def __init__(self, path: Path, writer: Writer, last_id: int, notices: list[str]) -> None:
        self._path = path
        self._writer = writer
        self._last_id = last_id
        self._notices = notices
        self._readers: anyio.CapacityLimiter | None = None

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        keep: float,
        max_bytes: int,
        clock: Clock,
        watch: ClockWatch | None = None,
        full_rate: float = 3_600.0,
        sample_delay: float = 5.0,
    ) -> Self:
        """Open or begin the history at ``path`` and start its writer; see :class:`Limits` for the bounds.

        Raises :class:`Misconfigured` where the file can't be used and a person has to decide. A damaged
        database is set aside (see :meth:`take_notices`); a disk that is full or fails is a
        :attr:`problem`, and rows wait in memory.
        """
        if max_bytes < MINIMUM_BYTES:
            reason = f"max_bytes is {max_bytes}, and less than {MINIMUM_BYTES // MIB} MiB is too little"
            raise Misconfigured(
                "bound history", str(path), reason=reason, remedy="set history.max_size higher"
            )
        inspect(path)
        unclean = _has_bytes(path.with_name(path.name + "-wal"))
        opener = _DatabaseOpener(path, Limits(keep, max_bytes, full_rate), clock, watch or ClockWatch(clock))
        database, problem = None, None
        # Without the old numbers new ones begin at the seconds since 1970, which no event count has reached:
        # a reader that continues from the last number it saw misses nothing.
        last_id = int(clock.time())
        try:
            database = opener.open(damaged=False)
            if not opener.notices:
                # A process that was killed may have shown numbers that never came to disk: skip past them.
                last_id = database.last_event_id + (_PENDING_LIMIT if unclean else 0)
        except (sqlite3.Error, OSError) as error:
            problem = str(Unavailable("write history", str(path), reason=str(error)))
        writer = Writer(
            database,
            opener.open,
            name=str(path),
            problem=problem,
            sample_delay=sample_delay,
            pending_limit=_PENDING_LIMIT,
        )
        return cls(path, writer, last_id, opener.notices)

    @property
    def path(self) -> Path:
        """Database file."""
        return self._path

    @property
    def last_event_id(self) -> int:
        """Number of the newest event: ``EventBus(last_id=history.last_event_id)``."""
        return self._last_id

    @property
    def problem(self) -> str | None:
        """Reason why writing fails now, as a sentence; None while it succeeds."""
        return self._writer.problem

    @property
    def stats(self) -> HistoryStats:
        """Counts of now; never waits for the disk."""
        writer = self._writer
        return HistoryStats(
            problem=writer.problem,
            pending=writer.pending,
            written_events=writer.written_events,
            written_samples=writer.written_samples,
            dropped_events=writer.dropped_events,
            dropped_samples=writer.dropped_samples,
            bytes=writer.bytes,
        )

    def take_notices(self) -> list[str]:
        """Return what happened to the file that a person must know (it was set aside), each once."""
        taken = list(self._notices)
        del self._notices[: len(taken)]
        return taken

    def record_event(self, event: Event) -> None:
        """Record ``event`` (a sink of the event bus). One whose number is taken gets the next free one."""
        if event.id <= self._last_id:
            event = replace(event, id=self._last_id + 1)
        self._last_id = event.id
        self._writer.add_event(event)

    def record_sample(self, sample: Sample) -> None:
        """Record ``sample`` (a sink of the event bus). One that is not a finite number is no reading."""
        if _is_reading(sample):
            self._writer.add_sample(sample)

    async def spend(self, budget: str, at: float) -> None:
        """Take one from ``budget`` at ``at`` (Unix seconds); it is on disk when this returns.

        Raises :class:`Unavailable` where that could not be done within 5 s: then what was to be paid
        for must not be done, although the spending may still be counted later.
        """
        await self._written(self._writer.add_spend(Spend(budget, at)))

    async def spent(self, budget: str, since: float) -> int:
        """Return how often ``budget`` was spent at or after ``since``; raises :class:`Unavailable`."""
        return await self._read(lambda: reader.spent(self._path, budget, since))

    async def flush(self) -> None:
        """Return when all that was recorded is on disk; raises :class:`Unavailable` where it can't be."""
        await self._written(self._writer.flush())

    async def events(
        self,
        after_id: int = 0,
        limit: int = 100,
        *,
        since: float | None = None,
        kinds: str = "",
        min_severity: Severity = Severity.DEBUG,
        subject: str | None = None,
        forward: bool = False,
    ) -> list[Event]:
        """Return events, newest last, those included that are not yet on disk; see :class:`EventQuery`.

        Raises :class:`Unavailable`.
        """
        query = EventQuery(after_id, limit, since, kinds, min_severity, subject, forward)
        waiting = self._writer.pending_events()  # before the disk is read, so that none falls between
        stored = await self._read(lambda: reader.events(self._path, query))
        return query.cut([*stored, *waiting])

    async def event_ids(
        self,
        limit: int,
        *,
        since: float | None = None,
        kinds: str = "",
        min_severity: Severity = Severity.DEBUG,
        subject: str | None = None,
    ) -> list[int]:
        """Return the ids of the newest ``limit`` events, newest last: what :meth:`events` would give.

        Raises :class:`Unavailable`.
        """
        query = EventQuery(0, limit, since, kinds, min_severity, subject)
        waiting = {event.id for event in self._writer.pending_events() if query.matches(event)}
        stored = await self._read(lambda: reader.event_ids(self._path, query))
        return sorted(waiting.union(stored))[-limit:]

    async def samples(
        self,
        series: str,
        subject: str | None = None,
        *,
        since: float = 0.0,
        until: float = math.inf,
        limit: int = 10_000,
    ) -> list[Point]:
        """Return the newest ``limit`` points of ``series`` in [since, until), newest last.

        ``subject`` None means all of them. Every single sample of the last hour (``full_rate``), one point
        a minute before. Raises :class:`Unavailable`.
        """
        until = min(until, _END_OF_TIME)
        query = SampleQuery(series, subject, since, until, limit)
        return await self._read(lambda: reader.samples(self._path, query))

    def close(self, timeout: float = 1.5) -> bool:
        """Write what waits and close the file, in at most ``timeout`` seconds even where the disk hangs.

        Returns whether everything recorded is on disk. Blocks: for the very end of the daemon.
        """
        return self._writer.close(timeout)

    async def _written(self, future: Future[None]) -> None:
        try:
            with anyio.fail_after(_WRITE_SECONDS):
                await asyncio.wrap_future(future)
        except TimeoutError:
            reason = f"the disk did not take it within {_WRITE_SECONDS:g} s"
            raise Unavailable("write history", str(self._path), reason=reason) from None

    async def _read(self, question: Callable[[], T]) -> T:
        if self._readers is None:
            self._readers = anyio.CapacityLimiter(_READERS)
        try:
            with anyio.fail_after(_READ_SECONDS):
                return await anyio.to_thread.run_sync(question, abandon_on_cancel=True, limiter=self._readers)
        except TimeoutError:
            reason = f"no answer within {_READ_SECONDS:g} s"
            raise Unavailable("read history", str(self._path), reason=reason) from None
        except (sqlite3.Error, OSError, ValueError) as error:
            if is_damage(error):
                self._writer.report_damage()
            raise Unavailable("read history", str(self._path), reason=str(error)) from error


def _is_reading(sample: Sample) -> bool:
    try:
        return math.isfinite(sample.value) and 0.0 <= sample.time < _END_OF_TIME
    except OverflowError:  # a whole number beyond every float
        return False


def _has_bytes(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False
