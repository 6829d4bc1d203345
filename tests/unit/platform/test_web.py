from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from aiohttp import web

from aiidpd.kernel.errors import Conflict
from aiidpd.platform.connection import Limits
from aiidpd.platform.sockets import listen_unix
from aiidpd.platform.web import WebServer
from tests.fakes.control import until
from tests.waiting import PATIENCE

QUICK = Limits(connections=4, head=0.3, body=0.3, idle=0.8, write=0.3, buffer_bytes=4096)
GET = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"


class Site:
    """A server with a few handlers, and what a test wants to know of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.failures: list[Exception] = []
        self.release = asyncio.Event()
        self.waiting = 0
        self.served = 0
        self.server: WebServer

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(str(self.path))

    async def ask(self, request: bytes = GET) -> bytes:
        """Return all that comes back until the server closes."""
        reader, writer = await self.connect()
        writer.write(request)
        async with asyncio.timeout(PATIENCE):
            answer = await reader.read()
        writer.close()
        return answer

    async def hello(self, _request: web.Request) -> web.Response:
        return web.Response(text="hello")

    async def echo(self, request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    async def wait(self, _request: web.Request) -> web.Response:
        self.waiting += 1
        await self.release.wait()
        return web.Response(text="released")

    async def large(self, _request: web.Request) -> web.Response:
        self.served += 1
        return web.Response(body=bytes(10_000_000))

    async def fail(self, _request: web.Request) -> web.Response:
        raise RuntimeError("a secret")

    async def refuse(self, _request: web.Request) -> web.Response:
        raise Conflict("move", "it", reason="it is held", remedy="let go")

    async def fail_halfway(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(b"begun")
        raise RuntimeError("halfway")


@asynccontextmanager
async def site(folder: Path, limits: Limits = QUICK) -> AsyncIterator[Site]:
    listener = listen_unix(folder / "w.sock")
    it = Site(listener.path)
    app = web.Application()
    app.router.add_post("/echo", it.echo)
    for name in ("hello", "wait", "large", "fail", "refuse", "fail_halfway"):
        app.router.add_get(f"/{name}", getattr(it, name))
    it.server = WebServer(
        app, [listener.socket], limits=limits, on_failure=lambda _request, error: it.failures.append(error)
    )
    async with it.server:
        yield it
    listener.close()


async def test_a_connection_is_kept_between_requests_and_closed_when_idle(tmp_path: Path) -> None:
    async with site(tmp_path, Limits(head=0.3, idle=3.0)) as it:
        reader, writer = await it.connect()
        for _ in range(3):
            writer.write(GET)
            assert b"200 OK" in await reader.readuntil(b"hello")
            await asyncio.sleep(0.5)  # longer than a head may take
        assert it.server.connections == 1
        async with asyncio.timeout(PATIENCE):
            assert await reader.read() == b""
        writer.close()


async def test_a_head_that_takes_too_long_gets_408_whether_it_is_the_first_or_not(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        answer = await it.ask(GET[:20])
        assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\nContent-Type: application/problem+json")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["detail"] == "no whole request came within 0.3 s"
        answer = await it.ask(GET + GET[:20])
        assert answer.count(b"HTTP/1.1 200") == 1


async def test_a_byte_now_and_then_does_not_prolong_the_deadline(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_UNIX) as client:
            client.setblocking(False)
            await loop.sock_connect(client, str(it.path))

            async def dribble() -> None:
                # Bytes that come too late for the server to read break the connection.
                with suppress(BrokenPipeError, ConnectionResetError):
                    for byte in GET[:-1] * 100:
                        await loop.sock_sendall(client, bytes([byte]))
                        await asyncio.sleep(0.05)

            task = asyncio.create_task(dribble())
            async with asyncio.timeout(PATIENCE):
                assert (await loop.sock_recv(client, 4096)).startswith(b"HTTP/1.1 408 ")
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def test_who_says_nothing_is_dropped(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        assert await it.ask(b"") == b""


async def test_a_body_that_takes_too_long_gets_408(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        answer = await it.ask(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n123")
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"the body did not come within 0.3 s" in answer


@pytest.mark.parametrize("size", [0, 1, 65535, 65536])
async def test_a_body_up_to_the_limit_is_taken(tmp_path: Path, size: int) -> None:
    async with site(tmp_path) as it:
        head = b"POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % size
        answer = await it.ask(head + b"x" * size)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.count(b"x") >= size


@pytest.mark.parametrize("declared", [True, False])
async def test_a_longer_body_gets_413(tmp_path: Path, declared: bool) -> None:
    async with site(tmp_path) as it:
        if declared:
            framing, body = b"Content-Length: 65537", bytes(65537)
        else:
            framing, body = b"Transfer-Encoding: chunked", b"10001\r\n" + bytes(65537) + b"\r\n0\r\n\r\n"
        answer = await it.ask(
            b"POST /echo HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\nConnection: close\r\n\r\n" + body
        )
        assert answer.startswith(b"HTTP/1.1 413 ")


async def test_an_answer_that_is_not_read_is_given_up(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        reader, writer = await it.connect()
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(GET.replace(b"hello", b"large"))
        await until(lambda: it.server.connections == 1)
        await until(lambda: it.server.connections == 0)
        writer.close()
        assert reader.exception() is None


async def test_who_reads_slowly_but_steadily_gets_it_all(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        reader, writer = await it.connect()
        writer.write(GET.replace(b"hello", b"large"))
        got = len(await reader.readuntil(b"\r\n\r\n"))
        got = 0
        while got < 10_000_000:
            got += len(await reader.read(200_000))
            await asyncio.sleep(0.02)
        assert got == 10_000_000
        writer.close()


async def test_one_too_many_takes_the_place_of_one_that_keeps_us_waiting(tmp_path: Path) -> None:
    async with site(tmp_path, Limits(connections=4, head=60, idle=60)) as it:
        waiting = [await it.connect() for _ in range(3)]
        await until(lambda: it.server.connections == 3)
        idle = await it.connect()
        idle[1].write(GET)
        await idle[0].readuntil(b"hello")
        await until(lambda: it.server.connections == 4)
        reader, writer = await it.connect()
        writer.write(GET)
        assert b"hello" in await reader.readuntil(b"hello")
        assert it.server.connections == 4
        # The one between two requests made room, not those whose request may be on its way.
        async with asyncio.timeout(PATIENCE):
            assert await idle[0].read() == b""
        for each in (idle, *waiting, (reader, writer)):
            each[1].close()


async def test_where_all_are_served_one_more_gets_503_and_a_place_afterwards(tmp_path: Path) -> None:
    async with site(tmp_path, Limits(connections=4)) as it:
        busy = [await it.connect() for _ in range(4)]
        for _, writer in busy:
            writer.write(GET.replace(b"hello", b"wait"))
        await until(lambda: it.waiting == 4)
        reader, writer = await it.connect()
        answer = await reader.read()
        assert answer.startswith(
            b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json"
        )
        writer.close()
        it.release.set()
        for reader, writer in busy:
            assert b"released" in await reader.readuntil(b"released")
            writer.close()
        assert b"200 OK" in await it.ask(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))


async def test_a_handler_that_fails_gets_500_without_a_word_of_why(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        answer = await it.ask(b"GET /fail HTTP/1.0\r\n\r\n")
        assert answer.startswith(b"HTTP/1.0 500 ")
        assert b"secret" not in answer
        assert b"Traceback" not in answer
        assert [str(error) for error in it.failures] == ["a secret"]


async def test_our_own_errors_keep_their_parts(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        answer = await it.ask(b"GET /refuse HTTP/1.0\r\n\r\n")
        assert answer.startswith(b"HTTP/1.0 409 ")
        problem = json.loads(answer.partition(b"\r\n\r\n")[2])
        assert problem["reason"] == "it is held"
        assert problem["remedy"] == "let go"
        assert it.failures == []


async def test_an_answer_that_fails_halfway_is_broken_off(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        answer = await it.ask(b"GET /fail_halfway HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer.count(b"HTTP/1.1") == 1
        assert answer.endswith(b"begun\r\n")
        assert [str(error) for error in it.failures] == ["halfway"]


async def test_what_clients_do_wrong_is_not_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with site(tmp_path) as it:
        assert (await it.ask(b"BREW / COFFEE/1.0\r\n\r\n")).startswith(b"HTTP/1.0 400 ")
        reader, writer = await it.connect()
        writer.write(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n123")
        await asyncio.sleep(0.05)
        writer.transport.abort()
        await until(lambda: it.server.connections == 0)
        assert reader.exception() is None
    assert caplog.records == []


async def test_a_half_closed_request_gets_its_answer(tmp_path: Path) -> None:
    async with site(tmp_path, Limits(head=PATIENCE, idle=PATIENCE)) as it:
        for request, answers in ((GET, 1), (GET * 20, 20), (GET.replace(b"hello", b"large"), 1)):
            reader, writer = await it.connect()
            writer.write(request)
            writer.write_eof()
            async with asyncio.timeout(PATIENCE):
                answer = await reader.read()  # and then the connection ends
            assert answer.count(b"HTTP/1.1 200 OK") == answers
            writer.close()
        assert len(answer) > 10_000_000


async def test_a_half_closed_request_that_is_served_for_long_gets_its_answer(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        reader, writer = await it.connect()
        writer.write(GET.replace(b"hello", b"wait"))
        writer.write_eof()
        await until(lambda: it.waiting == 1)
        await asyncio.sleep(1)  # longer than any of the limits
        it.release.set()
        async with asyncio.timeout(PATIENCE):
            assert (await reader.read()).endswith(b"released")
        writer.close()


async def test_a_half_closed_request_that_is_not_whole_gets_400(tmp_path: Path) -> None:
    async with site(tmp_path, Limits(head=PATIENCE)) as it:
        reader, writer = await it.connect()
        writer.write(GET[:20])
        writer.write_eof()
        async with asyncio.timeout(PATIENCE):
            answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"the request is cut short" in answer
        writer.close()


@pytest.mark.parametrize("version", [b"HTTP/2.0", b"HTTP/0.9", b"HTTP/3.0"])
async def test_a_version_that_is_not_spoken_gets_an_error_and_the_connection_ends(
    tmp_path: Path, version: bytes
) -> None:
    async with site(tmp_path) as it:
        answer = await it.ask(GET.replace(b"HTTP/1.1", version))
        assert answer.split(b" ")[1] in (b"400", b"505")
        assert b"200 OK" not in answer


async def test_answers_that_nobody_reads_are_bounded_by_user(tmp_path: Path) -> None:
    limits = Limits(user_bytes=2**24)
    async with site(tmp_path, limits) as it:
        silent = [await it.connect() for _ in range(3)]
        for number, (_, writer) in enumerate(silent):
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            writer.write(GET.replace(b"hello", b"large"))
            await until(lambda number=number: it.served > number)
        assert b"200 OK" in await it.ask(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        for _, writer in silent:
            writer.transport.resume_reading()  # type: ignore[attr-defined]
        heads = [await reader.readuntil(b"\r\n") for reader, _ in silent]
        assert [head.split()[1] for head in heads] == [b"200", b"503", b"503"]
        for _, writer in silent:
            writer.close()


async def test_pipelined_requests_are_answered_in_order(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        reader, writer = await it.connect()
        writer.write(GET * 100)
        async with asyncio.timeout(PATIENCE):
            for _ in range(100):
                await reader.readuntil(b"hello")
        writer.close()


async def test_closing_waits_for_an_answer_but_not_for_ever(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        reader, writer = await it.connect()
        writer.write(GET.replace(b"hello", b"wait"))
        await until(lambda: it.waiting == 1)
    assert it.server.connections == 0
    assert await reader.read() == b""
    writer.close()


@pytest.mark.parametrize(
    "request_",
    [
        GET,
        b"GET /none HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        b"GET /hello HTTP/1.1\r\nHost: x\r\nno header\r\n\r\n",
        b"\x16\x03\x01\x02",
        b"GET /hello HTTP/9.9\r\nHost: x\r\n\r\n",
    ],
)
async def test_no_answer_names_a_version_of_what_serves(tmp_path: Path, request_: bytes) -> None:
    async with site(tmp_path) as it:
        answer = await it.ask(request_.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    head = answer.partition(b"\r\n\r\n")[0]
    assert head.startswith(b"HTTP/1.")
    for line in head.split(b"\r\n")[1:]:
        assert not line.lower().startswith(b"server:") or line == b"Server: aiidpd", line
    assert b"ython" not in head
    assert b"aiohttp" not in head.lower()
