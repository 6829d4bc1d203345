"""The event stream parser: however the bytes are cut, the events are the same."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.engines.sse import EventParser, MalformedStreamError, ServerEvent


def read(*pieces: bytes, limit: int = 1024) -> tuple[list[ServerEvent], str]:
    """Return the events before the first error, and that error."""
    parser = EventParser(limit)
    events: list[ServerEvent] = []
    try:
        for piece in pieces:
            for event in parser.feed(piece):
                events.append(event)  # noqa: PERF402 -- those before an error count
    except MalformedStreamError as error:
        return events, str(error)
    return events, ""


def data_of(*pieces: bytes) -> list[str]:
    events, error = read(*pieces)
    assert error == ""
    return [event.data for event in events]


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"])
def test_every_line_ending_ends_a_line(ending: bytes):
    assert data_of(ending.join([b"data: a", b"", b"data: b", b"", b""])) == ["a", "b"]


def test_data_lines_of_one_event_are_joined_and_comments_ignored():
    assert data_of(b": ping\ndata: a\ndata:b\n: x\ndata\nid: 7\nretry: 1\n\n") == ["a\nb\n"]


def test_only_one_leading_space_belongs_to_the_syntax():
    assert data_of(b"data:  a\n\n") == [" a"]


def test_an_event_names_its_type_and_the_next_one_does_not_inherit_it():
    events, _ = read(b"event: error\ndata: x\n\ndata: y\n\n")
    assert events == [ServerEvent("x", "error"), ServerEvent("y")]


def test_an_event_without_data_is_none_and_an_unfinished_one_waits():
    assert data_of(b"event: ping\n\n\n\ndata: a\n") == []


def test_a_byte_order_mark_at_the_start_is_no_part_of_the_first_line():
    assert data_of(b"\xef\xbb", b"\xbfdata: a\n\n") == ["a"]


def test_an_lf_after_a_cr_in_the_next_piece_is_the_same_line_ending():
    assert data_of(b"data: a\r", b"\ndata: b\r", b"\n\r", b"\n") == ["a\nb"]


def test_a_line_that_never_ends_is_refused_before_it_fills_the_memory():
    events, error = read(b"data: ok\n\n", *[b"x" * 100] * 100)
    assert [event.data for event in events] == ["ok"]
    assert "longer than 1024 bytes" in error


def test_an_event_that_never_ends_is_refused_too():
    _, error = read(*[b"data: " + b"x" * 100 + b"\n"] * 100)
    assert "data of an event is longer than 1024 bytes" in error


def test_what_is_not_utf8_is_an_error_after_the_events_before_it():
    events, error = read(b"data: a\n\ndata: \xff\n\ndata: b\n\n")
    assert [event.data for event in events] == ["a"]
    assert "not UTF-8" in error


lines = st.one_of(
    st.sampled_from(
        [b"", b"data: a", b"data", b": c", b"event: e", b"data: \xc3\xa9", b"data: \xff", b"\xef\xbb\xbf"]
    ),
    st.binary(max_size=12),
    st.integers(28, 36).map(lambda n: b"data: " + b"x" * n),
)
streams = st.lists(st.tuples(lines, st.sampled_from([b"\n", b"\r\n", b"\r"])), max_size=12).map(
    lambda pairs: b"".join(line + ending for line, ending in pairs)
)


@given(streams, st.lists(st.integers(0, 200), max_size=20))
def test_however_the_bytes_are_cut_the_events_and_the_error_are_the_same(stream: bytes, cuts: list[int]):
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    pieces = [stream[start:end] for start, end in itertools.pairwise(places)]
    whole = read(stream, limit=40)
    assert read(*pieces, limit=40) == whole
    assert read(*[stream[at : at + 1] for at in range(len(stream))], limit=40) == whole


texts = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1)


@given(st.lists(texts, min_size=1, max_size=5), st.sampled_from(["\n", "\r\n", "\r"]))
def test_what_is_written_as_events_is_read_as_the_same_texts(written: list[str], ending: str):
    stream = "".join(f"data: {each}{ending}{ending}" for each in written).encode()
    assert data_of(stream) == written
