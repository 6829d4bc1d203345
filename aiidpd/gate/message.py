"""HTTP/1.1 as the gate speaks it (pure): heads of requests and answers, queries, and chunks of a body.

Whatever two readers could take in two ways is refused: bare line ends, folded lines, a field twice, two
lengths, encodings in a path. Nothing of a request is passed on as it came; what was read is written anew.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Final, NamedTuple

END: Final = b"\r\n\r\n"
LONGEST_HEAD: Final = 8192
"""Bytes of the head of a request."""

LONGEST_ANSWER_HEAD: Final = 65536
_MOST_FIELDS: Final = 32
_LONGEST_CHUNK_LINE: Final = 18
_LINE: Final = re.compile(rb"([A-Z]{3,7}) (/[!-~]*) HTTP/1\.1")
_FIELD: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e\t]*)")
_SEGMENT: Final = re.compile(r"[A-Za-z0-9_.:@-]+", re.ASCII)
_KEY: Final = re.compile(r"[A-Za-z][A-Za-z-]{0,30}", re.ASCII)
_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})?", re.ASCII)
_UNSAFE: Final = re.compile(rb"[^A-Za-z0-9_.~-]")
_NO_TEXT: Final = re.compile(r"[\x00-\x1f\x7f]")
_FORBIDDEN: Final = ("upgrade", "expect", "trailer", "http2-settings")
_WORDS: Final = {int(each): each.phrase for each in HTTPStatus}
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: [^\r\n]*)?")
_ANSWER_FIELD: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\x00]*)")
_PASSED: Final = ("content-type", "api-version", "docker-experimental", "ostype")
_PLAIN: Final = re.compile(rb"[\x20-\x7e]{0,200}")
_DIGITS: Final = re.compile(rb"[0-9]{1,18}")
_CHUNK: Final = re.compile(rb"[0-9A-Fa-f]{1,15}")
_ONCE: Final = frozenset({"content-length", "transfer-encoding"})
_EMPTY: Final = frozenset({204, 304})


class Malformed(Exception):
    """A message that is not read any further; its text is the reason, ``status`` is for the answer."""

    def __init__(self, reason: str, status: int = 400) -> None:
        self.status = status
        super().__init__(reason)


class Request(NamedTuple):
    """Request as it was read. ``body``: one follows, or may; ``close``: the client wants no further one."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: bool = False
    close: bool = False


class Answer(NamedTuple):
    """Head of the engine's answer. ``length`` in bytes; None: in chunks (``chunked``), or up to its end."""

    status: int
    fields: tuple[tuple[str, str], ...] = ()
    length: int | None = None
    chunked: bool = False


def parse_request(head: bytes) -> Request:
    """Return the request whose head is ``head``, with the empty line at its end. Raises Malformed."""
    if not head.endswith(END):
        raise Malformed("its head has no end")
    line, *lines = head[: -len(END)].split(b"\r\n")
    match = _LINE.fullmatch(line)
    if match is None:
        raise Malformed("its first line is no METHOD /PATH HTTP/1.1")
    fields = _fields(lines, _FIELD, strict=True)
    path, _, query = match[2].decode("ascii").partition("?")
    _check_path(path)
    close = _check(fields)
    body = "transfer-encoding" in fields or fields.get("content-length", b"0") != b"0"
    return Request(match[1].decode("ascii"), path, _pairs(query), body, close)


def write_request(method: str, target: str, body: bytes = b"") -> bytes:
    """Return the request that the engine gets: one on a connection. A ``body`` is JSON of the gate's own."""
    fields = "" if method in ("GET", "HEAD") else f"Content-Length: {len(body)}\r\n"
    if body:
        fields += "Content-Type: application/json\r\n"
    head = f"{method} {target} HTTP/1.1\r\nHost: docker\r\n{fields}Connection: close\r\n\r\n"
    return head.encode("ascii") + body


def target_of(path: str, query: Iterable[tuple[str, str]]) -> str:
    """Return path and query as they are written; ``path`` needs no escapes."""
    text = "&".join(f"{key}={_escaped(value)}" for key, value in query)
    return f"{path}?{text}" if text else path


def segment(text: str, safe: str = "") -> str:
    """Return ``text`` as a part of a path, with the ``safe`` signs as they are. Raises ValueError."""
    if text in ("", ".", ".."):
        raise ValueError(f"{text!r} is no part of a path")
    plain = safe.encode("ascii")
    return _escaped(text, plain)


def parse_answer(head: bytes, method: str) -> Answer:
    """Return the head of the engine's answer to a ``method``. Raises Malformed."""
    line, *lines = head[: -len(END)].split(b"\r\n")
    match = _STATUS.fullmatch(line)
    if match is None:
        raise Malformed("its first line is no HTTP/1.1 STATUS")
    status = int(match[1])
    fields = _fields(lines, _ANSWER_FIELD, strict=False)
    passed = tuple(
        (name, fields[name].decode("ascii"))
        for name in _PASSED
        if name in fields and _PLAIN.fullmatch(fields[name])
    )
    if status == 101:  # noqa: PLR2004 -- HTTP's Switching Protocols
        raise Malformed("it changes the protocol")
    encoding, length = fields.get("transfer-encoding"), fields.get("content-length")
    if encoding is not None and (length is not None or encoding.lower() != b"chunked"):
        raise Malformed("the length of its body is ambiguous")
    if length is not None and not _DIGITS.fullmatch(length):
        raise Malformed("its length is no number")
    if status in _EMPTY or status < 200 or method == "HEAD":  # noqa: PLR2004 -- HTTP's OK
        return Answer(status, passed, 0)
    return Answer(status, passed, None if length is None else int(length), encoding is not None)


