"""Retention of the history: by age first, then by size, samples before events."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

MIB = 1 << 20
MINIMUM_BYTES = 8 * MIB  # below this the write-ahead log alone would be most of the history
SPEND_KEEP = 7 * 86_400.0  # seconds; a budget's window may be longer than the history's
_SLICE = 2_000  # rows a transaction; what bounds the write-ahead log while much is deleted
_SLICES = 50  # transactions a call; what bounds how long the writer is away from its queue
_VACUUM_PAGES = 256
_AHEAD = 60.0  # seconds; a stamp that is more in the future is of a clock that was wrong
_SLACK = 2 * MIB  # the write-ahead log may pass its mark by one transaction, and its index is a file too


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the history.

    ``keep``: age in seconds of events and of the minute samples; ``full_rate``: age in seconds up to which
    every single sample is stored as well; ``max_bytes``: the most that the database, its write-ahead log
    and its index may occupy together.
    """

    keep: float
    max_bytes: int
    full_rate: float = 3_600.0

    @property
    def log_bytes(self) -> int:
        """At this size the write-ahead log is copied into the database."""
        return min(4 * MIB, self.max_bytes // 8)

    @property
    def file_bytes(self) -> int:
        """Most the database file itself may have."""
        return self.max_bytes - self.log_bytes - _SLACK


def expire(connection: sqlite3.Connection, limits: Limits, cut: Callable[[float], float | None]) -> None:
    """Delete what is older than ``limits`` allow. The newest event always stays.

    ``cut`` returns the Unix time before which stamps are older than so many seconds, None where none surely
    is, as after a jump of the clock.
    """
    full_rate, keep, spent = cut(limits.full_rate), cut(limits.keep), cut(max(limits.keep, SPEND_KEEP))
    if full_rate is not None:
        _cut(connection, "sample", "time", int(full_rate * 1_000))
    if keep is not None:
        _cut(connection, "sample_minute", "minute", int(keep // 60))
        connection.execute(
            # the newest event carries the number that the next one continues from
            "DELETE FROM event WHERE time < ? AND id < (SELECT max(id) FROM event)",
            (keep,),
        )
    if spent is not None:
        connection.execute("DELETE FROM spend WHERE time < ?", (spent,))


def forget_channels(connection: sqlite3.Connection) -> None:
    """Delete the names of series that have no sample left."""
    connection.execute(
        "DELETE FROM channel WHERE id NOT IN "
        "(SELECT channel FROM sample_minute UNION SELECT channel FROM sample)"
    )


def shrink(connection: sqlite3.Connection, limits: Limits, now: float) -> bool:
    """Bring the file below its limit at ``now`` (Unix seconds); return whether anything was deleted.

    Goes to 90 % of the limit, so that it is not needed again at once: samples by age, then events by age.
    Samples from the future go first: a clock that was ahead stamped them, and they would outlive all others.
    """
    deleted = False
    if file_bytes(connection) <= limits.file_bytes:
        return deleted
    goal = limits.file_bytes * 9 // 10
    for _ in range(_SLICES):
        if _used_bytes(connection) <= goal or not _delete_oldest(connection, now):
            break
        deleted = True
    for _ in range(_SLICES):
        if file_bytes(connection) <= goal or _pragma(connection, "freelist_count") == 0:
            break
        # execute() would take one step of this, which is one page; a script runs to its end
        connection.executescript(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})")
    return deleted


def file_bytes(connection: sqlite3.Connection) -> int:
    """Return the size of the database file, free pages included."""
    return _pragma(connection, "page_count") * _pragma(connection, "page_size")


def _used_bytes(connection: sqlite3.Connection) -> int:
    pages = _pragma(connection, "page_count") - _pragma(connection, "freelist_count")
    return pages * _pragma(connection, "page_size")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    number: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return number


def _cut(connection: sqlite3.Connection, table: str, column: str, before: int) -> None:
    """Delete the rows of ``table`` whose ``column`` is below ``before``, slice by slice."""
    for _ in range(_SLICES):
        cursor = connection.execute(
            f"DELETE FROM {table} WHERE {column} < ? AND {column} <= "  # noqa: S608 -- names of our own
            f"coalesce((SELECT {column} FROM {table} ORDER BY {column} LIMIT 1 OFFSET {_SLICE}), ?)",
            (before, before),
        )
        if cursor.rowcount < _SLICE:
            return


def _delete_oldest(connection: sqlite3.Connection, now: float) -> bool:
    """Delete one slice of what is worth least; return False where nothing more may go."""
    for after in (round((now + _AHEAD) * 1_000), -1):
        minute = connection.execute(
            "SELECT minute * 60000 FROM sample_minute WHERE minute > ? ORDER BY minute LIMIT 1",
            (after // 60_000,),
        ).fetchone()
        single = connection.execute(
            "SELECT time FROM sample WHERE time > ? ORDER BY time LIMIT 1", (after,)
        ).fetchone()
        if minute and (single is None or minute <= single):
            return _delete_slice(connection, "sample_minute", "minute", after // 60_000)
        if single:
            return _delete_slice(connection, "sample", "time", after)
    return _delete_slice(connection, "event", "id", -1, but=" AND id < (SELECT max(id) FROM event)")


def _delete_slice(
    connection: sqlite3.Connection, table: str, column: str, after: int, *, but: str = ""
) -> bool:
    """Delete the lowest rows of ``table`` whose ``column`` is above ``after``; return whether any went."""
    cursor = connection.execute(
        f"DELETE FROM {table} WHERE {column} > ? AND {column} <= coalesce("  # noqa: S608 -- names of our own
        f"(SELECT {column} FROM {table} WHERE {column} > ? ORDER BY {column} LIMIT 1 OFFSET {_SLICE // 4}), "
        f"(SELECT max({column}) FROM {table})){but}",
        (after, after),
    )
    return cursor.rowcount > 0
