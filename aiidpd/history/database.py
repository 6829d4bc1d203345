"""Writing connection: whole transactions, tidied as it goes."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aiidpd.history import files, retention, rows, schema
from aiidpd.history.retention import Limits
from aiidpd.history.rows import Spend
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.clock_watch import ClockWatch
from aiidpd.kernel.events import Event, Sample

_CHECK_SECONDS = 0.05  # what a start may spend on the search for damage; the rest shows when it is read
_TIDY_EVERY = 60.0  # seconds
_CHANNELS_EVERY = 3_600.0  # seconds
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one transaction: all of them are written or none."""

    events: Sequence[Event] = ()
    samples: Sequence[Sample] = ()
    spends: Sequence[Spend] = ()


def is_damage(error: Exception) -> bool:
    """Return whether ``error`` means that the file is broken, as against full, busy or out of reach."""
    return _primary(error) in _DAMAGE


def is_passing(error: Exception) -> bool:
    """Return whether the same connection can succeed later: the disk is full or the file is locked."""
    return _primary(error) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _primary(error: Exception) -> int:
    code = getattr(error, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else -1


class Database:
    """A writing connection. Used by one thread at a time; every method may wait for the disk.

    ``watch`` decides what is old, whatever happens to the wall clock. Raises :class:`sqlite3.Error` or
    :class:`OSError`: see :func:`is_damage` and :func:`is_passing`.
    """

    def __init__(self, path: Path, limits: Limits, clock: Clock, watch: ClockWatch | None = None) -> None:
        self._path = path
        self._watch = watch or ClockWatch(clock)
        self._limits = limits
        self._clock = clock
        self._channels: dict[tuple[str, str, str, int], int] = {}
        self._synchronous = ""
        self._tidied = self._channels_tidied = clock.boottime()
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        self._file = _identity(os.fstat(descriptor))
        os.close(descriptor)
        self._connection = sqlite3.connect(
            path, timeout=2.0, isolation_level=None, check_same_thread=False, cached_statements=64
        )
        try:
            self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self) -> None:
        run = self._connection.execute
        files.check_version(self._path, schema.version(self._connection))
        fresh = schema.version(self._connection) == 0
        if fresh:
            run("PRAGMA auto_vacuum = INCREMENTAL")  # has effect only as long as there is no table
            run("PRAGMA synchronous = OFF")  # nothing is in it yet that a power cut could take: see _flush
        run(f"PRAGMA journal_size_limit = {self._limits.log_bytes}")
        if schema.version(self._connection) < len(schema.MIGRATIONS):
            schema.migrate(self._connection)
            # The header on disk must hold the version: inspect() reads it without opening the database.
            run("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        run("PRAGMA journal_mode = WAL").fetchall()
        if fresh:
            self._flush()
            run("PRAGMA synchronous = FULL")
        run(f"PRAGMA wal_autocheckpoint = {self._limits.log_bytes // 4096}").fetchall()
        self._check()
        self._measure()

    def _flush(self) -> None:
        """Put the new file on disk once, instead of a dozen times while it is made: that is half a start."""
        for path, flags in ((self._path, os.O_RDWR), (self._path.parent, os.O_RDONLY | os.O_DIRECTORY)):
            descriptor = os.open(path, flags | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _check(self) -> None:
        until = time.monotonic() + _CHECK_SECONDS
        self._connection.set_progress_handler(lambda: time.monotonic() > until, 1_000)
        try:
            verdict = self._connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        except sqlite3.OperationalError as error:
            if _primary(error) != sqlite3.SQLITE_INTERRUPT:
                raise
            verdict = "ok"  # as far as there was time to check
        finally:
            self._connection.set_progress_handler(None, 0)
        if verdict != "ok":
            damage = sqlite3.DatabaseError(verdict)
            damage.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise damage

    @property
    def last_event_id(self) -> int:
        """Highest number of an event, 0 where there is none."""
        number: int = self._connection.execute("SELECT coalesce(max(id), 0) FROM event").fetchone()[0]
        return number

    @property
    def bytes(self) -> int:
        """Bytes of database and write-ahead log when they were last measured."""
        return self._bytes

    def write(self, batch: Batch) -> None:
        """Commit ``batch``, or change nothing and raise.

        After it returns, events and spends survive a power cut. A batch of samples alone survives the end
        of the process, and a power cut may take its last seconds: that spares the disk a flush every time.
        """
        # SQLite would continue to write a file that was removed or replaced, and nobody would read it.
        if _identity(self._path.stat()) != self._file:
            raise OSError(f"{self._path.name} was replaced by another file")
        self._synchronize("FULL" if batch.events or batch.spends else "NORMAL")
        run, many = self._connection.execute, self._connection.executemany
        run("BEGIN IMMEDIATE")
        try:
            marks = "?, ?, ?, ?, ?, ?, ?, ?, ?"
            many(
                f"INSERT OR REPLACE INTO event ({rows.EVENT_COLUMNS}) VALUES ({marks})",  # noqa: S608
                [rows.event_row(event) for event in batch.events],
            )
            self._insert_samples(batch.samples)
            many(
                "INSERT INTO spend (budget, time) VALUES (?, ?)",
                [(rows.clean(spend.budget, rows.NAME_LIMIT), spend.time) for spend in batch.spends],
            )
            run("COMMIT")
        except BaseException:
            self._channels.clear()
            if self._connection.in_transaction:
                run("ROLLBACK")
            raise

    def _insert_samples(self, samples: Sequence[Sample]) -> None:
        if not samples:
            return
        single = [(round(s.time * 1_000), self._channel(s), float(s.value)) for s in samples]
        self._connection.executemany("INSERT OR REPLACE INTO sample VALUES (?, ?, ?)", single)
        self._connection.executemany(
            """INSERT INTO sample_minute VALUES (?, ?, ?, ?, ?, ?)
               ON CONFLICT DO UPDATE SET count = count + excluded.count, low = min(low, excluded.low),
               total = total + excluded.total, high = max(high, excluded.high)""",
            rows.minute_rows(single),
        )

    def _channel(self, sample: Sample) -> int:
        key = rows.channel_key(sample)
        number = self._channels.get(key)
        if number is None:
            where = "series = ? AND subject = ? AND source = ? AND simulated = ?"
            found = self._connection.execute(f"SELECT id FROM channel WHERE {where}", key).fetchone()  # noqa: S608
            if found is None:
                columns = "series, subject, source, simulated"
                insert = f"INSERT INTO channel ({columns}) VALUES (?, ?, ?, ?) RETURNING id"  # noqa: S608
                found = self._connection.execute(insert, key).fetchone()
            number = self._channels[key] = int(found[0])
        return number

    def tidy(self) -> None:
        """Delete what is beyond the limits: cheap where nothing is due."""
        now = self._clock.boottime()
        if now - self._tidied >= _TIDY_EVERY:
            self._tidied = now
            retention.expire(self._connection, self._limits, self._watch.cut)
        trimmed = retention.shrink(self._connection, self._limits, self._clock.time())
        if trimmed or now - self._channels_tidied >= _CHANNELS_EVERY:
            self._channels_tidied = now
            self._channels.clear()
            retention.forget_channels(self._connection)
        self._measure()

    def _synchronize(self, mode: str) -> None:
        if self._synchronous != mode:
            self._connection.execute(f"PRAGMA synchronous = {mode}")
            self._synchronous = mode

    def _measure(self) -> None:
        log = self._path.with_name(self._path.name + "-wal")
        self._bytes = retention.file_bytes(self._connection) + (log.stat().st_size if log.exists() else 0)

    def close(self) -> None:
        """Copy the write-ahead log into the database and close both."""
        self._connection.close()


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
