"""Bytes between a client, the gate and the engine: deadlines, and the end where a client has left."""

from __future__ import annotations

import select
import socket
import time
from typing import Final

from aiidpd.gate.message import END, Malformed

READ: Final = 65536
"""Bytes that are read at a time."""

_GONE: Final = select.POLLIN | select.POLLRDHUP | select.POLLHUP | select.POLLERR
_LINGER: Final = 1.0  # seconds
_MOST_DISCARDED: Final = 1 << 20


class Gone(Exception):
    """Client that has left, or has sent more than one request at a time."""


class Late(Exception):
    """Data that did not come in time."""


def read_head(source: socket.socket, longest: int, *, idle: float, whole: float) -> tuple[bytes, bytes]:
    """Return the head that a client sends, and what has come behind it; two empty ones at its end.

    It begins within ``idle`` seconds and is whole ``whole`` seconds later. Raises Malformed and OSError.
    """
    data = bytearray()
    deadline = time.monotonic() + idle
    while True:
        source.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            piece = source.recv(longest)
        except TimeoutError:
            if data:
                raise Malformed("its head did not come in time", 408) from None
            return b"", b""
        if not data:
            deadline = time.monotonic() + whole
        data += piece
        head, end, rest = bytes(data).partition(END)
        if end:
            if len(head) > longest:
                raise Malformed("its head is too long", 431)
            return head + end, rest
        if not piece or len(data) > longest:
            if data and piece:
                raise Malformed("its head is too long", 431)
            return b"", b""
        if time.monotonic() > deadline:
            raise Malformed("its head did not come in time", 408)


def receive(engine: socket.socket, client: socket.socket | None, within: float | None) -> bytes:
    """Return what the engine sends next, empty at its end; None: however long that takes.

    Raises Gone as soon as the client has left or sends anything, Late and OSError.
    """
    poll = select.poll()
    poll.register(engine, select.POLLIN)
    if client is not None:
        poll.register(client, select.POLLIN | select.POLLRDHUP)
    ready = poll.poll(None if within is None else max(1, round(within * 1000)))
    if not ready:
        raise Late
    if client is not None and any(each == client.fileno() and state & _GONE for each, state in ready):
        raise Gone
    return engine.recv(READ)


def send(target: socket.socket, data: bytes, within: float) -> None:
    """Send all of ``data``, or raise OSError."""
    target.settimeout(within)
    target.sendall(data)


def linger(client: socket.socket) -> None:
    """Let the client read the last answer, although what it sent was not read to its end."""
    deadline = time.monotonic() + _LINGER
    discarded = 0
    try:
        client.shutdown(socket.SHUT_WR)
        while discarded < _MOST_DISCARDED and (left := deadline - time.monotonic()) > 0:
            client.settimeout(left)
            piece = client.recv(READ)
            if not piece:
                return
            discarded += len(piece)
    except OSError:
        return
