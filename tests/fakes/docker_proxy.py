"""A proxy before a real Docker socket that a test can cut, stall, slow or close: a fault on demand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path


class DockerProxy:
    """Passes bytes both ways.

    ``delay`` (seconds) holds each piece back; ``requests`` are the request lines that came.

    Stalled, it goes on accepting and answers nothing, as a hung engine does. ``stalled_paths`` stalls only
    the connections whose last request contained one of these texts.
    """

    def __init__(self, upstream: Path, socket: Path) -> None:
        self.socket = socket
        self.delay = 0.0
        self.requests: list[str] = []
        self.stalled_paths: set[str] = set()
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

    def stall(self) -> None:
        """Pass nothing on, in either direction, on any connection."""
        self._flowing.clear()

    def resume(self) -> None:
        """End the stall; what was held back is passed on."""
        self.stalled_paths.clear()
        self._flowing.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_unix_connection(self._upstream)
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, up_writer}
        self._writers |= pair
        there = asyncio.create_task(self._pass(reader, up_writer, note=True))
        back = asyncio.create_task(self._pass(up_reader, writer, note=False))
        await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
        for task in (there, back):
            task.cancel()
        await asyncio.gather(there, back, return_exceptions=True)
        self._writers -= pair
        for one in pair:
            one.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, note: bool) -> None:
        with suppress(OSError):
            while piece := await reader.read(65536):
                if note:
                    path = piece.split(b"\r\n", 1)[0].decode("latin-1")
                    self.requests.append(path)
                    if any(text in path for text in self.stalled_paths):
                        await asyncio.Event().wait()
                await asyncio.sleep(self.delay)
                await self._flowing.wait()
                writer.write(piece)
                await writer.drain()


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
