"""The newest lines of an output, however it is cut, framed or long."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.containers.actions import LogTail
from aiidpd.components.containers.docker.logstream import LINE_BYTES, LogStream

AT = b"2026-11-28T11:00:00.000000000Z "
LINE = st.binary(max_size=40).filter(lambda line: b"\n" not in line and not line.endswith(b"\r"))


def framed(lines: list[bytes]) -> bytes:
    return b"".join(
        bytes([1 + place % 2, 0, 0, 0]) + len(line).to_bytes(4, "big") + line
        for place, line in enumerate(lines)
    )


def pieces(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return (data[low:high] for low, high in pairwise(places))


def read(data: bytes, cuts: list[int], lines: int = 1000, most: int = 1 << 20) -> LogTail:
    stream = LogStream(lines, most)
    for piece in pieces(data, cuts):
        stream.feed(piece)
    return stream.tail(complete=True)


@given(texts=st.lists(LINE, max_size=20), cuts=st.lists(st.integers(0, 5000)), wanted=st.integers(1, 25))
def test_the_newest_lines_come_whole_with_and_without_frames(
    texts: list[bytes], cuts: list[int], wanted: int
) -> None:
    lines = [AT + text for text in texts]
    terminal = read(b"".join(line + b"\r\n" for line in lines), cuts, wanted)
    frames = read(framed([line + b"\n" for line in lines]), cuts, wanted)
    assert terminal.lines == frames.lines == tuple(lines[-wanted:])
    assert terminal.full == frames.full == (len(lines) > wanted)


@given(data=st.binary(max_size=3000), cuts=st.lists(st.integers(0, 5000)))
def test_anything_is_read_in_bounded_memory(data: bytes, cuts: list[int]) -> None:
    found = read(data, cuts, lines=5, most=200)
    assert len(found.lines) <= 5
    assert found.lines == read(data, [], lines=5, most=200).lines


def test_a_line_of_100_megabytes_is_its_beginning_and_how_much_more_there_was() -> None:
    stream = LogStream(10, 1 << 20)
    stream.feed(AT + b"a" + b" begin")
    for _ in range(100):
        stream.feed(b"x" * (1 << 20))
    stream.feed(b"\n" + AT + b"short\n")
    found = stream.tail(complete=True)
    long, short = found.lines
    assert long.startswith(AT + b"[...] beginx")
    whole = len(AT) + 7 + (100 << 20)
    assert long.endswith(b" [%d more bytes]" % (whole - LINE_BYTES))
    assert len(long) < LINE_BYTES + 40
    assert short == AT + b"short"


def test_a_frame_that_claims_four_gigabytes_costs_no_memory() -> None:
    stream = LogStream(10, 1 << 20)
    stream.feed(b"\x01\x00\x00\x00\xff\xff\xff\xff" + AT)
    for _ in range(64):
        stream.feed(b"y" * (1 << 20))
    (line,) = stream.tail(complete=False).lines
    assert len(line) < LINE_BYTES + 40


def test_the_oldest_lines_go_where_there_are_too_many_bytes() -> None:
    lines = [AT + str(number).encode() * 100 for number in range(10)]
    found = read(framed([line + b"\n" for line in lines]), [], lines=10, most=400)
    assert found.lines == tuple(lines[-3:])


def test_a_line_that_did_not_end_is_there() -> None:
    assert read(framed([AT + b"no end"]), []).lines == (AT + b"no end",)


def test_the_rest_of_a_longer_line_is_left_out() -> None:
    # One line more than wanted is requested, since the first may be a later piece of one that is cut.
    rest = [AT + b"f the secret", b"\n", AT + b"a\n", AT + b"b\n"]
    assert read(framed(rest), [], lines=2).lines == (AT + b"a", AT + b"b")


def test_the_first_word_of_what_may_be_such_a_rest_is_left_out() -> None:
    long = [AT + b"rest other words", b"\n", AT + b"y" * 16384, AT + b"z" * 100, b"\n"]
    first, _ = read(framed(long), [], lines=4).lines
    assert first == AT + b"[...] other words"
    first, _ = read(b"".join(long), [], lines=4).lines
    assert first == AT + b"[...] other words"
