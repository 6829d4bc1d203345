"""Docker Engine behind the gate: a new connection for each call, and no byte that the gate did not write."""

from __future__ import annotations

import errno
import json
import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any, Final

from aiidpd.gate.message import (
    END,
    LONGEST_ANSWER_HEAD,
    Answer,
    Chunks,
    Malformed,
    parse_answer,
    write_request,
)
from aiidpd.gate.wire import Late, receive, send

_CONNECT: Final = 5.0  # seconds
_LARGEST_DESCRIPTION: Final = 8 << 20  # bytes
_OK: Final = 200

Fetch = Callable[[str, str, Mapping[str, Any] | None], tuple[int, Any]]
"""Calls the engine: method, target and document; returns the status and the document of its answer."""


class EngineFailed(Exception):
    """Call that brought no answer: ``status`` for the client; its text is the reason."""

    def __init__(self, status: int, reason: str) -> None:
        self.status = status
        super().__init__(reason)


class EngineAbsent(EngineFailed):
    """Socket that is not there: no engine is installed, or none was started yet."""


class Exchange:
    """Call under way: the head of its ``answer``, and its body by :meth:`pieces`."""

    def __init__(self, connection: socket.socket, answer: Answer, rest: bytes) -> None:
        self.answer = answer
        self._connection = connection
        self._rest = rest
        self._left = answer.length
        self._chunks = Chunks() if answer.chunked else None

    @property
    def ended(self) -> bool:
        """True once nothing of the body is left."""
        return self._left == 0 or (self._chunks is not None and self._chunks.ended)

    def piece(self, client: socket.socket | None, within: float | None) -> bytes:
        """Return what comes next of the body; it may be empty, see :attr:`ended`.

        Raises EngineFailed, :class:`~aiidpd.gate.wire.Gone` and OSError.
        """
        data, self._rest = self._rest, b""
        if not data:
            try:
                data = receive(self._connection, client, within)
            except Late:
                raise EngineFailed(504, "the engine does not go on with its answer") from None
            if not data:
                return self._end()
        if self._chunks is not None:
            try:
                return self._chunks.feed(data)
            except Malformed as error:
                raise EngineFailed(502, f"the engine's answer is malformed: {error}") from None
        if self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
        return data

    def close(self) -> None:
        """End the call, whether or not it is over."""
        self._connection.close()

    def _end(self) -> bytes:
        if self._left is None and self._chunks is None:
            self._left = 0
            return b""
        raise EngineFailed(502, "the engine closed the connection in mid-answer")


class Engine:
    """Engine behind the Unix socket at ``path``."""

    def __init__(self, path: str) -> None:
        self.path = path

    def call(
        self,
        method: str,
        target: str,
        *,
        client: socket.socket | None,
        within: float,
        body: bytes = b"",
    ) -> Exchange:
        """Send a request; return once the head of its answer is there, ``within`` seconds.

        Raises EngineFailed, and :class:`~aiidpd.gate.wire.Gone` where the client has left meanwhile.
        """
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            connection.settimeout(_CONNECT)
            connection.connect(self.path)
            send(connection, write_request(method, target, body), _CONNECT)
            answer, rest = self._head(connection, method, client, time.monotonic() + within)
        except (FileNotFoundError, NotADirectoryError):
            connection.close()
            # The daemon knows these words (containers/docker/faults.py): what is not installed is no fault.
            raise EngineAbsent(503, f"there is no engine at {self.path}") from None
        except OSError as error:
            connection.close()
            raise EngineFailed(503, f"the engine at {self.path} is not reached: {_words(error)}") from None
        except BaseException:
            connection.close()
            raise
        return Exchange(connection, answer, rest)

    def fetch(
        self,
        method: str,
        target: str,
        document: Mapping[str, Any] | None = None,
        *,
        client: socket.socket | None,
        within: float,
    ) -> tuple[int, Any]:
        """Return status and document of the answer to a call of the gate's own. Raises as :meth:`call`."""
        sent = b"" if document is None else json.dumps(document).encode("ascii")
        exchange = self.call(method, target, client=client, within=within, body=sent)
        with closing(exchange):
            body = bytearray()
            while not exchange.ended:
                body += exchange.piece(client, within)
                if len(body) > _LARGEST_DESCRIPTION:
                    raise EngineFailed(502, "the engine's answer is too large")
        try:
            return exchange.answer.status, json.loads(bytes(body)) if body.strip() else None
        except (ValueError, RecursionError):
            if exchange.answer.status == _OK:
                raise EngineFailed(502, "the engine's answer is no JSON") from None
            return exchange.answer.status, None

    def _head(
        self, connection: socket.socket, method: str, client: socket.socket | None, deadline: float
    ) -> tuple[Answer, bytes]:
        data = b""
        while True:
            head, end, rest = data.partition(END)
            if end:
                try:
                    answer = parse_answer(head + end, method)
                except Malformed as error:
                    raise EngineFailed(502, f"the engine's answer is malformed: {error}") from None
                if answer.status >= _OK:
                    return answer, rest
                data = rest  # an interim answer
                continue
            if len(data) > LONGEST_ANSWER_HEAD:
                raise EngineFailed(502, "the head of the engine's answer is too long")
            try:
                piece = receive(connection, client, deadline - time.monotonic())
            except Late:
                raise EngineFailed(504, "the engine does not answer") from None
            if not piece:
                raise EngineFailed(502, "the engine closed the connection without an answer")
            data += piece


def _words(error: OSError) -> str:
    number = errno.ETIMEDOUT if isinstance(error, TimeoutError) else error.errno or 0
    return os.strerror(number) if number else "the connection broke"
