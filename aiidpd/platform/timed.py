"""TCP for HTTP that notes when the bytes arrived, by the kernel's clock rather than by the reader's turn.

The reader of a socket has its turn when the event loop gives it one; what the kernel stamps on each segment
does not depend on that. So another task that holds the loop up makes no answer look slow, unless several
segments are read at once: then the stamp is that of the last, and the others may have waited for as long as
the loop was held up. The stamps are of the real-time clock, and are turned into monotonic time at the read:
one that a step of that clock has made untrue lies where no byte can have arrived, and is not used. The
signatures are httpcore's; there are no timeouts here, for the caller's scope bounds the whole.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import anyio
import anyio.abc
import anyio.streams.tls
import httpcore

from aiidpd.platform.loop_delay import LoopDelay
from aiidpd.platform.stamps import StampedReader

_EACH_ADDRESS: Final = 5.0  # seconds for a name's address that is not its last


@dataclass(slots=True)
class Wire:
    """Times of one connection, in monotonic seconds; None where it has not happened."""

    opened: float
    """Start of its opening, names looked up included."""
    connected: float | None = None
    sent: float | None = None
    """Just before the last part of the request was written."""
    arrived: float | None = None
    """Arrival of the last bytes that were read, by the kernel where ``stamped``, else their reading."""
    stamped: bool = False
    waited: float = 0.0
    """Seconds for which bytes of the last read may have waited for it, if more than one segment was there."""


class _Stream(httpcore.AsyncNetworkStream, anyio.abc.ByteStream):
    """A connected socket; ``wire`` has its times."""

    def __init__(
        self, connection: socket.socket, wire: Wire, monotonic: Callable[[], float], delay: LoopDelay
    ) -> None:
        self.wire = wire
        self._socket = connection
        self._monotonic = monotonic
        self._delay = delay
        self._reader = StampedReader(connection, monotonic)

    async def receive(self, max_bytes: int = 65536) -> bytes:
        while True:
            try:
                received = self._reader.receive(max_bytes)
            except BlockingIOError:
                await anyio.wait_readable(self._socket)
                continue
            except OSError as error:
                raise anyio.BrokenResourceError from error
            if not received.data:
                raise anyio.EndOfStream
            empty = self._reader.empty
            self.wire.arrived, self.wire.stamped = received.arrived, received.stamped
            self.wire.waited = min(self._delay.before_now(empty), received.read - empty)
            self._reader.emptied(received, max_bytes)
            return received.data

    async def send(self, item: bytes) -> None:
        rest = memoryview(item)
        if self.wire.arrived is None:
            self.wire.sent = self._monotonic()
        while rest:
            try:
                rest = rest[self._socket.send(rest) :]
            except BlockingIOError:
                await anyio.wait_writable(self._socket)
            except OSError as error:
                raise anyio.BrokenResourceError from error

    async def send_eof(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002, ASYNC109
        return await _read(self, max_bytes)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109
        await _write(self, buffer)

    async def aclose(self) -> None:
        if self._socket.fileno() >= 0:
            anyio.notify_closing(self._socket)
            self._socket.close()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        try:
            wrapped = await anyio.streams.tls.TLSStream.wrap(
                self, ssl_context=ssl_context, hostname=server_hostname, standard_compatible=False
            )
        except (anyio.BrokenResourceError, anyio.EndOfStream, ssl.SSLError) as error:
            await self.aclose()
            raise httpcore.ConnectError(str(error)) from error
        self.wire.connected, self.wire.arrived = self._monotonic(), None
        return _TlsStream(wrapped, self.wire)


class _TlsStream(httpcore.AsyncNetworkStream):
    """An encrypted stream over a :class:`_Stream`."""

    def __init__(self, stream: anyio.streams.tls.TLSStream, wire: Wire) -> None:
        self.wire = wire
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002, ASYNC109
        return await _read(self._stream, max_bytes)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109
        await _write(self._stream, buffer)

    async def aclose(self) -> None:
        await self._stream.aclose()


class TimedBackend(httpcore.AsyncNetworkBackend):
    """Opens connections whose streams have a ``wire`` with their times."""

    def __init__(self, monotonic: Callable[[], float], delay: LoopDelay) -> None:
        self._monotonic = monotonic
        self._delay = delay

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109
        local_address: str | None = None,  # noqa: ARG002
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        wire = Wire(self._monotonic())
        try:
            connection = await _connected(host, port)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for option in socket_options or ():
                connection.setsockopt(*option)
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        wire.connected = self._monotonic()
        return _Stream(connection, wire, self._monotonic, self._delay)


async def _connected(host: str, port: int) -> socket.socket:
    """Return a socket connected to the first of the host's addresses that answers."""
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    failure: OSError = OSError(f"{host} has no address")
    for place, (family, kind, protocol, _, address) in enumerate(found, 1):
        connection = socket.socket(family, kind, protocol)
        try:
            connection.setblocking(False)
            with anyio.fail_after(None if place == len(found) else _EACH_ADDRESS):
                await _connect(connection, address)
        except OSError as error:  # a TimeoutError is one
            connection.close()
            failure = error
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise failure


async def _connect(connection: socket.socket, address: Any) -> None:
    try:
        connection.connect(address)
    except BlockingIOError:
        await anyio.wait_writable(connection)
    code = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))


async def _read(stream: anyio.abc.ByteReceiveStream, max_bytes: int) -> bytes:
    try:
        return await stream.receive(max_bytes)
    except anyio.EndOfStream:
        return b""
    except (anyio.BrokenResourceError, anyio.ClosedResourceError, ssl.SSLError) as error:
        raise httpcore.ReadError(str(error)) from error


async def _write(stream: anyio.abc.ByteSendStream, buffer: bytes) -> None:
    try:
        if buffer:
            await stream.send(buffer)
    except (anyio.BrokenResourceError, anyio.ClosedResourceError, ssl.SSLError) as error:
        raise httpcore.WriteError(str(error)) from error
