"""Questions that the history answers, each on a read-only connection of its own."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from aiidpd.history import rows
from aiidpd.history.rows import Point
from aiidpd.kernel.events import Event, Severity


@dataclass(frozen=True, slots=True)
class EventQuery:
    """Filter of events; all of it must be met.

    ``after_id`` above 0 selects the first ``limit`` that follow it, so that a caller who reads again
    with the last number gets every event once, and so does ``forward``; otherwise the newest ``limit`` are
    meant. ``since`` in Unix seconds; ``kinds`` is a prefix of the kind (``container.``); ``subject`` must
    be equal.
    """

    after_id: int = 0
    limit: int = 100
    since: float | None = None
    kinds: str = ""
    min_severity: Severity = Severity.DEBUG
    subject: str | None = None
    forward: bool = False

    @property
    def oldest_first(self) -> bool:
        """True where the first ``limit`` after ``after_id`` are meant, not the newest."""
        return self.forward or self.after_id > 0

    def matches(self, event: Event) -> bool:
        """Return whether ``event`` fulfils every condition but the limit."""
        return (
            event.id > self.after_id
            and (self.since is None or event.time >= self.since)
            and event.kind.startswith(self.kinds)
            and event.severity >= self.min_severity
            and (self.subject is None or event.subject == self.subject)
        )

    def cut(self, events: Iterable[Event]) -> list[Event]:
        """Return those of ``events`` that are selected, by number, each once."""
        matching = {event.id: event for event in events if self.matches(event)}
        ordered = [matching[number] for number in sorted(matching)]
        return ordered[: self.limit] if self.oldest_first else ordered[max(0, len(ordered) - self.limit) :]


def events(path: Path, query: EventQuery) -> list[Event]:
    """Return the events on disk that ``query`` selects, newest last."""
    with _reading(path) as connection:
        found = [rows.event_from(row) for row in _select(connection, rows.EVENT_COLUMNS, query)]
    return query.cut(found)


def event_ids(path: Path, query: EventQuery) -> list[int]:
    """Return the numbers of the events on disk that ``query`` selects, in no order."""
    with _reading(path) as connection:
        return [number for (number,) in _select(connection, "id", query)]


def _select(connection: sqlite3.Connection, columns: str, query: EventQuery) -> Iterable[rows.Row]:
    order = "ASC" if query.oldest_first else "DESC"
    statement = (
        f"SELECT {columns} FROM event WHERE id > :after_id AND severity >= :severity"  # noqa: S608
        " AND (:since IS NULL OR time >= :since) AND substr(kind, 1, length(:kinds)) = :kinds"
        f" AND (:subject IS NULL OR subject = :subject) ORDER BY id {order} LIMIT :limit"
    )
    values = {
        "after_id": query.after_id,
        "severity": int(query.min_severity),
        "since": query.since,
        "kinds": query.kinds,
        "subject": query.subject,
        "limit": max(0, query.limit),
    }
    return connection.execute(statement, values)


@dataclass(frozen=True, slots=True)
class SampleQuery:
    """Newest ``limit`` points of ``series`` in [since, until); ``subject`` None means every one.

    ``since`` and ``until`` in Unix seconds.
    """

    series: str
    subject: str | None
    since: float
    until: float
    limit: int


def samples(path: Path, query: SampleQuery) -> list[Point]:
    """Return the points that ``query`` selects, newest last.

    Single samples as far back as they are stored, minutes before that.
    """
    since, until, limit = query.since, query.until, query.limit
    with _reading(path) as connection:
        channels = {
            number: (name, bool(simulated))
            for number, name, simulated in connection.execute(
                "SELECT id, subject, simulated FROM channel WHERE series = ? AND (? IS NULL OR subject = ?)",
                (query.series, query.subject, query.subject),
            )
        }
        if not channels or limit <= 0:
            return []
        single_from = _single_from(connection, until)
        singles = _singles(connection, channels, (max(since * 1_000, single_from), until * 1_000), limit)
        before = min(until, single_from / 1_000)
        minutes = _minutes(connection, channels, (since / 60, before / 60), limit - len(singles))
    return [*minutes, *singles]


def _single_from(connection: sqlite3.Connection, until: float) -> float:
    """Return the time in milliseconds from which on every single sample is there."""
    oldest = connection.execute("SELECT time FROM sample ORDER BY time LIMIT 1").fetchone()
    if oldest is None:
        return until * 1_000
    minute: int = oldest[0] // 60_000
    earlier = connection.execute("SELECT 1 FROM sample_minute WHERE minute < ? LIMIT 1", (minute,)).fetchone()
    # Where samples were forgotten already, the minute in which they begin now may be cut through.
    return (minute + 1) * 60_000 if earlier else minute * 60_000


_Channels: TypeAlias = dict[int, tuple[str, bool]]
_Window: TypeAlias = tuple[float, float]


def _singles(connection: sqlite3.Connection, channels: _Channels, window: _Window, limit: int) -> list[Point]:
    found = _newest(connection, "sample", "time", (channels, window, limit))
    return [Point(at / 1_000, v, v, v, 1, 0.0, *channels[channel]) for at, channel, v in found]


def _minutes(connection: sqlite3.Connection, channels: _Channels, window: _Window, limit: int) -> list[Point]:
    found = _newest(connection, "sample_minute", "minute", (channels, window, limit))
    return [
        Point(minute * 60.0, total / count, low, high, count, 60.0, *channels[channel])
        for minute, channel, count, low, total, high in found
    ]


def _newest(
    connection: sqlite3.Connection, table: str, column: str, which: tuple[_Channels, _Window, int]
) -> Sequence[rows.Row]:
    channels, window, limit = which
    marks = ", ".join("?" * len(channels))
    statement = (
        f"SELECT * FROM {table} WHERE {column} >= ? AND {column} < ? AND channel IN ({marks})"  # noqa: S608
        f" ORDER BY {column} DESC, channel DESC LIMIT ?"
    )
    found = connection.execute(statement, (*window, *channels, max(0, limit))).fetchall()
    return found[::-1]


def spent(path: Path, budget: str, since: float) -> int:
    """Return how often ``budget`` was spent at or after ``since`` (Unix seconds)."""
    with _reading(path) as connection:
        statement = "SELECT count(*) FROM spend WHERE budget = ? AND time >= ?"
        count: int = connection.execute(statement, (rows.clean(budget, rows.NAME_LIMIT), since)).fetchone()[0]
    return count


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open ``path`` for reading only; what is read inside the block is of one moment."""
    address = f"{path.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(address, uri=True, timeout=2.0, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        yield connection