def write_answer(answer: Answer, *, close: bool, method: str = "GET") -> bytes:
    """Return the head that the client gets: what has no length comes in chunks."""
    lines = [f"HTTP/1.1 {answer.status} {_WORDS.get(answer.status, 'Status')}"]
    lines += [f"{name.title()}: {value}" for name, value in answer.fields]
    if answer.status not in _EMPTY and method != "HEAD":
        lines.append(
            "Transfer-Encoding: chunked" if answer.length is None else f"Content-Length: {answer.length}"
        )
    lines.append(f"Connection: {'close' if close else 'keep-alive'}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def write_error(
    status: int, reason: str, *, close: bool, method: str = "GET", author: str = "aiidpd-gate: "
) -> bytes:
    """Return an answer of the gate's own, in the form of the engine's."""
    body = json.dumps({"message": f"{author}{reason}"}).encode("ascii") + b"\n"
    head = write_answer(
        Answer(status, (("content-type", "application/json"),), len(body)), close=close, method=method
    )
    return head if method == "HEAD" else head + body


def write_chunk(data: bytes) -> bytes:
    """Return ``data`` as one chunk; without data it is the last."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class Chunks:
    """Reader of a body in chunks; ``ended`` once the last has come. Extensions and trailers are refused."""

    def __init__(self) -> None:
        self.ended = False
        self._left = 0
        self._line = bytearray()
        self._after = False  # the line end behind a chunk's data is next

    def feed(self, data: bytes) -> bytes:
        """Return the body's bytes in ``data``. Raises Malformed."""
        found = bytearray()
        at = 0
        while at < len(data):
            if self.ended:
                raise Malformed("more follows its end")
            if self._left > 0:
                piece = data[at : at + self._left]
                found += piece
                at += len(piece)
                self._left -= len(piece)
                self._after = not self._left
                continue
            end = data.find(b"\n", at)
            stop = len(data) if end < 0 else end + 1
            self._line += data[at:stop]
            at = stop
            if len(self._line) > _LONGEST_CHUNK_LINE:
                raise Malformed("a chunk's length is too long")
            if end >= 0:
                self._line_ended()
        return bytes(found)

    def _line_ended(self) -> None:
        line = bytes(self._line)
        self._line.clear()
        if not line.endswith(b"\r\n"):
            raise Malformed("a chunk's line ends wrongly")
        line = line[:-2]
        if self._after:
            self._after = False
            if line:
                raise Malformed("a chunk is longer than it says")
        elif self._left < 0:
            if line:
                raise Malformed("it has trailers")
            self.ended = True
        elif _CHUNK.fullmatch(line):
            self._left = int(line, 16) or -1
        else:
            raise Malformed("a chunk's length is no number")


def _fields(lines: Iterable[bytes], pattern: re.Pattern[bytes], *, strict: bool) -> dict[str, bytes]:
    """Return the fields of a head; ``strict``: none of them may be there twice."""
    found: dict[str, bytes] = {}
    for line in lines:
        match = pattern.fullmatch(line)
        if match is None:
            raise Malformed("a field of its head is malformed")
        name = match[1].decode("ascii").lower()
        if name in found and (strict or name in _ONCE):
            raise Malformed(f"it has {name} twice")
        found[name] = match[2].strip()
        if len(found) > _MOST_FIELDS:
            raise Malformed("its head has too many fields")
    return found


def _check(fields: Mapping[str, bytes]) -> bool:
    """Return whether the connection is to be closed after the answer."""
    if "host" not in fields:
        raise Malformed("it names no host")
    for name in _FORBIDDEN:
        if name in fields:
            raise Malformed(f"it has the field {name}")
    if "transfer-encoding" in fields and "content-length" in fields:
        raise Malformed("the length of its body is ambiguous")
    if not _DIGITS.fullmatch(fields.get("content-length", b"0")):
        raise Malformed("its length is no number")
    tokens = {each.strip().lower() for each in fields.get("connection", b"keep-alive").split(b",")}
    if not tokens <= {b"keep-alive", b"close"}:
        raise Malformed("it wants another kind of connection")
    return b"close" in tokens


def _check_path(path: str) -> None:
    for segment in path[1:].split("/"):
        if not _SEGMENT.fullmatch(segment) or segment in (".", ".."):
            raise Malformed("its path has an empty part, dots, or what no path of the API has")


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    if not text:
        return ()
    found: dict[str, str] = {}
    for part in text.split("&"):
        key, equals, value = part.partition("=")
        if not equals or not _KEY.fullmatch(key):
            raise Malformed("its query is malformed")
        if key in found:
            raise Malformed(f"its query has {key} twice")
        found[key] = _unescaped(value)
    return tuple(found.items())


def _unescaped(text: str) -> str:
    if any(match[1] is None for match in _ESCAPE.finditer(text)) or set(text) & set(";#\\"):
        raise Malformed("its query is malformed")
    raw = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text.replace("+", " ")).encode("latin-1")
    try:
        found = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed("its query is no text") from None
    if _NO_TEXT.search(found):
        raise Malformed("its query has control characters")
    return found


def _escaped(text: str, plain: bytes = b"") -> str:
    def escape(match: re.Match[bytes]) -> bytes:
        return match[0] if match[0] in plain else b"%%%02X" % match[0][0]

    return _UNSAFE.sub(escape, text.encode("utf-8")).decode("ascii")
