from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing, suppress
from pathlib import Path

import pytest

from aiidpd.history import schema
from aiidpd.history.conditions import update_conditions
from aiidpd.history.store import History
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.errors import Misconfigured, Unavailable
from aiidpd.kernel.events import Event, Sample
from aiidpd.kernel.publisher import Publisher
from tests.fakes.clock import FakeClock
from tests.waiting import PATIENCE


def open_history(path: Path, clock: FakeClock, **more: float) -> History:
    return History.open(path, **({"keep": 86_400.0, "max_bytes": 16 << 20} | more), clock=clock)


def refusal(path: Path, clock: FakeClock) -> str:
    with pytest.raises(Misconfigured) as caught:
        open_history(path, clock)
    assert str(path) in str(caught.value)
    assert caught.value.remedy
    return caught.value.reason


def names(place: Path) -> list[str]:
    return sorted(file.name for file in place.iterdir())


def filled(path: Path, clock: FakeClock, count: int = 2_000) -> None:
    history = open_history(path, clock)
    for number in range(count):
        history.record_event(Event(clock.time(), "s", "k", f"reason {number}"))
        history.record_sample(Sample(clock.time() + number, "s", "series", "x", number))
    assert history.close(PATIENCE)


def test_a_newer_database_is_left_alone(tmp_path: Path, clock: FakeClock) -> None:
    path = tmp_path / "history.db"
    filled(path, clock, 3)
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 99")
    before, listing = path.read_bytes(), names(tmp_path)
    reason = refusal(path, clock)
    assert (
        reason == f"it has schema version 99, and this aiidpd knows versions up to {len(schema.MIGRATIONS)}"
    )
    assert path.read_bytes() == before
    assert names(tmp_path) == listing


def test_the_version_stands_in_the_header_at_once(tmp_path: Path, clock: FakeClock) -> None:
    path = tmp_path / "history.db"
    history = open_history(path, clock)
    header = path.read_bytes()[:100]
    history.close()
    assert int.from_bytes(header[60:64]) == len(schema.MIGRATIONS)
    assert int.from_bytes(header[68:72]) == schema.APPLICATION_ID


@pytest.mark.parametrize("old", range(1, len(schema.MIGRATIONS)))
async def test_an_older_database_is_brought_up_to_date(tmp_path: Path, clock: FakeClock, old: int) -> None:
    path = tmp_path / "history.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        schema.migrate(database, schema.MIGRATIONS[:old])
        database.execute("PRAGMA journal_mode = WAL")
        row = (7, clock.time(), "s", "kept", "", 20, "r", "{}", 0)
        database.execute("INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    history = open_history(path, clock)
    try:
        with path.open("rb") as file:
            assert int.from_bytes(file.read(100)[60:64]) == len(schema.MIGRATIONS)
        assert history.last_event_id == 7
        assert [event.kind for event in await history.events()] == ["kept"]
        await history.spend("heal", clock.time())
    finally:
        assert history.close(PATIENCE)


def test_what_is_no_database_of_ours_is_left_alone(tmp_path: Path, clock: FakeClock) -> None:
    text = tmp_path / "text"
    text.write_text("hello")
    assert refusal(text, clock) == "it is not an SQLite database"
    assert text.read_text() == "hello"
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as database:
        database.execute("PRAGMA application_id = 7")
        database.execute("CREATE TABLE theirs (a)")
    before = other.read_bytes()
    assert refusal(other, clock) == "it is the database of another program"
    assert other.read_bytes() == before
    unmarked = tmp_path / "unmarked.db"
    with closing(sqlite3.connect(unmarked)) as database:
        database.execute("CREATE TABLE theirs (a)")
    before = unmarked.read_bytes()
    assert refusal(unmarked, clock) == "it is the database of another program"
    assert unmarked.read_bytes() == before


def test_what_is_no_file_is_refused(tmp_path: Path, clock: FakeClock) -> None:
    (tmp_path / "directory").mkdir()
    assert refusal(tmp_path / "directory", clock) == "it is not a regular file"
    os.mkfifo(tmp_path / "pipe")
    assert refusal(tmp_path / "pipe", clock) == "it is not a regular file"
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(tmp_path / "socket"))
        assert refusal(tmp_path / "socket", clock) == "it is not a regular file"
    assert "there is no directory" in refusal(tmp_path / "missing" / "history.db", clock)


