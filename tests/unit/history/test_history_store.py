from __future__ import annotations

import math
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.history.database import Batch, Database
from aiidpd.history.reader import EventQuery
from aiidpd.history.retention import Limits
from aiidpd.history.rows import EVIDENCE_LIMIT, REASON_LIMIT, event_from, event_row
from aiidpd.history.store import History
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.events import Event, Sample, Severity
from tests.fakes.clock import FakeClock
from tests.fakes.control import until

DAY = 86_400.0
Open = Callable[..., History]


@pytest.fixture
def opened(tmp_path: Path, clock: FakeClock) -> Iterator[Open]:
    """Open a history and close it at the end, whatever happens."""
    histories: list[History] = []

    def open_history(path: Path | None = None, **more: float) -> History:
        bounds = {"keep": 7 * DAY, "max_bytes": 32 << 20, "sample_delay": 0.05} | more
        history = History.open(path or tmp_path / "history.db", clock=clock, **bounds)
        histories.append(history)
        return history

    yield open_history
    for history in histories:
        history.close()


def size(place: Path) -> int:
    return sum(file.stat().st_size for file in place.iterdir())


def happened(clock: FakeClock, kind: str = "a.b", **more: object) -> Event:
    return Event(clock.time(), "test", kind, "because", **more)


async def test_an_event_comes_back_as_it_was(opened: Open, clock: FakeClock) -> None:
    history = opened()
    bus = EventBus(history.last_event_id)
    seen: list[Event] = []
    bus.attach(events=history.record_event)
    bus.attach(events=seen.append)
    evidence = {"text": "ü\n", "whole": 3, "real": 0.1, "yes": True, "none": None}
    bus.publish(
        happened(clock, subject="gpu-0", severity=Severity.WARNING, evidence=evidence, simulated=True)
    )
    bus.publish(happened(clock))
    assert await history.events() == seen  # from memory
    await history.flush()
    assert await history.events() == seen  # from disk
    assert history.stats.written_events == 2
    assert history.stats.pending == 0


async def test_numbers_go_on_after_a_clean_restart(opened: Open, clock: FakeClock) -> None:
    history = opened()
    for _ in range(3):
        history.record_event(happened(clock))
    assert history.close()
    again = opened()
    assert again.last_event_id == 3
    bus = EventBus(again.last_event_id)
    bus.attach(events=again.record_event)
    bus.publish(happened(clock))
    assert [event.id for event in await again.events()] == [1, 2, 3, 4]


async def test_a_number_that_is_taken_overwrites_nothing(opened: Open, clock: FakeClock) -> None:
    history = opened()
    history.record_event(happened(clock, kind="first", id=5))
    history.record_event(happened(clock, kind="second", id=5))
    await history.flush()
    assert [(event.id, event.kind) for event in await history.events()] == [(5, "first"), (6, "second")]


async def test_paging_by_number_gives_every_event_once(opened: Open, clock: FakeClock) -> None:
    history = opened()
    for _ in range(250):
        history.record_event(happened(clock))
    await history.flush()
    for _ in range(7):
        history.record_event(happened(clock))  # these may still be in memory
    pages, last = [], 1
    while page := await history.events(after_id=last, limit=20):
        last = page[-1].id
        pages += page
    assert [event.id for event in pages] == list(range(2, 258))
    assert [event.id for event in await history.events(limit=3)] == [255, 256, 257]
    assert await history.events(limit=0) == []


async def test_events_are_chosen_by_every_condition(opened: Open, clock: FakeClock) -> None:
    history = opened()
    history.record_event(happened(clock, "container.died", subject="a", severity=Severity.ERROR))
    history.record_event(happened(clock, "container.started", subject="a"))
    history.record_event(happened(clock, "containerd.started", subject="b"))
    await clock.advance(100)
    history.record_event(happened(clock, "container.died", subject="b"))
    for _ in range(2):  # once from memory, once from disk
        ids = [
            [event.id for event in await history.events(**which)]
            for which in (
                {"kinds": "container."},
                {"kinds": "container.", "min_severity": Severity.WARNING},
                {"subject": "b"},
                {"since": clock.time()},
                {"kinds": "container_"},
            )
        ]
        assert ids == [[1, 2, 4], [1], [3, 4], [4], []]
        await history.flush()


