from __future__ import annotations

import os

import pytest

from aiidpd.platform.stderr import StderrTail


@pytest.fixture
def tail():
    tail = StderrTail(limit=16)
    yield tail
    tail.close_writer()
    tail.close()


def test_nothing_written_is_no_last_line(tail: StderrTail) -> None:
    assert tail.last_line() == ""


def test_the_last_line_is_the_last_that_is_not_empty(tail: StderrTail) -> None:
    os.write(tail.writer, b"one\ntwo \n\n")

    assert tail.last_line() == "two"


def test_of_much_only_the_end_is_stored(tail: StderrTail) -> None:
    for _ in range(3):
        os.write(tail.writer, b"x" * 60_000)
        tail.drain()
    os.write(tail.writer, b"\nlast \xff\n")

    assert tail.last_line() == "last \N{REPLACEMENT CHARACTER}"


def test_a_full_pipe_stalls_nobody(tail: StderrTail) -> None:
    assert not os.get_blocking(tail.writer)
    pipe_size = 65_536
    assert os.write(tail.writer, b"x" * pipe_size) == pipe_size
    with pytest.raises(BlockingIOError):
        os.write(tail.writer, b"x")
