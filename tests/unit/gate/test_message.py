from __future__ import annotations

import json
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.gate.message import (
    Answer,
    Chunks,
    Malformed,
    Request,
    parse_answer,
    parse_request,
    segment,
    target_of,
    write_answer,
    write_chunk,
    write_error,
    write_request,
)

HEAD = b"GET /info HTTP/1.1\r\nHost: d\r\n%b\r\n"


def test_a_plain_request_is_read():
    found = parse_request(
        b"GET /v1.41/containers/json?all=1&x=a%20b HTTP/1.1\r\nHost: d\r\nAccept: */*\r\n\r\n"
    )
    assert found == Request("GET", "/v1.41/containers/json", (("all", "1"), ("x", "a b")))
    assert parse_request(HEAD % b"Connection: Close\r\n").close
    assert parse_request(HEAD % b"Content-Length: 0\r\n").body is False


@pytest.mark.parametrize("field", [b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_a_body_shows(field: bytes):
    assert parse_request(HEAD % field).body


@pytest.mark.parametrize(
    "target",
    [
        *(
            b"//info",
            b"/info/",
            b"/",
            b"/a//b",
            b"/./info",
            b"/a/../info",
            b"/..",
            b"/%69nfo",
            b"/a%2f..%2finfo",
        ),
        *(
            b"/in%00fo",
            b"/info#x",
            b"/info\\..\\x",
            b"/a;b",
            b"*",
            b"info",
            b"http://d/info",
            b"/\xc3\xa9",
            b"/a b",
        ),
        *(
            b"/x?a",
            b"/x?a=1&a=2",
            b"/x?a=%",
            b"/x?a=%zz",
            b"/x?a=%ff",
            b"/x?a=%0d%0a",
            b"/x?a=1;b=2",
            b"/x?&a=1",
        ),
        *(b"/x?a=1&", b"/x?=1", b"/x?a=%00", b"/x?a[]=1"),
    ],
)
def test_what_two_readers_could_take_in_two_ways_is_no_target(target: bytes):
    with pytest.raises(Malformed):
        parse_request(b"GET %b HTTP/1.1\r\nHost: d\r\n\r\n" % target)


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 0\r\nContent-Length: 0\r\n",
        b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: +0\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: 0x0\r\n",
        b"Content-Length: 0, 0\r\n",
        b"Content-Length:\r\n",
        b"Host: e\r\n",
        b"Upgrade: h2c\r\n",
        b"Connection: upgrade\r\n",
        b"Connection: keep-alive, upgrade\r\n",
        b"Connection: content-length\r\n",
        b"Expect: 100-continue\r\n",
        b"Trailer: x\r\n",
        b"HTTP2-Settings: x\r\n",
        b"A : b\r\n",
        b" A: b\r\n",
        b"A: b\r\n c\r\n",
        b"A: b\nC: d\r\n",
        b"A: b\rC: d\r\n",
        b"A: \x00\r\n",
        b"A: \xff\r\n",
        b"A\r\n",
        b": b\r\n",
        b"A: b\r\na: b\r\n",
        b"".join(b"A%d: b\r\n" % each for each in range(40)),
    ],
)
def test_fields_that_are_odd_are_refused(fields: bytes):
    with pytest.raises(Malformed):
        parse_request(HEAD % fields)


@pytest.mark.parametrize(
    "line",
    [
        *(
            b"GET /info",
            b"GET /info HTTP/1.0",
            b"GET /info HTTP/2",
            b"get /info HTTP/1.1",
            b"GET  /info HTTP/1.1",
        ),
        *(b"GET /info HTTP/1.1 ", b"GET\t/info HTTP/1.1", b"PRI * HTTP/2.0", b"GET /info HTTP/1.1\n", b""),
    ],
)
def test_first_lines_that_are_odd_are_refused(line: bytes):
    with pytest.raises(Malformed):
        parse_request(line + b"\r\nHost: d\r\n\r\n")
    with pytest.raises(Malformed, match="names no host"):
        parse_request(b"GET /info HTTP/1.1\r\n\r\n")