async def test_samples_are_single_for_an_hour_and_minutes_before(opened: Open, clock: FakeClock) -> None:
    history = opened()
    start = clock.time()
    for second in range(2 * 3_600):
        history.record_sample(Sample(start + second, "thermal", "watts", "gpu-0", float(second % 60)))
    await history.flush()
    assert len(await history.samples("watts")) == 7_200
    await clock.advance(2 * 3_600)
    await history.flush()  # trims as well
    points = await history.samples("watts", "gpu-0")
    singles = [point for point in points if point.count == 1]
    minutes = [point for point in points if point.count > 1]
    assert len(singles) == 3_600 - 60  # the minute that may be cut through is given as a minute
    assert len(minutes) == 61
    assert {(p.low, p.mean, p.high, p.count, p.seconds) for p in minutes} == {(0, 29.5, 59, 60, 60.0)}
    assert sum(point.count for point in points) == 7_200
    assert [p.time for p in points] == sorted(p.time for p in points)
    newest = await history.samples("watts", "gpu-0", limit=2)
    assert [p.time for p in newest] == [start + 7_198, start + 7_199]
    window = await history.samples("watts", since=start + 60, until=start + 180)
    assert [p.time for p in window] == [start + 60, start + 120]
    assert await history.samples("volts") == []


async def test_minutes_go_on_where_the_batch_before_ended(opened: Open, clock: FakeClock) -> None:
    history = opened(full_rate=0.0)
    for value in (1.0, 5.0, 3.0):
        history.record_sample(Sample(clock.time(), "s", "series", "x", value))
        await clock.advance(10)
        await history.flush()
    await clock.advance(3_600)  # before that the clock is not trusted
    await history.flush()
    (point,) = await history.samples("series")
    assert (point.count, point.low, point.mean, point.high) == (3, 1.0, 3.0, 5.0)


async def test_simulated_and_real_samples_never_mix(opened: Open, clock: FakeClock) -> None:
    history = opened()
    for simulated in (False, True):
        history.record_sample(Sample(clock.time(), "s", "series", "x", 1.0 + simulated, simulated=simulated))
    await history.flush()
    points = await history.samples("series")
    assert [(p.mean, p.simulated) for p in points] == [(1.0, False), (2.0, True)]


async def test_what_is_no_number_is_no_sample(opened: Open, clock: FakeClock) -> None:
    history = opened()
    for value in (math.nan, math.inf, 10**400, 1):
        history.record_sample(Sample(clock.time(), "s", "series", "x", value))
    for time in (math.nan, -1.0, 1e300):
        history.record_sample(Sample(time, "s", "series", "x", 2.0))
    await history.flush()
    assert [point.mean for point in await history.samples("series")] == [1.0]
    assert history.problem is None


async def test_age_ends_events_minutes_and_spendings_but_not_the_newest_event(
    opened: Open, clock: FakeClock
) -> None:
    history = opened(keep=8 * DAY)
    history.record_event(happened(clock, "old"))
    history.record_event(happened(clock, "newest"))
    history.record_sample(Sample(clock.time(), "s", "series", "x", 1.0))
    await history.spend("heal", clock.time())
    await clock.advance(7 * DAY)
    await history.flush()
    assert len(await history.events()) == 2
    assert len(await history.samples("series")) == 1
    await clock.advance(2 * DAY)
    await history.flush()
    assert [event.kind for event in await history.events()] == ["newest"]
    assert await history.samples("series") == []
    assert await history.spent("heal", 0.0) == 0
    assert history.close()
    assert opened().last_event_id == 2  # numbers go on although the events are gone


async def test_a_budget_survives_a_restart(opened: Open, clock: FakeClock) -> None:
    history = opened()
    for _ in range(3):
        await history.spend("heal:engine", clock.time())
        await clock.advance(60)
    await history.spend("other", clock.time())
    assert history.close()
    again = opened()
    assert await again.spent("heal:engine", 0.0) == 3
    assert await again.spent("heal:engine", clock.time() - 120) == 2
    assert await again.spent("nothing", 0.0) == 0


