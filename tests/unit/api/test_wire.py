from __future__ import annotations

import http.client
import io
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.api.wire import (
    LONGEST_HEAD,
    Answer,
    BrokenOffError,
    MalformedError,
    quoted,
    request,
    target,
)

BODIES = st.binary(max_size=300)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
LETTERS = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=12)
OURS = ("connection", "content-length", "transfer-encoding")


def receiving(data: bytes, cuts: list[int]) -> Callable[[int], bytes]:
    """Return a ``recv`` that gives ``data`` in pieces of the sizes ``cuts``, then in any."""
    stream = io.BytesIO(data)
    sizes = iter(cuts)

    def receive(most: int) -> bytes:
        return stream.read(min(most, next(sizes, 65536)))

    return receive


CUTS = st.lists(st.integers(1, 40), max_size=60)


def chunked(body: bytes, sizes: list[int]) -> bytes:
    stream = io.BytesIO(body)
    pieces = [stream.read(size) for size in [*sizes, len(body) + 1]]
    chunks = [b"%x;extension\r\n%s\r\n" % (len(piece), piece) for piece in pieces if piece]
    return b"".join(chunks) + b"0\r\nX-Trailer: y\r\n\r\n"


@st.composite
def answers(draw: st.DrawFn) -> tuple[int, bytes, bytes, bool]:
    """Return status, body, the bytes of the answer, and whether the connection can be used again."""
    status = draw(st.sampled_from([200, 201, 202, 400, 403, 404, 409, 500, 503]))
    body = draw(BODIES)
    lines = [b"HTTP/1.1 %d %s" % (status, draw(LETTERS).encode())]
    for name, value in draw(st.dictionaries(LETTERS.filter(lambda name: name not in OURS), LETTERS)).items():
        lines.append(f"{name}: {value}".encode())
    how = draw(st.sampled_from(["length", "chunked", "close"]))
    close = draw(st.booleans())
    if close:
        lines.append(b"Connection: close")
    if how == "length":
        lines.append(b"content-LENGTH:%d " % len(body))
        sent = body
    elif how == "chunked":
        lines.append(b"Transfer-Encoding: Chunked")
        sent = chunked(body, draw(st.lists(st.integers(1, 50), max_size=5)))
    else:
        sent = body
    return status, body, b"\r\n".join([*lines, b"", sent]), how != "close" and not close


@given(answers(), CUTS)
def test_an_answer_is_read_whatever_pieces_it_comes_in(
    given_answer: tuple[int, bytes, bytes, bool], cuts: list[int]
) -> None:
    status, body, sent, reusable = given_answer
    answer = Answer(receiving(sent, cuts))
    assert not answer.reusable
    assert (answer.status, answer.read()) == (status, body)
    assert answer.reusable == reusable


@given(answers(), CUTS, st.data())
def test_an_answer_that_breaks_off_is_never_taken_for_a_whole_one(
    given_answer: tuple[int, bytes, bytes, bool], cuts: list[int], data: st.DataObject
) -> None:
    _, body, sent, _ = given_answer
    cut = data.draw(st.integers(1, len(sent) - 1))
    try:
        read = Answer(receiving(sent[:cut], cuts)).read()
    except BrokenOffError:
        return
    # Only one that ends with its connection can't be told from a whole one.
    head = sent.partition(b"\r\n\r\n")[0].lower()
    assert b"content-length:" not in head
    assert b"transfer-encoding:" not in head
    assert body.startswith(read)


@given(st.binary(max_size=400), CUTS)
def test_no_bytes_end_in_anything_but_an_answer_or_an_error_of_ours(data: bytes, cuts: list[int]) -> None:
    for sent in (
        data,
        b"HTTP/1.1 200 OK\r\n" + data,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + data,
    ):
        with suppress(MalformedError, ConnectionResetError):
            Answer(receiving(sent, cuts)).read()


class _Socket:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, *_: object) -> io.BytesIO:
        return io.BytesIO(self._data)


@given(answers(), CUTS)
def test_it_reads_what_the_standard_library_reads(
    given_answer: tuple[int, bytes, bytes, bool], cuts: list[int]
) -> None:
    sent = given_answer[2]
    library = http.client.HTTPResponse(_Socket(sent))  # type: ignore[arg-type]  # it only makes a file of it
    library.begin()
    ours = Answer(receiving(sent, cuts))
    assert (ours.status, ours.read()) == (library.status, library.read())


