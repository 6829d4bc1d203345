from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from aiidpd.history import schema
from aiidpd.history.schema import MIGRATIONS


def connection() -> sqlite3.Connection:
    return sqlite3.connect(":memory:", isolation_level=None)


def shape(database: sqlite3.Connection) -> list[tuple[str, str, str]]:
    return database.execute("SELECT type, name, sql FROM sqlite_master ORDER BY type, name").fetchall()


@pytest.mark.parametrize("old", range(len(MIGRATIONS) + 1))
def test_every_old_version_becomes_what_a_fresh_one_is(old: int) -> None:
    with closing(connection()) as fresh, closing(connection()) as migrated:
        schema.migrate(fresh)
        schema.migrate(migrated, MIGRATIONS[:old])
        assert schema.version(migrated) == old
        if old:
            migrated.execute("INSERT INTO event VALUES (7, 1.5, 's', 'k', '', 20, 'r', '{}', 0)")
        schema.migrate(migrated)
        assert shape(migrated) == shape(fresh)
        assert schema.version(migrated) == len(MIGRATIONS)
        assert migrated.execute("SELECT count(*) FROM event").fetchone() == (1 if old else 0,)
        assert migrated.execute("PRAGMA application_id").fetchone() == (schema.APPLICATION_ID,)


def test_a_step_that_fails_leaves_what_the_step_before_left() -> None:
    steps = (*MIGRATIONS, ("CREATE TABLE extra (a)", "INSERT INTO nowhere VALUES (1)"))
    with closing(connection()) as database, closing(connection()) as fresh:
        schema.migrate(fresh)
        with pytest.raises(sqlite3.OperationalError, match="nowhere"):
            schema.migrate(database, steps)
        assert shape(database) == shape(fresh)
        assert schema.version(database) == len(MIGRATIONS)
        assert not database.in_transaction


def test_migrating_twice_changes_nothing() -> None:
    with closing(connection()) as database:
        schema.migrate(database)
        before = shape(database)
        schema.migrate(database)
        assert shape(database) == before
