"""Everything that can be wrong with the socket has an error of its own; no Docker is needed to see it."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import anyio
import pytest

from aiidpd.components.containers.docker.client import DockerRuntime
from aiidpd.kernel.errors import Unavailable
from tests.waiting import PATIENCE

NOBODY = 65534
JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own can be too long for a socket
        Path(folder).chmod(0o755)
        yield Path(folder) / "docker.sock"


@asynccontextmanager
async def answering(path: Path, *answers: bytes | None) -> AsyncIterator[None]:
    """Serve one of ``answers`` a connection, the last one for ever; None answers nothing, ever."""
    rest = list(answers)
    open_: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_.add(writer)
        await reader.readuntil(b"\r\n\r\n")
        answer = rest.pop(0) if len(rest) > 1 else rest[0]
        if answer is not None:
            writer.write(answer)
            await writer.drain()
            writer.close()

    server = await asyncio.start_unix_server(serve, path)
    try:
        yield
    finally:
        server.close()
        for writer in open_:
            writer.transport.abort()
        await asyncio.sleep(0.01)


async def errors(path: Path, call_timeout: float = PATIENCE) -> tuple[str, str]:
    """Return how reading and following fail."""
    engine = DockerRuntime(path, call_timeout=call_timeout)
    with pytest.raises(Unavailable) as reading:
        await engine.containers()
    with pytest.raises(Unavailable) as following:
        async with engine.events(time.time()):
            pass
    await engine.aclose()
    return str(reading.value), str(following.value)


async def test_no_socket(path: Path) -> None:
    for text in await errors(path):
        assert str(path) in text
        assert "there is no such socket; start Docker" in text


async def test_a_socket_where_nothing_listens(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))
    for text in await errors(path):
        assert "nothing listens on the socket; start Docker" in text


async def test_not_a_socket_at_all(path: Path) -> None:
    path.write_text("")  # noqa: ASYNC240 -- a test's own file
    for text in await errors(path):
        assert "it is not a socket; set containers.socket" in text


def read_as_nobody(path: Path, result: Connection) -> None:
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    engine = DockerRuntime(path, call_timeout=PATIENCE)
    try:
        anyio.run(engine.containers)
    except Unavailable as error:
        result.send(str(error))


def test_no_permission_on_the_socket(path: Path) -> None:
    # Root may do everything, so the read happens in a child that is nobody; forked, because nobody
    # may not be allowed to read this checkout either.
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))
        path.chmod(0)
        one.listen()
        here, there = multiprocessing.Pipe(duplex=False)
        child = multiprocessing.get_context("fork").Process(target=read_as_nobody, args=(path, there))
        child.start()
        assert here.poll(PATIENCE)
        text = here.recv()
        child.join(PATIENCE)
        assert child.exitcode == 0
    assert "permission denied on the socket; add the daemon's user to the socket's group" in text


async def test_an_engine_that_accepts_and_is_silent(path: Path) -> None:
    async with answering(path, None):
        began = time.monotonic()
        for text in await errors(path, call_timeout=0.2):
            assert "it did not answer within 0.2 s; see `journalctl -u docker`" in text
        assert time.monotonic() - began < PATIENCE


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"\x00\x01\x02 garbage",
        b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nno such page",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<html>",
        JSON + b"{}",
        JSON + b"[1, 2",
        JSON + b"null",
        JSON + b'{"ApiVersion": "1.41", "Version": null, "Components": []}',
        b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n[]",
    ],
)
async def test_something_that_is_no_docker_engine(path: Path, answer: bytes) -> None:
    async with answering(path, answer):
        for text in await errors(path):
            assert "it answers, but not as a Docker Engine does" in text
            assert "check that containers.socket" in text


async def test_an_engine_that_closes_without_an_answer(path: Path) -> None:
    async with answering(path, b""):
        for text in await errors(path):
            assert "closed the connection in mid-answer" in text


async def test_an_engine_in_trouble_and_one_that_denies(path: Path) -> None:
    trouble = b'Content-Type: application/json\r\nConnection: close\r\n\r\n{"message": "driver failed"}'
    async with answering(path, b"HTTP/1.1 500 Internal Server Error\r\n" + trouble):
        for text in await errors(path):
            assert "it reports error 500: driver failed; see `journalctl -u docker`" in text
    async with answering(path, b"HTTP/1.1 403 Forbidden\r\n" + trouble):
        for text in await errors(path):
            assert "it denies the request: driver failed; allow this call" in text


async def follow_to_the_end(engine: DockerRuntime) -> None:
    async with engine.events(0.0) as stream:
        async for _ in stream:
            pass


async def test_garbage_in_the_event_stream_ends_it_with_an_error(path: Path) -> None:
    version = JSON + b'{"ApiVersion": "1.41", "Version": "20.10"}'
    async with answering(path, version, JSON + b'{"Type": "container", "Action": "start"}\n'):
        with pytest.raises(Unavailable, match="not as a Docker Engine does"):
            await follow_to_the_end(DockerRuntime(path))


VERSION = JSON + b'{"Version": "27.0", "ApiVersion": "1.47"}'


def refusal(status: bytes, message: bytes) -> bytes:
    return (
        b"HTTP/1.1 " + status + b'\r\nContent-Type: application/json\r\n\r\n{"message": "' + message + b'"}'
    )


@pytest.mark.parametrize("status", [b"409 Conflict", b"500 Internal Server Error"])
@pytest.mark.parametrize(
    "state", [b"already paused", b"not running", b"restarting, wait until it is running"]
)
async def test_a_container_in_another_state_is_not_paused_by_us(
    path: Path, status: bytes, state: bytes
) -> None:
    engine = DockerRuntime(path, call_timeout=PATIENCE)
    async with answering(path, VERSION, VERSION, refusal(status, b"Container abc is " + state)):
        assert await engine.pause("abc") is False
        await engine.aclose()


async def test_an_engine_that_can_t_pause_says_why(path: Path) -> None:
    engine = DockerRuntime(path, call_timeout=PATIENCE)
    cannot = refusal(b"500 Internal Server Error", b"Cannot pause container abc: no cgroup freezer")
    denied = refusal(b"403 Forbidden", b"authorization denied by plugin")
    async with answering(path, VERSION, VERSION, cannot, denied):
        with pytest.raises(Unavailable, match=r"cannot pause a container of .*no cgroup freezer"):
            await engine.pause("abc")
        with pytest.raises(Unavailable, match=r"cannot unpause a container of .*it denies the request"):
            await engine.unpause("abc")
        await engine.aclose()
