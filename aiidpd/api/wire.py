"""HTTP/1.1 as the client of the control API speaks it: one request, one bounded answer (pure).

Not ``http.client``: it brings ``email`` and ``ssl``, which take longer to load than a command takes to run.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

LONGEST_HEAD = 65_536  # bytes
LONGEST_BODY = 99_999_999  # bytes; of a document: a stream has no end
PIECE = 65_536  # bytes

_LONGEST_LINE = 4_096  # bytes, before a chunk
_HEX = frozenset(b"0123456789abcdefABCDEF")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_STATUSES = frozenset(b"%d" % status for status in range(200, 600))
_NO_BODY = (204, 304)
_LONGEST_NUMBER = 8  # digits; either way of giving a length needs fewer for what is accepted


class MalformedError(ValueError):
    """An answer that is no HTTP, or more than is taken."""


class BrokenOffError(MalformedError):
    """A connection that ended in the middle of an answer."""


def quoted(text: str, safe: bytes = b"") -> str:
    """Return ``text`` percent-encoded, but for ``safe`` and what needs no encoding."""
    return "".join(
        [chr(byte) if byte in _UNRESERVED or byte in safe else f"%{byte:02X}" for byte in text.encode()]
    )


def target(path: str, query: Mapping[str, object]) -> str:
    """Return the target of a request: ``path``, and what of ``query`` is not None."""
    pairs = [
        f"{quoted(name)}={quoted(str(value).lower() if isinstance(value, bool) else str(value))}"
        for name, value in query.items()
        if value is not None
    ]
    return "?".join([quoted(path, safe=b"/"), *filter(None, ["&".join(pairs)])])


def request(method: str, target: str, body: bytes | None = None) -> bytes:
    """Return the bytes of a request; a ``body`` is JSON. Raises :class:`ValueError` for no target."""
    if not (target.startswith("/") and target.isascii() and target.isprintable() and " " not in target):
        raise ValueError(f"{target!r} can't be requested")
    head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n"
    if body is not None:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"{head}\r\n".encode() + (body or b"")


class Answer:
    """An answer as it comes from ``receive``, which returns at most so many bytes, and none at the end.

    Made when its head is read: that raises :class:`ConnectionError` where nothing came at all, and
    :class:`MalformedError`. ``status`` is its status; the body is for :meth:`read` or :meth:`pieces`.
    """

    def __init__(self, receive: Callable[[int], bytes]) -> None:
        self._receive = receive
        self._held = b""
        self.status, headers, version = self._head()
        self._chunked, self._length = _framing(self.status, headers)
        whole = self._chunked or self._length is not None
        self._reusable = (
            whole and version == b"HTTP/1.1" and b"close" not in headers.get(b"connection", b"").lower()
        )
        self._read = False

    @property
    def reusable(self) -> bool:
        """True once another request can follow on this connection: this answer was read, and no more."""
        return self._reusable and self._read and not self._held

    def read(self) -> bytes:
        """Return the body."""
        pieces = []
        size = 0
        for piece in self.pieces():
            size += len(piece)
            if size > LONGEST_BODY:
                raise MalformedError(f"the answer is longer than {LONGEST_BODY} bytes")
            pieces.append(piece)
        return b"".join(pieces)

    def pieces(self) -> Iterator[bytes]:
        """Yield the body as it comes. Raises :class:`BrokenOffError` where it ends too early."""
        if self._chunked:
            yield from self._chunks()
        elif self._length is not None:
            yield from self._exactly(self._length)
        else:
            while piece := self._some():
                yield piece
        self._read = True

    def _chunks(self) -> Iterator[bytes]:
        while size := _chunk_size(self._line()):
            yield from self._exactly(size)
            if self._line():
                raise MalformedError("a chunk is longer than its size")
        left = LONGEST_HEAD
        while line := self._line():  # trailers
            left -= len(line)
            if left < 0:
                raise MalformedError("the trailers are too long")

    def _exactly(self, size: int) -> Iterator[bytes]:
        while size:
            piece = self._some(size)
            if not piece:
                raise BrokenOffError("it broke off in the middle of an answer")
            size -= len(piece)
            yield piece

    def _some(self, most: int = PIECE) -> bytes:
        if self._held:
            piece, self._held = self._held[:most], self._held[most:]
            return piece
        return self._receive(min(most, PIECE))

    def _line(self) -> bytes:
        return self._until(b"\r\n", _LONGEST_LINE)

    def _until(self, end: bytes, most: int) -> bytes:
        while (place := self._held.find(end)) < 0:
            if len(self._held) > most:
                raise MalformedError("the answer is no HTTP, or its head is too long")
            piece = self._receive(PIECE)
            if not piece:
                raise BrokenOffError("it broke off in the middle of an answer")
            self._held += piece
        found, self._held = self._held[:place], self._held[place + len(end) :]
        if len(found) > most:
            raise MalformedError("the answer is no HTTP, or its head is too long")
        return found

    def _head(self) -> tuple[int, dict[bytes, bytes], bytes]:
        if not self._held:
            self._held = self._receive(PIECE)
            if not self._held:
                raise ConnectionResetError("the connection was closed before an answer")
        first, *lines = self._until(b"\r\n\r\n", LONGEST_HEAD).split(b"\r\n")
        version, _, rest = first.partition(b" ")
        status, _, _reason = rest.partition(b" ")
        # Nothing that we send makes the daemon answer "wait for it" (1xx) first.
        if version not in (b"HTTP/1.1", b"HTTP/1.0") or status not in _STATUSES:
            raise MalformedError(f"the answer is no HTTP: {first[:80]!r}")
        headers: dict[bytes, bytes] = {}
        for line in lines:
            name, colon, value = line.partition(b":")
            if not colon or not name or name != name.strip():
                raise MalformedError(f"the answer has a header that is none: {line[:80]!r}")
            name = name.lower()
            value = value.strip(b" \t")
            headers[name] = headers[name] + b", " + value if name in headers else value
        return int(status), headers, version


def _framing(status: int, headers: Mapping[bytes, bytes]) -> tuple[bool, int | None]:
    """Return whether the body is chunked, and its length where that is known."""
    coding, length = headers.get(b"transfer-encoding"), headers.get(b"content-length")
    if status in _NO_BODY:
        return False, 0
    if coding is not None:
        if coding.lower() != b"chunked" or length is not None:
            raise MalformedError("the answer gives its length in two ways, or in an unknown one")
        return True, None
    if length is None:
        return False, None
    if not length.isdigit() or len(length) > _LONGEST_NUMBER:
        raise MalformedError(f"the answer can't be {length[:80]!r} bytes long")
    return False, int(length)


def _chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0].rstrip(b" \t")
    if not digits or not _HEX.issuperset(digits) or len(digits) > _LONGEST_NUMBER:
        raise MalformedError(f"a chunk has no size: {line[:80]!r}")
    return int(digits, 16)
