"""Notes of how much is on the disk, made beside the writing."""

import threading

import pytest

from aiidpd.components.backup.process.notes import Notes
from tests.waiting import PATIENCE


def nothing() -> None:
    pass


def test_a_length_is_noted_after_a_flush_that_came_after_its_writing():
    done: list[object] = []
    notes = Notes(lambda: done.append("flush"), lambda count, sha256: done.append((count, sha256)), 10)
    for start, end in ((0, 4), (4, 12), (12, 19), (19, 21), (21, 45)):
        notes.hashed(start, end, lambda end=end: f"hash of {end}")
    notes.written(11)
    notes.settle(nothing)
    assert done == []
    notes.written(12)
    notes.settle(nothing)
    assert done == ["flush", (12, "hash of 12")]
    notes.written(45)
    notes.settle(nothing)
    assert done[2:] == ["flush", (45, "hash of 45")]


def test_writing_goes_on_while_a_disk_flushes_and_an_error_comes_back():
    go_on = threading.Event()

    def flush() -> None:
        assert go_on.wait(PATIENCE)
        raise OSError(5, "broken")

    notes = Notes(flush, lambda *_: None, 10)
    notes.hashed(0, 10, lambda: "hash")
    notes.written(10)
    notes.written(15)
    assert not notes.abandon()
    go_on.set()
    with pytest.raises(OSError, match="broken"):
        notes.settle(nothing)
    assert not notes.abandon()
    notes.hashed(15, 20, lambda: "hash")
    with pytest.raises(OSError, match="broken"):
        notes.written(20)