async def test_size_bounds_the_files_and_events_outlive_samples(
    opened: Open, clock: FakeClock, tmp_path: Path
) -> None:
    limit = 8 << 20
    history = opened(max_bytes=limit, full_rate=7 * DAY)
    history.record_event(happened(clock, "kept"))
    largest = 0
    for _ in range(12):
        for _ in range(9):
            await clock.advance(61)
            for number in range(2_000):
                history.record_sample(
                    Sample(clock.time() + number / 50, "s", "series", f"x{number}", 0.1 * number)
                )
        await history.flush()
        largest = max(largest, size(tmp_path))
    assert history.stats.dropped_samples == 0
    assert history.stats.written_samples == 216_000
    assert limit // 2 < largest <= limit
    assert [event.kind for event in await history.events()] == ["kept"]
    newest = await history.samples("series", "x1999", limit=1)
    assert newest[0].mean == pytest.approx(199.9)


async def test_size_bounds_events_too(opened: Open, clock: FakeClock, tmp_path: Path) -> None:
    limit = 8 << 20
    history = opened(max_bytes=limit)
    largest = 0
    for _ in range(20):
        for _ in range(150):
            history.record_event(happened(clock, subject="s" * 300, evidence={"much": "x" * 7_000}))
        await history.flush()
        largest = max(largest, size(tmp_path))
    assert limit // 2 < largest <= limit
    ids = [event.id for event in await history.events(limit=5_000)]
    assert ids == list(range(ids[0], 3_001))
    assert len(ids) > 300


async def test_a_limit_that_was_lowered_is_reached(opened: Open, clock: FakeClock, tmp_path: Path) -> None:
    history = opened()
    for _ in range(2_000):
        history.record_event(happened(clock, evidence={"much": "x" * 7_000}))
    await history.flush()
    assert history.close()
    assert (tmp_path / "history.db").stat().st_size > 12 << 20
    history = opened(max_bytes=8 << 20)
    for _ in range(10):
        await history.flush()
    assert history.close()
    assert (tmp_path / "history.db").stat().st_size < 8 << 20


async def test_a_clock_that_is_ahead_for_a_while_deletes_nothing(opened: Open, clock: FakeClock) -> None:
    history = opened(keep=DAY, full_rate=3_600.0)
    history.record_event(happened(clock, id=1))
    history.record_sample(Sample(clock.time(), "thermal", "temperature_celsius", "GPU-1", 50.0))
    await history.flush()
    await clock.advance(2 * 3_600.0)
    clock.jump(10 * DAY)
    history.record_event(happened(clock, id=2))
    await history.flush()
    await clock.advance(600.0)
    history.record_event(happened(clock, id=3))
    await history.flush()
    clock.jump(-10 * DAY)
    await clock.advance(600.0)
    history.record_event(happened(clock, id=4))
    await history.flush()
    assert [event.id for event in await history.events()] == [1, 2, 3, 4]
    assert len(await history.samples("temperature_celsius")) == 1


async def test_a_start_with_a_clock_that_is_ahead_deletes_nothing(opened: Open, clock: FakeClock) -> None:
    history = opened(keep=DAY)
    history.record_event(happened(clock, id=1))
    await history.flush()
    assert history.close()
    clock.jump(10 * DAY)
    history = opened(keep=DAY)
    await clock.advance(600.0)
    history.record_event(happened(clock, id=2))
    await history.flush()
    assert [event.id for event in await history.events()] == [1, 2]


async def test_what_was_stamped_by_a_clock_that_was_behind_is_kept_as_long_as_all_else(
    opened: Open, clock: FakeClock
) -> None:
    clock.jump(-3_650 * DAY)
    history = opened(keep=DAY)
    history.record_event(happened(clock, id=1))
    await history.flush()
    clock.jump(3_650 * DAY)
    await clock.advance(DAY - 600.0)
    history.record_event(happened(clock, id=2))
    await history.flush()
    assert [event.id for event in await history.events()] == [1, 2]
    await clock.advance(3_600.0)
    history.record_event(happened(clock, id=3))
    await history.flush()
    assert [event.id for event in await history.events()] == [2, 3]


