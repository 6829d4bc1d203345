"""Arrival times of bytes over real connections."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

import anyio
import anyio.abc
import anyio.to_thread
import httpcore
import pytest

from aiidpd.platform import stamps
from aiidpd.platform.loop_delay import LoopDelay
from aiidpd.platform.timed import TimedBackend, Wire
from tests.ports import free_port
from tests.waiting import PATIENCE


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[httpcore.AsyncNetworkStream, Wire, socket.socket]]:
    """Yield a stream with its wire, and the other end."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        delay = LoopDelay()
        backend = TimedBackend(time.monotonic, delay)
        stream = await backend.connect_tcp("127.0.0.1", listener.getsockname()[1])
        peer, _ = listener.accept()
        with closing(peer), delay.measured():
            yield stream, stream.wire, peer  # type: ignore[attr-defined]
        await stream.aclose()


async def test_each_step_has_its_time():
    before = time.monotonic()
    async with connected() as (stream, wire, peer):
        assert wire.connected is not None
        assert wire.sent is wire.arrived is None
        await stream.write(b"head")
        head = wire.sent
        await stream.write(b"body")
        assert peer.recv(8, socket.MSG_WAITALL) == b"headbody"
        assert head is not None
        assert wire.sent is not None
        assert before <= wire.opened <= wire.connected <= head < wire.sent <= time.monotonic()
        peer.sendall(b"answer")
        assert await stream.read(100) == b"answer"
        assert wire.arrived is not None
        assert wire.sent <= wire.arrived <= time.monotonic()


async def test_a_loop_that_is_held_up_does_not_make_the_arrival_later():
    async with connected() as (stream, wire, peer):
        await stream.write(b"x")
        for _ in range(20):  # the first stamps of a machine that had none may be missing
            sent = time.monotonic()
            peer.sendall(b"token")
            time.sleep(0.05)  # noqa: ASYNC251 -- another task that computes
            assert await stream.read(100) == b"token"
            assert wire.arrived is not None
            assert wire.arrived >= sent - 0.001
            assert wire.waited >= 0.04
            if wire.stamped and wire.arrived < sent + 0.04:
                return
    raise AssertionError("the kernel gives no stamps")


async def test_without_delay_nothing_waited():
    async with connected() as (stream, wire, peer):
        for _ in range(50):
            with anyio.fail_after(PATIENCE):
                async with anyio.create_task_group() as group:
                    group.start_soon(stream.read, 100)
                    await anyio.sleep(0.005)
                    peer.sendall(b"token")
            if wire.waited == 0.0:
                return
    raise AssertionError("this machine is never in time")


@pytest.mark.parametrize("step", [-3600.0, -0.02, 3600.0])
async def test_a_step_of_the_clock_makes_no_stamp_a_time(step: float, monkeypatch: pytest.MonkeyPatch):
    """The real-time clock is set between the arrival and the reading."""
    async with connected() as (stream, wire, peer):
        before = time.monotonic()
        peer.sendall(b"token")
        time.sleep(0.001)  # noqa: ASYNC251
        real = time.time_ns
        monkeypatch.setattr(stamps.time, "time_ns", lambda: real() + int(step * 1e9))
        await stream.read(100)
        assert not wire.stamped
        assert wire.arrived is not None
        assert before <= wire.arrived <= time.monotonic()


async def test_times_never_go_back(monkeypatch: pytest.MonkeyPatch):
    async with connected() as (stream, wire, peer):
        last = 0.0
        real = time.time_ns
        for number in range(50):
            monkeypatch.setattr(stamps.time, "time_ns", lambda n=number: real() + (n % 7 - 3) * 10_000_000)
            peer.sendall(b"token")
            await stream.read(100)
            assert wire.arrived is not None
            assert last <= wire.arrived <= time.monotonic()
            last = wire.arrived


async def test_the_end_of_the_connection_is_no_bytes_and_a_reset_is_an_error():
    async with connected() as (stream, _, peer):
        peer.shutdown(socket.SHUT_WR)
        assert await stream.read(100) == b""
    async with connected() as (stream, _, peer):
        await stream.write(b"unread")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        peer.close()
        with pytest.raises(httpcore.ReadError):
            await stream.read(100)
        with pytest.raises(httpcore.WriteError):
            await stream.write(b"x" * 10_000_000)
    with pytest.raises(httpcore.ReadError):
        await stream.read(100)


async def test_more_than_the_buffers_hold_is_written_as_the_other_end_reads():
    async with connected() as (stream, _, peer):
        received = 0

        def drain() -> None:
            nonlocal received
            while received < 8_000_000:
                received += len(peer.recv(65_536))

        async with anyio.create_task_group() as group:
            group.start_soon(anyio.to_thread.run_sync, drain)
            await stream.write(b"x" * 8_000_000)
        assert received == 8_000_000


async def test_a_read_that_is_cancelled_leaves_the_connection_usable():
    async with connected() as (stream, _, peer):
        with anyio.move_on_after(0.01) as scope:
            await stream.read(100)
        assert scope.cancelled_caught
        peer.sendall(b"late")
        assert await stream.read(100) == b"late"


async def test_nobody_listens():
    backend = TimedBackend(time.monotonic, LoopDelay())
    with pytest.raises(httpcore.ConnectError, match="refused"):
        await backend.connect_tcp("127.0.0.1", free_port())
    with pytest.raises(httpcore.ConnectError):
        await backend.connect_tcp("name.invalid", 80)


async def test_a_name_is_tried_at_each_of_its_addresses():
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        backend = TimedBackend(time.monotonic, LoopDelay())
        stream = await backend.connect_tcp("localhost", listener.getsockname()[1])
        await stream.aclose()


async def test_a_server_without_tls_is_a_failed_connection():
    async with connected() as (stream, _, peer):
        peer.sendall(b"HTTP/1.1 400 no TLS\r\n\r\n")
        with pytest.raises(httpcore.ConnectError):
            await stream.start_tls(ssl.create_default_context(), "localhost")
