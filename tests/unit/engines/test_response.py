"""HTTP/1.1 responses: however the bytes are cut, the body is the same."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.engines.faults import AnswerFaultError, Fault
from aiidpd.engines.response import ResponseReader

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"


def chunked(*chunks: bytes, trailer: bytes = b"") -> bytes:
    body = b"".join(b"%x;x=1\r\n%s\r\n" % (len(each), each) for each in chunks)
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + body + b"0\r\n" + trailer + b"\r\n"


def sized(body: bytes) -> bytes:
    return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body


def whole(*pieces: bytes) -> tuple[ResponseReader, bytes]:
    reader = ResponseReader()
    body = b"".join(map(reader.feed, pieces))
    reader.end()
    return reader, body


@given(
    st.lists(st.binary(min_size=1, max_size=20), max_size=5),
    st.sampled_from(["chunked", "sized", "until the end"]),
    st.data(),
)
def test_any_split_gives_the_same_body(chunks: list[bytes], framing: str, data: st.DataObject):
    body = b"".join(chunks)
    sent = {
        "chunked": chunked(*chunks, trailer=b"x: 1\r\n"),
        "sized": sized(body),
        "until the end": HEAD + b"\r\n" + body,
    }[framing]
    if data.draw(st.booleans()):
        sent = b"HTTP/1.1 100 Continue\r\n\r\n" + sent
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=8)))
    reader, found = whole(*(sent[a:b] for a, b in itertools.pairwise([0, *cuts, len(sent)])))
    assert found == body
    assert (reader.status, reader.done) == (200, True)
    assert reader.headers["content-type"] == "text/event-stream"


def test_what_follows_is_not_read():
    reader = ResponseReader()
    assert reader.feed(sized(b"ab") + b"HTTP/1.1 500\r\n") == b"ab"
    assert reader.done
    assert reader.feed(b"more") == b""
    assert ResponseReader().feed(b"HTTP/1.1 204 No Content\r\n\r\nx") == b""


@pytest.mark.parametrize(
    ("sent", "fault", "reason"),
    [
        (b"", Fault.NO_ANSWER, "before an answer"),
        (HEAD, Fault.NO_ANSWER, "before an answer"),
        (sized(b"abc")[:-1], Fault.CUT, "amid the answer"),
        (chunked(b"abc")[:-2], Fault.CUT, "amid the answer"),
        (b"SSH-2.0-x\r\n\r\n", Fault.MALFORMED, "does not begin as a response"),
        (b"HTTP/1.1 abc\r\n\r\n", Fault.MALFORMED, "does not begin as a response"),
        (HEAD + b"nothing\r\n\r\n", Fault.MALFORMED, "no colon"),
        (HEAD + b"Content-Length: -1\r\n\r\n", Fault.MALFORMED, "no number"),
        (HEAD + b"Content-Length: 99999999999\r\n\r\n", Fault.MALFORMED, "no number"),
        (HEAD + b"Transfer-Encoding: gzip\r\n\r\n", Fault.MALFORMED, "not known"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", Fault.MALFORMED, "no number"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n", Fault.MALFORMED, "longer than it says"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1" * 2000, Fault.MALFORMED, "between chunks"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000, Fault.MALFORMED, "head is longer"),
    ],
)
def test_what_is_no_response_has_a_label(sent: bytes, fault: Fault, reason: str):
    with pytest.raises(AnswerFaultError, match=reason) as caught:
        whole(*(sent[at : at + 100] for at in range(0, len(sent), 100)))
    assert caught.value.fault is fault


@given(
    st.lists(st.binary(max_size=30) | st.sampled_from([HEAD, b"\r\n", b"5\r\n", b"0\r\n\r\n"]), max_size=10)
)
def test_garbage_raises_the_labelled_failure_and_nothing_else(pieces: list[bytes]):
    reader = ResponseReader()
    try:
        for piece in pieces:
            reader.feed(piece)
        reader.end()
    except AnswerFaultError as fault:
        assert str(fault)  # noqa: PT017 -- what it raises is not given
    else:
        assert reader.done