@given(st.binary(max_size=300))
def test_any_bytes_are_a_request_or_malformed(data: bytes):
    for each in (data, data + b"\r\n\r\n", HEAD % data, b"GET /" + data + b" HTTP/1.1\r\nHost: d\r\n\r\n"):
        try:
            found = parse_request(each)
        except Malformed:
            continue
        written = write_request(found.method, target_of(found.path, found.query))
        again = parse_request(written)
        # What is written has one meaning: the one that was read.
        assert (again.method, again.path, again.query, again.body) == (*found[:3], False)
        assert written.count(b"\r\n\r\n") == 1


@given(
    st.lists(
        st.tuples(st.from_regex("[a-z]{1,5}", fullmatch=True), st.text(max_size=20)), unique_by=lambda p: p[0]
    )
)
def test_a_query_that_is_written_is_read_again(query: list[tuple[str, str]]):
    query = [
        (key, value)
        for key, value in query
        if value.isprintable() and value.encode(errors="ignore").decode() == value
    ]
    read = parse_request(write_request("GET", target_of("/x", query)))
    assert list(read.query) == query


def test_an_answer_is_read_and_what_is_not_needed_is_left_out():
    fields = b"Content-Type: application/json\r\nServer: x\r\nLocation: /y\r\nContent-Length: 5"
    found = parse_answer(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n" % fields, "GET")
    assert found == Answer(200, (("content-type", "application/json"),), 5)
    assert b"Server" not in write_answer(found, close=False)
    assert parse_answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "GET").chunked
    assert parse_answer(b"HTTP/1.0 200 OK\r\n\r\n", "GET") == Answer(200)
    assert parse_answer(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", "GET").length == 0
    assert parse_answer(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", "HEAD").length == 0


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
    ],
)
def test_an_answer_of_doubtful_length_is_refused(head: bytes):
    with pytest.raises(Malformed):
        parse_answer(head, "GET")


@given(st.lists(st.binary(min_size=1, max_size=50)), st.integers(min_value=1, max_value=20))
def test_chunks_are_read_however_they_are_cut(pieces: list[bytes], step: int):
    written = b"".join(map(write_chunk, pieces)) + write_chunk(b"")
    chunks = Chunks()
    read = b"".join(chunks.feed(written[at : at + step]) for at in range(0, len(written), step))
    assert read == b"".join(pieces)
    assert chunks.ended


@given(st.binary(max_size=200), st.integers(min_value=1, max_value=20))
def test_any_bytes_are_chunks_or_malformed(data: bytes, step: int):
    chunks, read = Chunks(), 0
    try:
        for at in range(0, len(data), step):
            read += len(chunks.feed(data[at : at + step]))
    except Malformed:
        pass
    assert read <= len(data)


@pytest.mark.parametrize(
    "data",
    [
        b"zz\r\n",
        b"\r\n",
        b"-1\r\n",
        b"1\n",
        b"1;x=y\r\n",
        b"1\r\nabc\r\n",
        b"0\r\nA: b\r\n",
        b"0\r\n\r\nx",
        b"1" * 19,
        b"0x1\r\n",
    ],
)
def test_chunks_that_are_odd_are_refused(data: bytes):
    with pytest.raises(Malformed):
        Chunks().feed(data)


def test_the_gate_s_own_answer_reads_as_the_engine_s():
    head, _, body = write_error(403, 'not "this"\r\n', close=True).partition(b"\r\n\r\n")
    assert b"Connection: close" in head
    assert json.loads(body) == {"message": 'aiidpd-gate: not "this"\r\n'}
    assert write_error(403, "x", close=False, method="HEAD").endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("text", "safe", "written"),
    [
        ("vllm-1_a.b~", "", "vllm-1_a.b~"),
        ("../create", "", "..%2Fcreate"),
        ("a/b:c@d", "/:@", "a/b:c@d"),
        ("a?b#c d\r\n%", "/:@", "a%3Fb%23c%20d%0D%0A%25"),
        ("\u00e9", "", "%C3%A9"),
    ],
)
def test_a_part_of_a_path_leads_nowhere_else(text: str, safe: str, written: str):
    assert segment(text, safe) == written


@pytest.mark.parametrize("text", ["", ".", "..", "\ud800"])
def test_what_is_no_part_of_a_path_is_none(text: str):
    with pytest.raises(ValueError, match=r"no part of a path|surrogates"):
        segment(text)


@given(st.text(max_size=20))
def test_a_part_of_a_path_comes_back_the_same(text: str):
    try:
        written = segment(text)
    except ValueError:
        return
    assert unquote(written) == text
    assert not set(written) & set("/?# \r\n")