async def test_a_folder_that_is_removed_is_a_problem_and_what_happened_waits_until_it_is_back(
    opened: Open, clock: FakeClock, tmp_path: Path
) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    history = opened(folder / "history.db")
    history.record_event(replace(happened(clock, "a.first"), id=1))
    await history.flush()
    shutil.rmtree(folder)
    history.record_event(replace(happened(clock, "a.second"), id=2))
    await until(lambda: history.problem is not None)
    folder.mkdir()
    await until(lambda: history.problem is None)
    assert [each.kind for each in await history.events()] == ["a.second"]


def test_samples_from_the_future_do_not_outlive_all_others(tmp_path: Path, clock: FakeClock) -> None:
    database = Database(tmp_path / "history.db", Limits(DAY, 8 << 20), clock)

    def samples(first: float, count: int) -> list[Sample]:
        return [Sample(first + number, "s", "series", "x", 1.0) for number in range(count)]

    with closing(database):
        ahead = clock.time() + 10 * DAY
        for _ in range(40):
            database.write(Batch(samples=samples(ahead, 5_000)))
            ahead += 5_000
        while database.bytes < 6 << 20:
            database.write(Batch(samples=samples(ahead, 5_000)))
            ahead += 5_000
            database.tidy()
        recent = samples(clock.time() - 1_000, 1_000)
        database.write(Batch(samples=recent))
        for _ in range(20):
            database.write(Batch(samples=samples(ahead, 5_000)))
            ahead += 5_000
            database.tidy()
    with closing(sqlite3.connect(tmp_path / "history.db")) as connection:
        kept = connection.execute(
            "SELECT count(*) FROM sample WHERE time <= ?", (round(clock.time() * 1_000),)
        ).fetchone()[0]
    assert kept == len(recent)


def test_the_newest_event_outlives_every_bound(tmp_path: Path, clock: FakeClock) -> None:
    database = Database(tmp_path / "history.db", Limits(DAY, 3 << 20), clock)
    with closing(database):
        for first in (1, 101):
            numbers = range(first, first + 100)
            database.write(Batch([happened(clock, id=n, evidence={"much": "x" * 7_000}) for n in numbers]))
        database.tidy()
        assert database.last_event_id == 200
        assert database.bytes < 3 << 20


def test_text_that_is_too_long_is_cut_and_says_so() -> None:
    event = Event(1.0, "s", "k", "r" * 50_000, evidence={"big": "x" * 50_000}, id=1)
    kept = event_from(event_row(event))
    assert len(kept.reason) == REASON_LIMIT
    assert kept.reason.endswith("…")
    assert list(kept.evidence) == ["clipped"]
    assert len(event_row(event)[7]) < EVIDENCE_LIMIT


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
events = st.builds(
    Event,
    time=st.floats(0, 4e9),
    source=st.text(),
    kind=st.text(),
    reason=st.text(),
    subject=st.text(),
    severity=st.sampled_from(Severity),
    evidence=st.dictionaries(st.text(), scalars, max_size=5),
    simulated=st.booleans(),
    id=st.integers(1, 2**60),
)


@given(events)
def test_any_event_survives_its_row(event: Event) -> None:
    assert event_from(event_row(event)) == event


@given(st.text(st.characters(codec=None)))
def test_any_text_can_be_stored(text: str) -> None:
    row = event_row(Event(math.nan, text, text, text, text, evidence={"a": text}))
    for value in row:
        if isinstance(value, str):
            value.encode()


@given(st.lists(events, max_size=20), st.integers(0, 5), st.integers(0, 30))
def test_a_cut_is_ordered_bounded_and_without_doubles(found: list[Event], after: int, limit: int) -> None:
    cut = EventQuery(after_id=after, limit=limit).cut([*found, *found])
    ids = [event.id for event in cut]
    assert len(ids) <= limit
    assert ids == sorted(set(ids))


def test_each_thing_is_imported_only_where_it_is_needed() -> None:
    program = "import sys, aiidpd.history.store; print('structlog' in sys.modules, 'aiohttp' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
