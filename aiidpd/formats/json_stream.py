"""JSON read from a stream a piece at a time: whatever its size and shape, one chunk of it is in memory."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final, NoReturn

from aiidpd.formats.damage import Damage, Malformed
from aiidpd.formats.stream import Cursor

_BODY: Final = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_ESCAPE_BYTES: Final = 2
_WINDOW_BYTES: Final = 64 * 1024
_SPACES: Final = re.compile(rb"[ \t\n\r]*+")
_PLAIN: Final = re.compile(rb'"[^"\\]*+"')
# The outer repetition is not possessive: Python 3.11.2 takes half of a group for a match there.
_FLAT: Final = re.compile(rb'\{[^{}"\\]*+(?:"[^"\\]*+"[^{}"\\]*+)*\}')
_WORD_BYTES: Final = 64
# Read token by token: what is nested, or lies on both sides of a chunk.
_NESTED_LIMIT_BYTES: Final = 2 * 1024**2
_SKIP_BYTES: Final = 64 * 1024


class JsonStream:
    """Reads JSON that ends at byte ``end`` of the file, or with the file where ``end`` is None."""

    def __init__(self, cursor: Cursor, end: int | None) -> None:
        self._cursor = cursor
        self._end = end
        self._nested = _NESTED_LIMIT_BYTES

    def next(self) -> bytes:
        """Return the next byte that is no space, without passing over it; an empty text at the end."""
        cursor = self._cursor
        while True:
            left = self._left()
            if left <= 0:
                return b""
            match = _SPACES.match(cursor.buffer, cursor.at, cursor.at + left)
            cursor.at = match.end() if match else cursor.at
            if match and match.end() < match.endpos:
                return cursor.buffer[cursor.at : cursor.at + 1]

    def take(self, byte: bytes) -> bool:
        """Pass over ``byte`` where it comes next; return whether it did."""
        if self.next() != byte:
            return False
        self._cursor.at += 1
        return True

    def expect(self, byte: bytes) -> None:
        """Pass over ``byte``; anything else is malformed."""
        if not self.take(byte):
            self.fail(f"{byte.decode()!r} is missing")

    def text(self, limit: int) -> str:
        """Return the next string, of at most ``limit`` bytes as it is written."""
        raw = self._whole(_PLAIN, limit) or self._string(limit)
        try:
            return str(json.loads((raw or b"").decode()))
        except ValueError:
            self.fail("a text is no JSON")

    def short_text(self, limit: int) -> str | None:
        """Return the next string; one of more than ``limit`` bytes is passed over, and None is returned."""
        raw = self._string(limit, cut=True)
        try:
            return None if raw is None else str(json.loads(raw.decode()))
        except ValueError:
            self.fail("a text is no JSON")

    def value(self, limit: int) -> Any:
        """Return the next value, of at most ``limit`` bytes as it is written."""
        raw = self._whole(_FLAT, limit) or self._raw(limit)
        try:
            return json.loads(raw.decode())
        except (ValueError, RecursionError):
            self.fail("a value is no JSON")

    def skip(self) -> None:
        """Pass over the next value: a text of any length, or at most 64 KiB of anything else."""
        if self.next() == b'"':
            self._string(0, cut=True)
        else:
            self._raw(_SKIP_BYTES)

    def keys(self, limit: int, most: int) -> Iterator[str]:
        """Yield each key of an object whose brace was passed, at most ``most`` of at most ``limit`` bytes.

        The caller reads the value in between.
        """
        if self.take(b"}"):
            return
        for _ in range(most):
            key = self.text(limit)
            self.expect(b":")
            yield key
            if self.take(b"}"):
                return
            self.expect(b",")
        raise Malformed(Damage.TOO_LARGE, f"an object has more than {most} keys")

    def fail(self, reason: str) -> NoReturn:
        """Raise what is wrong, and where."""
        raise Malformed(Damage.MALFORMED, f"{reason}, near byte {self._cursor.offset}")

    def _whole(self, pattern: re.Pattern[bytes], limit: int) -> bytes | None:
        """Return the next piece where it has the form of ``pattern``, and lies in the chunk that is read."""
        self.next()
        cursor = self._cursor
        match = pattern.match(cursor.buffer, cursor.at, cursor.at + min(self._left(), limit))
        if match is None:
            return None
        cursor.at = match.end()
        return match[0]

    def _left(self) -> int:
        """Return the bytes that may still be read of what is there."""
        cursor = self._cursor
        if cursor.at == len(cursor.buffer) and (self._end is None or cursor.offset < self._end):
            cursor.more()
        here = len(cursor.buffer) - cursor.at
        return here if self._end is None else min(here, self._end - cursor.offset)

    def _string(self, limit: int, *, cut: bool = False) -> bytes | None:
        """Return the next string with its quotes; a longer one is malformed, or None with ``cut``."""
        self.expect(b'"')
        cursor = self._cursor
        parts, size = [b'"'], 1
        while True:
            left = self._left()
            match = _BODY.match(cursor.buffer, cursor.at, cursor.at + min(left, _WINDOW_BYTES))
            until = match.end() if match else cursor.at
            size += until - cursor.at
            if size < limit:
                parts.append(cursor.buffer[cursor.at : until])
            elif not cut:
                self.fail(f"a text is longer than {limit} bytes")
            passed, cursor.at = until > cursor.at, until
            if left > 0 and cursor.buffer[until : until + 1] == b'"':
                cursor.at += 1
                return b"".join([*parts, b'"']) if size < limit else None
            # An escape may lie on both sides of the chunk's end.
            if not passed and (left >= _ESCAPE_BYTES or not cursor.more() or self._left() <= left):
                self.fail("a text does not end")

    def _byte(self) -> bytes:
        cursor = self._cursor
        byte = cursor.buffer[cursor.at : cursor.at + 1]
        cursor.at += 1
        return byte

    def _raw(self, limit: int) -> bytes:
        """Return the bytes of the next value."""
        parts: list[bytes] = []
        size = depth = 0
        while True:
            byte = self.next()
            if not byte:
                self.fail("a value does not end")
            if byte == b'"':
                piece = self._string(limit - size) or b""
            elif byte in (b"{", b"[", b"}", b"]", b",", b":"):
                if depth == 0 and byte in b"}],:":
                    self.fail("a value is missing")
                depth += (byte in b"{[") - (byte in b"}]")
                piece = self._byte()
            else:
                piece = self._word()
            size += len(piece)
            self._nested -= len(piece)
            if self._nested < 0:
                raise Malformed(Damage.TOO_LARGE, "its JSON is nested in more places than that of a model")
            if size > limit:
                self.fail(f"a value is longer than {limit} bytes")
            parts.append(piece)
            if depth == 0:
                return b"".join(parts)

    def _word(self) -> bytes:
        """Return a number, ``true``, ``false`` or ``null``, or the beginning of a longer word."""
        word = b""
        while len(word) < _WORD_BYTES and self._left() > 0:
            byte = self._byte()
            if byte in b' \t\n\r"{}[],:':
                self._cursor.at -= 1
                break
            word += byte
        return word
