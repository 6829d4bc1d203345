"""The history on real disks: processes killed at any moment, and a disk with no space left."""

from __future__ import annotations

import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from aiidpd.history.store import History
from aiidpd.kernel.clock import SystemClock
from aiidpd.kernel.errors import Unavailable
from aiidpd.kernel.events import Event, Sample
from tests.forms import short_and_long
from tests.waiting import PATIENCE

WRITER = textwrap.dedent("""
    import sys, time
    import anyio
    from pathlib import Path
    from aiidpd.history.store import History
    from aiidpd.kernel.bus import EventBus
    from aiidpd.kernel.clock import SystemClock
    from aiidpd.kernel.events import Event, Sample

    async def main():
        clock = SystemClock()
        path = Path(sys.argv[1])
        history = History.open(path, keep=86_400.0, max_bytes=64 << 20, clock=clock, sample_delay=0.01)
        bus = EventBus(history.last_event_id)
        bus.attach(events=history.record_event, samples=history.record_sample)
        seen = []
        bus.attach(events=lambda event: seen.append(event.id))
        print("open", flush=True)
        for turn in range(10**9):
            for number in range(turn % 7 + 1):
                bus.publish(Event(clock.time(), "test", "test.turn", "x" * (turn * 37 % 2000)))
                bus.sample(Sample(clock.time(), "test", "series", f"x{number}", turn))
            await history.spend("budget", clock.time())
            await history.flush()
            print(*seen, flush=True)
            seen.clear()

    anyio.run(main)
""")


@short_and_long("kills", 8, 32)  # each of so many processes imports, opens, writes and dies
def test_a_kill_at_any_moment_loses_nothing_that_was_acknowledged(tmp_path: Path, kills: int) -> None:
    path = tmp_path / "state" / "history.db"
    path.parent.mkdir()
    chance = random.Random(20)
    acknowledged: set[int] = set()
    turns = kill = 0
    while kill < kills or len(acknowledged) <= 100:
        assert kill < 10 * kills
        kill += 1
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        with process.stdout:
            if kill % 4 == 0:
                time.sleep(chance.uniform(0.05, 0.4))  # while it starts, too
            else:
                assert process.stdout.readline() == "open\n"
                time.sleep(chance.uniform(0.0, 0.25))
            process.send_signal(signal.SIGKILL)
            lines = process.stdout.read().split("\n")[:-1]  # a last line without its end was cut off
            process.wait()
        for line in lines:
            if line != "open":
                ids = {int(word) for word in line.split()}
                assert not ids & acknowledged, "a number was given twice"
                acknowledged |= ids
                turns += 1
        if path.exists() and path.stat().st_size:
            examine(path, tmp_path / "copy", acknowledged, turns)
    assert not [file for file in path.parent.iterdir() if "damaged" in file.name]


def examine(path: Path, copy: Path, acknowledged: set[int], turns: int) -> None:
    """Look at a copy, so that the next process finds what the kill left and not what we mended."""
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(path.parent, copy)
    with closing(sqlite3.connect(copy / path.name)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        if acknowledged:
            kept = {number for (number,) in database.execute("SELECT id FROM event")}
            assert acknowledged <= kept
            assert database.execute("SELECT count(*) FROM spend").fetchone()[0] >= turns
            total = database.execute("SELECT sum(count) FROM sample_minute").fetchone()[0]
            assert total >= database.execute("SELECT count(*) FROM sample").fetchone()[0]


@pytest.fixture
def small_disk(tmp_path: Path, missing: Callable[[str, str], None]) -> Iterator[Path]:
    """A file system of 1 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        missing("small tmpfs", mounted.stderr.strip())
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def fill(place: Path) -> Path:
    """Leave not one page free."""
    filler = place / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4_096)
        except OSError:
            return filler


def open_history(place: Path) -> History:
    return History.open(
        place / "history.db", keep=86_400.0, max_bytes=8 << 20, clock=SystemClock(), sample_delay=0.1
    )


async def settled(history: History) -> None:
    with anyio.fail_after(2 * PATIENCE):
        while history.problem is not None:  # noqa: ASYNC110 -- there is no event for it, as for the daemon
            await anyio.sleep(0.05)


@pytest.mark.real("tmpfs")
async def test_a_full_disk_costs_nothing_but_time(small_disk: Path) -> None:
    history = open_history(small_disk)
    try:
        history.record_event(Event(1.0, "test", "test.first", "before"))
        await history.flush()
        filler = fill(small_disk)
        count = 1
        for _ in range(200):
            history.record_event(Event(time.time(), "test", "test.more", "x" * 1_500))
            history.record_sample(Sample(time.time() + count, "test", "series", "x", 1.0))
            count += 1
        with pytest.raises(Unavailable, match="full"):
            await history.flush()
        assert history.problem is not None
        assert "full" in history.problem
        with pytest.raises(Unavailable):
            await history.spend("heal", time.time())
        assert await history.spent("heal", 0.0) == 0
        assert len(await history.events(limit=10_000)) == count  # from disk and memory together
        filler.unlink()
        await settled(history)
        await history.flush()
        assert [event.id for event in await history.events(limit=10_000)] == list(range(1, count + 1))
        assert sum(point.count for point in await history.samples("series")) == count - 1
        await history.spend("heal", time.time())
        assert await history.spent("heal", 0.0) == 1
        assert (history.stats.dropped_events, history.stats.dropped_samples) == (0, 0)
    finally:
        assert history.close(PATIENCE)
    with closing(sqlite3.connect(small_disk / "history.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.real("tmpfs")
@pytest.mark.parametrize("begun", [True, False])
async def test_a_daemon_starts_on_a_full_disk(small_disk: Path, *, begun: bool) -> None:
    if begun:
        history = open_history(small_disk)
        history.record_event(Event(1.0, "test", "test.first", "before"))
        assert history.close(PATIENCE)
    filler = fill(small_disk)
    history = open_history(small_disk)
    try:
        history.record_event(Event(time.time(), "test", "test.second", "while full"))
        with pytest.raises(Unavailable):
            await history.flush()
        assert history.problem is not None
        filler.unlink()
        await settled(history)
        await history.flush()
        kinds = [event.kind for event in await history.events()]
        assert kinds == (["test.first", "test.second"] if begun else ["test.second"])
    finally:
        assert history.close(PATIENCE)
