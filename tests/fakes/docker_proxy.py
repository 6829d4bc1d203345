"""A proxy before a real Docker socket that a test can cut, stall, slow or close: a fault on demand."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

GARBAGE = b"\x00\xff{not json\n"
BROKEN = b'{"message":"injected"}'


class DockerProxy:
    """Passes requests and answers; of the stream of events it knows the lines.

    ``delay`` (seconds) holds each piece back; ``requests`` are the request lines that came. ``failing`` is
    how many of the next calls are answered with 500.

    Stalled, it goes on accepting and answers nothing, as a hung engine does. ``stalled_paths`` stalls only
    the connections whose last request contained one of these texts; ``stalled_events`` the streams of events.

    ``drop``: whether the stream leaves an event (its line) out; ``forget``: the engine does not remember it
    either. ``reorder``: whether it comes after the one that follows, or after ``reorder_within`` seconds.
    """

    def __init__(self, upstream: Path, socket: Path) -> None:
        self.socket = socket
        self.delay = 0.0
        self.failing = 0
        self.requests: list[str] = []
        self.stalled_paths: set[str] = set()
        self.stalled_events = False
        self.drop: Callable[[bytes], bool] = lambda _: False
        self.forget: Callable[[bytes], bool] = lambda _: False
        self.reorder: Callable[[bytes], bool] = lambda _: False
        self.reorder_within = 0.2
        self.dropped = 0
        self._garbage = 0
        self._cut_in_line = False
        self._forgotten: set[bytes] = set()
        self._upstream = upstream
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen (again)."""
        self.socket.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, self.socket)

    async def close(self) -> None:
        """Stop listening and cut what is open; the socket's file stays, as it does after a crash."""
        if self._server is not None:
            self._server.close()
        self.resume()
        self.cut()
        await asyncio.sleep(0.01)

    def cut(self) -> None:
        """Break every open connection."""
        for writer in tuple(self._writers):
            writer.transport.abort()

    def cut_in_line(self) -> None:
        """Break the stream in the middle of its next event."""
        self._cut_in_line = True

    def garbage(self) -> None:
        """Write what is no event before the next one."""
        self._garbage += 1

    def stall(self) -> None:
        """Pass nothing on, in either direction, on any connection."""
        self._flowing.clear()

    def resume(self) -> None:
        """End the stall; what was held back is passed on."""
        self.stalled_paths.clear()
        self.stalled_events = False
        self._flowing.set()

    def calm(self) -> None:
        """End every fault that lasts."""
        self.drop = self.forget = self.reorder = lambda _: False
        self.delay, self.failing, self._garbage, self._cut_in_line = 0.0, 0, 0, False
        self.resume()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_unix_connection(self._upstream)
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, up_writer}
        self._writers |= pair
        paths: deque[str] = deque()
        there = asyncio.create_task(self._ask(reader, up_writer, writer, paths))
        back = asyncio.create_task(self._answers(up_reader, writer, paths))
        await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
        for task in (there, back):
            task.cancel()
        await asyncio.gather(there, back, return_exceptions=True)
        self._writers -= pair
        for one in pair:
            one.transport.abort()

    async def _ask(
        self,
        reader: asyncio.StreamReader,
        up: asyncio.StreamWriter,
        back: asyncio.StreamWriter,
        paths: deque[str],
    ) -> None:
        with suppress(OSError):
            while piece := await reader.read(65536):
                path = piece.split(b"\r\n", 1)[0].decode("latin-1")
                self.requests.append(path)
                if any(text in path for text in self.stalled_paths):
                    await asyncio.Event().wait()
                if self.failing and "/events" not in path:
                    self.failing -= 1
                    head = f"HTTP/1.1 500 Injected\r\nContent-Length: {len(BROKEN)}\r\n\r\n".encode()
                    await self._write(back, head + BROKEN)
                    continue
                paths.append(path)
                await self._write(up, piece)

    async def _answers(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, paths: deque[str]
    ) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                path = paths.popleft() if paths else ""
                await self._write(writer, head)
                lower = head.lower()
                if b"transfer-encoding: chunked" in lower:
                    events = "/events" in path and b" 200 " in head
                    await self._chunks(reader, writer, live=events and "until=" not in path, events=events)
                elif b"content-length:" in lower:
                    length = int(lower.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
                    await self._write(writer, await reader.readexactly(length))

    async def _chunks(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, live: bool, events: bool
    ) -> None:
        held: list[bytes] = []
        rest = b""
        while True:
            chunk = await self._chunk(reader, held, writer)
            if not chunk:
                await self._write(writer, b"0\r\n\r\n")
                return
            if not events:
                await self._write(writer, framed(chunk))
                continue
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                await self._event(line + b"\n", writer, held, live=live)

    async def _chunk(
        self, reader: asyncio.StreamReader, held: list[bytes], writer: asyncio.StreamWriter
    ) -> bytes:
        """Return the next chunk; what is held back for a new order goes on where none comes soon."""
        reading = asyncio.ensure_future(reader.readuntil(b"\r\n"))
        try:
            if held:
                await asyncio.wait({reading}, timeout=self.reorder_within)
                if not reading.done():
                    await self._write(writer, framed(held.pop()))
            size = int(await reading, 16)
        except BaseException:
            reading.cancel()
            raise
        return (await reader.readexactly(size + 2))[:-2]

    async def _event(
        self, line: bytes, writer: asyncio.StreamWriter, held: list[bytes], *, live: bool
    ) -> None:
        if line in self._forgotten:
            return
        if live and self.forget(line):
            self._forgotten.add(line)
            self.dropped += 1
            return
        if not live:
            await self._write(writer, framed(line))
            return
        if self.drop(line):
            self.dropped += 1
            return
        while self.stalled_events:  # noqa: ASYNC110 -- a fault that a test ends
            await asyncio.sleep(0.01)
        if self._garbage:
            self._garbage -= 1
            await self._write(writer, framed(GARBAGE))
        if self._cut_in_line:
            self._cut_in_line = False
            await self._write(writer, framed(line[: len(line) // 2]))
            await asyncio.sleep(0.01)
            writer.transport.abort()
            raise ConnectionError
        if not held and self.reorder(line):
            held.append(line)
            return
        await self._write(writer, framed(line) + b"".join(map(framed, held)))
        held.clear()

    async def _write(self, writer: asyncio.StreamWriter, piece: bytes) -> None:
        await asyncio.sleep(self.delay)
        await self._flowing.wait()
        writer.write(piece)
        await writer.drain()


def framed(data: bytes) -> bytes:
    """Return ``data`` as a chunk."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def chance(seed: int, share: float) -> Callable[[bytes], bool]:
    """Return a choice that is true for ``share`` of all lines, the same at every run."""
    numbers = random.Random(seed)
    return lambda _: numbers.random() < share


def burst(number: int) -> Callable[[bytes], bool]:
    """Return a choice that is true for the next ``number`` lines."""
    left = iter(range(number))
    return lambda _: next(left, None) is not None


@asynccontextmanager
async def docker_proxy(upstream: Path, socket: Path) -> AsyncIterator[DockerProxy]:
    """Run a proxy for the time of a block; nothing of it is left afterwards."""
    proxy = DockerProxy(upstream, socket)
    await proxy.open()
    try:
        yield proxy
    finally:
        await proxy.close()
        socket.unlink(missing_ok=True)  # noqa: ASYNC240 -- a test's own file