def test_a_bound_too_small_to_keep_is_refused(tmp_path: Path, clock: FakeClock) -> None:
    with pytest.raises(Misconfigured, match="less than 8 MiB"):
        open_history(tmp_path / "history.db", clock, max_bytes=1 << 20)
    assert names(tmp_path) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become a user who may not")
def test_a_file_of_somebody_else_is_refused(tmp_path: Path, clock: FakeClock) -> None:
    path = tmp_path / "history.db"
    filled(path, clock, 3)
    program = textwrap.dedent("""
        import os, sys
        from pathlib import Path
        from aiidpd.history.files import inspect
        from aiidpd.kernel.errors import Misconfigured, Unavailable
        os.chmod(sys.argv[2], 0o755)
        os.chdir(sys.argv[2])
        os.setuid(65534)
        for name in sys.argv[3:]:
            try:
                inspect(Path(name))
            except Misconfigured as error:
                print(error.reason)
    """)
    path.chmod(0o600)
    (tmp_path / "readable.db").write_bytes(path.read_bytes())
    command = [sys.executable, "-c", program, "--", str(tmp_path), "history.db", "readable.db", "new.db"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "Permission denied",
        "readable.db is not writable for uid 65534",
        ". is not writable for uid 65534",
    ]


async def test_a_damaged_database_is_kept_and_a_new_one_begun(tmp_path: Path, clock: FakeClock) -> None:
    path = tmp_path / "history.db"
    filled(path, clock)
    content = bytearray(path.read_bytes())
    content[4_096 * 2 : 4_096 * 12] = b"\xa5" * (4_096 * 10)
    path.write_bytes(content)
    history = open_history(path, clock)
    try:
        aside = tmp_path / "history.db.damaged-20270115T080000Z"
        assert aside.read_bytes() == content
        # numbers that were given once are not given again, although the old ones can't be read
        assert history.last_event_id == int(clock.time())
        bus = EventBus(history.last_event_id)
        bus.attach(events=history.record_event)
        update_conditions(history, Publisher(bus, clock, "history"), Conditions(clock, bus))
        update_conditions(history, Publisher(bus, clock, "history"), Conditions(clock, bus))
        (event,) = await history.events()
        assert event.kind == "history.set_aside"
        assert f"it is kept as {aside}" in event.reason
        await history.flush()
        assert history.problem is None
    finally:
        history.close()


async def test_damage_that_shows_while_running_costs_nothing_new(tmp_path: Path, clock: FakeClock) -> None:
    path = tmp_path / "history.db"
    filled(path, clock)
    history = open_history(path, clock)
    try:
        with path.open("r+b") as file:
            file.seek(4_096)
            file.write(b"\xa5" * (path.stat().st_size - 4_096))
        history.record_event(Event(clock.time(), "s", "k", "new"))
        deadline = 200
        while not (notices := history.take_notices()):
            deadline -= 1
            assert deadline, history.problem
            with suppress(Unavailable):  # which of the two notices first is SQLite's affair
                await history.flush()
                await history.events()
        assert "SQLite found it damaged" in notices[0]
        await history.flush()
        assert history.problem is None
        assert [event.reason for event in await history.events(after_id=1_999)] in ([], ["new"])
        history.record_event(Event(clock.time(), "s", "k", "newer"))
        await history.flush()
        assert (await history.events())[-1].reason == "newer"
    finally:
        history.close()


async def test_numbers_skip_after_a_kill(tmp_path: Path, clock: FakeClock) -> None:
    path = tmp_path / "history.db"
    history = open_history(path, clock)
    history.record_event(Event(clock.time(), "s", "k", "r"))
    await history.flush()
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("history.db", "history.db-wal"):  # what a kill would leave
        (copy / name).write_bytes((tmp_path / name).read_bytes())
    history.close()
    after = open_history(copy / "history.db", clock)
    try:
        assert after.last_event_id == 20_001
        assert [event.id for event in await after.events()] == [1]
    finally:
        after.close()


def test_a_problem_is_a_condition_while_it_lasts(clock: FakeClock) -> None:
    class Troubled:
        problem: str | None = "cannot write history x: full"

        def take_notices(self) -> list[str]:
            return []

    troubled, bus = Troubled(), EventBus()
    conditions = Conditions(clock, bus)
    update_conditions(troubled, Publisher(bus, clock, "history"), conditions)
    assert [(f.type, f.reason) for f in conditions.active()] == [("history", "cannot write history x: full")]
    troubled.problem = None
    update_conditions(troubled, Publisher(bus, clock, "history"), conditions)
    assert conditions.active() == ()