HEAD = b"HTTP/1.1 200 OK\r\n"
MALFORMED = {
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "another version": b"HTTP/2 200 OK\r\n\r\n",
    "no status": b"HTTP/1.1\r\n\r\n",
    "a status that is no number": b"HTTP/1.1 2xx OK\r\n\r\n",
    "a status that comes before the answer": b"HTTP/1.1 100 Continue\r\n\r\n",
    "a header without a colon": HEAD + b"nothing\r\n\r\n",
    "a folded header": HEAD + b"a: b\r\n c: d\r\n\r\n",
    "a blank before the colon": HEAD + b"Content-Length : 2\r\n\r\n{}",
    "a length that is no number": HEAD + b"Content-Length: -1\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "a length beyond bounds": HEAD + b"Content-Length: 999999999999\r\n\r\n",
    "a length and chunks": HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
    "an unknown coding": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    "a chunk without a size": HEAD + b"Transfer-Encoding: chunked\r\n\r\n\r\n",
    "a chunk's size in words": HEAD + b"Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n",
    "a chunk's size beyond bounds": HEAD + b"Transfer-Encoding: chunked\r\n\r\nffffffffff\r\n",
    "a chunk longer than its size": HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n",
    "a head without end": HEAD + b"a: b\r\n" * LONGEST_HEAD,
    "a line without end": HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"0" * LONGEST_HEAD,
    "trailers without end": HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"a: b\r\n" * LONGEST_HEAD,
}


@pytest.mark.parametrize("sent", MALFORMED.values(), ids=MALFORMED)
def test_what_is_malformed_or_too_much_is_refused(sent: bytes) -> None:
    with pytest.raises(MalformedError):
        Answer(receiving(sent, [])).read()


def test_a_connection_that_ends_before_the_answer_was_closed() -> None:
    with pytest.raises(ConnectionResetError):
        Answer(receiving(b"", []))


def test_an_answer_without_a_body_has_none() -> None:
    answer = Answer(receiving(b"HTTP/1.1 204 No Content\r\n\r\n", []))
    assert (answer.read(), answer.reusable) == (b"", True)


def test_what_follows_an_answer_unasked_ends_the_connection() -> None:
    answer = Answer(receiving(HEAD + b"Content-Length: 2\r\n\r\n{}HTTP/1.1", []))
    assert (answer.read(), answer.reusable) == (b"{}", False)


def test_a_stream_is_given_as_it_comes() -> None:
    sent = HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n"
    assert list(Answer(receiving(sent, [])).pieces()) == [b"ab", b"cde"]


@given(TEXTS)
def test_what_is_quoted_is_what_the_standard_library_quotes(text: str) -> None:
    assert quoted(text) == quote(text, safe="")
    assert unquote(quoted(text)) == text


@given(TEXTS, st.dictionaries(TEXTS.filter(bool), TEXTS | st.integers() | st.none()))
def test_a_target_means_what_it_was_made_of(path: str, query: dict[str, str | int | None]) -> None:
    made = urlsplit("http://localhost" + target(f"/{path}", query))
    assert unquote(made.path) == f"/{path}"
    wanted = [(name, str(value)) for name, value in query.items() if value is not None]
    assert parse_qsl(made.query, keep_blank_values=True) == wanted


def test_truth_is_written_as_the_api_reads_it() -> None:
    assert (
        target("/v1/events", {"follow": True, "limit": 3, "kind": None}) == "/v1/events?follow=true&limit=3"
    )
    assert target("/v1/gpus", {}) == "/v1/gpus"


def test_a_request_says_how_long_its_body_is() -> None:
    assert request("GET", "/v1/status") == b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n"
    head, _, body = request("POST", "/v1/reload", b"{}").partition(b"\r\n\r\n")
    assert body == b"{}"
    assert head.splitlines()[2:] == [b"Content-Type: application/json", b"Content-Length: 2"]


@pytest.mark.parametrize("wrong", ["", "v1", "/a b", "/a\r\nX: y", "/é", "/\x7f"])
def test_a_target_that_would_be_another_request_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="can't be requested"):
        request("POST", wrong)
