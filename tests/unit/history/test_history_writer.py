from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from aiidpd.history.database import Batch
from aiidpd.history.rows import Spend
from aiidpd.history.writer import Writer
from aiidpd.kernel.errors import Unavailable
from aiidpd.kernel.events import Event, Sample
from tests.waiting import PATIENCE, until

FULL = sqlite3.SQLITE_FULL


def sqlite_error(code: int, text: str = "database or disk is full") -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    return error


class FakeStorage:
    """Keeps batches in memory; fails, or hangs, as long as a test says."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.failure: Exception | None = None
        self.free = threading.Event()
        self.free.set()
        self.closed = 0
        self.bytes = 4_096

    def write(self, batch: Batch) -> None:
        self.free.wait(2 * PATIENCE)
        if self.failure is not None:
            raise self.failure
        self.batches.append(batch)

    def tidy(self) -> None:
        pass

    def close(self) -> None:
        self.closed += 1

    @property
    def events(self) -> list[int]:
        return [event.id for batch in self.batches for event in batch.events]

    @property
    def samples(self) -> list[float]:
        return [sample.value for batch in self.batches for sample in batch.samples]


Make = Callable[..., Writer]


@pytest.fixture
def storage() -> FakeStorage:
    return FakeStorage()


@pytest.fixture
def make(storage: FakeStorage) -> Iterator[Make]:
    writers: list[Writer] = []

    def make_writer(*, closed: bool = False, **more: float) -> Writer:
        def reopen(damaged: bool) -> FakeStorage:
            asked.append(damaged)
            return storage

        asked: list[bool] = []
        writer = Writer(None if closed else storage, reopen, name="the file", **more)
        writer.asked = asked  # type: ignore[attr-defined]
        writers.append(writer)
        return writer

    yield make_writer
    storage.failure = None
    storage.free.set()
    for writer in writers:
        assert writer.close(PATIENCE)


def event(number: int) -> Event:
    return Event(1.0, "s", "k", "r", id=number)


def sample(value: float) -> Sample:
    return Sample(1.0, "s", "series", "x", value)


def test_an_event_is_written_soon_and_samples_ride_along(make: Make, storage: FakeStorage) -> None:
    writer = make(sample_delay=3_600.0)
    writer.add_sample(sample(1.0))
    writer.add_event(event(1))
    until(lambda: storage.events == [1])
    assert storage.samples == [1.0]
    assert len(storage.batches) == 1


def test_samples_are_gathered(make: Make, storage: FakeStorage) -> None:
    writer = make(sample_delay=3_600.0)
    for number in range(1_999):
        writer.add_sample(sample(number))
    assert storage.batches == []
    writer.add_sample(sample(1_999))  # enough for a transaction
    until(lambda: storage.samples == list(range(2_000)))


def test_a_flush_waits_for_all_that_came_before(make: Make, storage: FakeStorage) -> None:
    writer = make(sample_delay=3_600.0)
    for number in range(5_000):
        writer.add_sample(sample(number))
    for number in range(1, 351):
        writer.add_event(event(number))
    writer.flush().result(PATIENCE)
    assert storage.samples == list(range(5_000))
    assert storage.events == list(range(1, 351))


def test_what_failed_is_written_later_in_order(make: Make, storage: FakeStorage) -> None:
    writer = make(sample_delay=3_600.0)
    storage.failure = sqlite_error(FULL)
    writer.add_event(event(1))
    writer.add_sample(sample(1.0))
    with pytest.raises(
        Unavailable, match="cannot write history the file: database or disk is full; free space"
    ):
        writer.flush().result(PATIENCE)
    assert writer.problem is not None
    assert "database or disk is full" in writer.problem
    assert "2 rows wait in memory" in writer.problem
    assert "free space" not in writer.problem  # which the condition's remedy says
    writer.add_event(event(2))
    assert [e.id for e in writer.pending_events()] == [1, 2]
    storage.failure = None
    until(lambda: writer.problem is None)  # by itself
    writer.flush().result(PATIENCE)
    assert storage.events == [1, 2]
    assert storage.samples == [1.0]
    assert storage.closed == 0  # a full disk is no reason to let go of the file
    assert (writer.dropped_events, writer.dropped_samples, writer.pending) == (0, 0, 0)


def test_memory_is_bounded_and_samples_go_first(make: Make, storage: FakeStorage) -> None:
    writer = make(sample_delay=3_600.0, pending_limit=10)
    storage.failure = sqlite_error(FULL)
    for number in range(8):
        writer.add_sample(sample(number))
    for number in range(1, 10):
        writer.add_event(event(number))
    with pytest.raises(Unavailable):
        writer.flush().result(PATIENCE)
    assert (writer.dropped_samples, writer.dropped_events, writer.pending) == (7, 0, 10)
    for number in range(10, 14):
        writer.add_event(event(number))
    assert (writer.dropped_samples, writer.dropped_events, writer.pending) == (8, 3, 10)
    storage.failure = None
    writer.flush().result(PATIENCE)
    assert storage.events == list(range(4, 14))
    assert storage.samples == []


def test_a_spending_that_fails_is_refused_and_not_written_later(make: Make, storage: FakeStorage) -> None:
    writer = make()
    storage.failure = sqlite_error(FULL)
    with pytest.raises(Unavailable):
        writer.add_spend(Spend("heal", 1.0)).result(PATIENCE)
    storage.failure = None
    writer.add_spend(Spend("heal", 2.0)).result(PATIENCE)
    assert [spend.time for batch in storage.batches for spend in batch.spends] == [2.0]


def test_a_disk_that_hangs_holds_up_neither_recording_nor_the_end(make: Make, storage: FakeStorage) -> None:
    writer = make()
    storage.free.clear()
    writer.add_event(event(1))
    hung = writer.flush()
    until(lambda: not writer._events)  # the thread is inside write()
    began = time.monotonic()
    for number in range(2, 1_000):
        writer.add_event(event(number))
        writer.add_sample(sample(number))
    assert not writer.close(0.2)
    assert time.monotonic() - began < PATIENCE
    assert not hung.done()
    assert [e.id for e in writer.pending_events()] == list(range(1, 1_000))
    with pytest.raises(Unavailable, match="it is closed"):
        writer.flush().result(1)
    with pytest.raises(Unavailable, match="it is closed"):
        writer.add_spend(Spend("heal", 1.0)).result(1)


@pytest.mark.parametrize(
    ("code", "damaged"),
    [(sqlite3.SQLITE_IOERR, False), (sqlite3.SQLITE_CORRUPT, True), (sqlite3.SQLITE_NOTADB, True)],
)
def test_a_file_that_fails_is_opened_again(
    make: Make, storage: FakeStorage, code: int, *, damaged: bool
) -> None:
    writer = make()
    storage.failure = sqlite_error(code, "it broke")
    writer.add_event(event(1))
    with pytest.raises(Unavailable, match="it broke"):
        writer.flush().result(PATIENCE)
    storage.failure = None
    writer.flush().result(PATIENCE)
    assert writer.asked == [damaged]
    assert storage.closed == 1
    assert storage.events == [1]


def test_a_reader_that_found_damage_has_the_file_replaced(make: Make, storage: FakeStorage) -> None:
    writer = make()
    writer.report_damage()
    until(lambda: writer.asked == [True])
    writer.add_event(event(1))
    writer.flush().result(PATIENCE)
    assert storage.events == [1]


def test_a_file_that_could_not_be_opened_is_opened_later(make: Make, storage: FakeStorage) -> None:
    writer = make(closed=True, problem="no space")
    assert writer.problem == "no space"
    writer.add_event(event(1))
    until(lambda: storage.events == [1])
    until(lambda: writer.problem is None)


def test_the_end_writes_what_waits_and_tells_what_it_could_not(storage: FakeStorage) -> None:
    def reopen(_damaged: bool) -> FakeStorage:
        raise AssertionError

    writer = Writer(storage, reopen, name="the file", event_delay=3_600.0, sample_delay=3_600.0)
    for number in range(1, 251):
        writer.add_event(event(number))
    assert writer.close(PATIENCE)
    assert storage.events == list(range(1, 251))
    assert storage.closed == 1

    failing = FakeStorage()
    failing.failure = sqlite_error(FULL)
    writer = Writer(failing, reopen, name="the file", event_delay=3_600.0)
    writer.add_event(event(1))
    assert not writer.close(PATIENCE)
    assert writer.pending == 1
    assert failing.closed == 1


def test_many_threads_record_and_nothing_is_lost(make: Make, storage: FakeStorage) -> None:
    writer = make(event_delay=0.001, sample_delay=0.001)

    def work(first: int) -> None:
        for number in range(first, first + 500):
            writer.add_event(event(number))
            writer.add_sample(sample(number))
            if number % 100 == 0:
                with suppress(Unavailable):
                    writer.flush().result(PATIENCE)

    threads = [threading.Thread(target=work, args=(1 + 500 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.flush().result(PATIENCE)
    assert sorted(storage.events) == list(range(1, 2_001))
    assert sorted(storage.samples) == list(range(1, 2_001))
