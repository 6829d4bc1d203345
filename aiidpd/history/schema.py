"""Tables, and the ordered steps that lead to them. A step that was released never changes."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import TypeAlias

Migration: TypeAlias = Sequence[str]

APPLICATION_ID = 0x61696964  # "aiid": the mark in the file's header that names whose database it is

# The order of the key columns is the order on disk. Time comes first: every write appends to one end
# and every trim cuts the other, so that a transaction touches two pages and not one a series.
MIGRATIONS: Sequence[Migration] = (
    (  # 1: events
        """CREATE TABLE event (
            id INTEGER PRIMARY KEY,
            time REAL NOT NULL,
            source TEXT NOT NULL,
            kind TEXT NOT NULL,
            subject TEXT NOT NULL,
            severity INTEGER NOT NULL,
            reason TEXT NOT NULL,
            evidence TEXT NOT NULL,
            simulated INTEGER NOT NULL
        )""",
        "CREATE INDEX event_by_time ON event (time)",
    ),
    (  # 2: samples; time in milliseconds, minute in minutes, both since the Unix epoch
        """CREATE TABLE channel (
            id INTEGER PRIMARY KEY,
            source TEXT NOT NULL,
            series TEXT NOT NULL,
            subject TEXT NOT NULL,
            simulated INTEGER NOT NULL,
            UNIQUE (series, subject, source, simulated)
        )""",
        """CREATE TABLE sample (
            time INTEGER NOT NULL,
            channel INTEGER NOT NULL,
            value REAL NOT NULL,
            PRIMARY KEY (time, channel)
        ) WITHOUT ROWID""",
        """CREATE TABLE sample_minute (
            minute INTEGER NOT NULL,
            channel INTEGER NOT NULL,
            count INTEGER NOT NULL,
            low REAL NOT NULL,
            total REAL NOT NULL,
            high REAL NOT NULL,
            PRIMARY KEY (minute, channel)
        ) WITHOUT ROWID""",
    ),
    (  # 3: budgets; one row for each thing that was spent
        """CREATE TABLE spend (
            id INTEGER PRIMARY KEY,
            budget TEXT NOT NULL,
            time REAL NOT NULL
        )""",
        "CREATE INDEX spend_by_budget ON spend (budget, time)",
    ),
)


def version(connection: sqlite3.Connection) -> int:
    """Return how many migrations the database has behind it."""
    number: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return number


def migrate(connection: sqlite3.Connection, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Run the steps that the database has not had, each in a transaction of its own.

    The connection must be in autocommit mode. A step that fails leaves the database as the step before
    left it, and raises :class:`sqlite3.Error`.
    """
    for number in range(version(connection), len(migrations)):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in migrations[number]:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {number + 1}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
