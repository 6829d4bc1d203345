"""Serves an aiohttp application on sockets, guarded against clients that are slow, broken or hostile.

aiohttp bounds the length of a request's head, but neither the time that a client takes to send a
request and to read the answer, nor the number of connections. :class:`WebServer` does: a
:class:`~aiidpd.platform.connection.Connection` wraps each of aiohttp's, and a middleware reads
each request's body before its handler runs and turns every error into a problem document.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus
from types import TracebackType
from typing import Self

from aiohttp import web, web_response
from aiohttp.http import HttpProcessingError

from aiidpd.kernel.errors import AiidpdError, Unavailable
from aiidpd.platform import problem
from aiidpd.platform.connection import Connection, Limits, Phase

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_SWEEP = 0.25  # seconds between two checks of the deadlines, while there are connections
# asyncio accepts as many at a turn of its loop as its backlog holds. Few, so that what those before them
# sent is read before newcomers take their place; in the kernel many may wait.
_ACCEPT, _BACKLOG = 4, 128
_USERS = 4  # users' worth of unread answers that may wait in all
_LINGER = 1.0  # seconds that the rest of a refused body is read for, so that the answer is not lost
_FAREWELL = 1.0  # seconds that requests in progress have to end when the server closes


class _NotTheClients(logging.Filter):
    """Filters what clients do wrong (no HTTP, gone before the answer) from the log, which they could fill."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, HttpProcessingError | ConnectionError)


# aiohttp names its own version and Python's in each answer, also where it refuses a request by itself and no
# handler, signal or header of ours is reached.
web_response.SERVER_SOFTWARE = "aiidpd"  # type: ignore[attr-defined]

_log = logging.getLogger("aiidpd.web")
_log.addFilter(_NotTheClients())


def connection_of(request: web.Request) -> Connection:
    """Return the connection of ``request``; raises :class:`ConnectionResetError` when it is gone."""
    transport = request.transport
    connection = None if transport is None else transport.get_protocol()
    if not isinstance(connection, Connection):
        raise ConnectionResetError("the client has gone")
    return connection


def respond_problem(document: dict[str, str | int]) -> web.Response:
    """Return the response that carries the problem ``document``."""
    status = int(document["status"])
    return web.Response(body=problem.encode(document), status=status, content_type=problem.MEDIA_TYPE)


class WebServer:
    """Serves ``app`` on ``listeners`` (listening sockets) from ``start`` to ``close``; a context manager too.

    The application's handlers find the body already read (``await request.read()`` returns at once).
    ``on_failure`` receives each exception in a handler that is no :class:`AiidpdError`; the
    client gets a 500 without details.
    """

    def __init__(
        self,
        app: web.Application,
        listeners: Iterable[socket.socket],
        *,
        limits: Limits | None = None,
        on_failure: Callable[[web.Request, Exception], None],
    ) -> None:
        self.limits = limits or Limits()
        self._on_failure = on_failure
        self._listeners = tuple(listeners)
        self._connections: set[Connection] = set()
        self._servers: list[asyncio.Server] = []
        self._sweeping: asyncio.TimerHandle | None = None

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._guard(request, handler)

        app.middlewares.insert(0, guard)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            logger=_log,
            tcp_keepalive=False,
            keepalive_timeout=self.limits.idle,
            lingering_time=_LINGER,
            auto_decompress=False,  # a small body must not unfold into a large one
            shutdown_timeout=_FAREWELL,
        )

    @property
    def connections(self) -> int:
        """Number of open connections."""
        return len(self._connections)

    async def start(self) -> None:
        """Begin to accept."""
        await self._runner.setup()
        inner = self._runner.server
        assert inner is not None  # noqa: S101 -- setup() made it
        loop = asyncio.get_running_loop()

        def connection() -> Connection:
            return Connection(self, inner, loop)

        for listener in self._listeners:
            create = loop.create_unix_server if listener.family == socket.AF_UNIX else loop.create_server
            self._servers.append(await create(connection, sock=listener, backlog=_ACCEPT))
            listener.listen(_BACKLOG)

    async def close(self) -> None:
        """Stop accepting, let what is being answered end for about a second, and drop the rest."""
        for server in self._servers:
            server.close()
        for connection in tuple(self._connections):
            connection.gone.set()
        await self._runner.cleanup()
        for connection in tuple(self._connections):
            connection.drop()
        for server in self._servers:
            await server.wait_closed()
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    # Called by connections

    def admit(self, connection: Connection) -> bool:
        """Enter ``connection``, if need be in the place of one whose client is waited for."""
        if len(self._connections) >= self.limits.connections:
            waiting = [each for each in self._connections if each.waited_for]
            if not waiting:
                return False
            min(waiting, key=lambda each: each.claim).drop()
        self._connections.add(connection)
        if self._sweeping is None:
            self._sweep()
        return True

    def forget(self, connection: Connection) -> None:
        """Strike ``connection`` out; one that is not entered is no error."""
        self._connections.discard(connection)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        for connection in tuple(self._connections):
            connection.check(loop.time())
        self._sweeping = loop.call_later(_SWEEP, self._sweep) if self._connections else None

    # Around each request

    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        connection = connection_of(request)
        if request.version.major != 1:
            # Answered here: aiohttp would answer in the version of the request.
            version = f"HTTP/{request.version.major}.{request.version.minor}"
            connection.refuse(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, f"{version} is not spoken here")
            raise ConnectionResetError("refused")
        connection.enter(Phase.BODY)
        try:
            return await self._answer(request, connection, handler)
        finally:
            connection.enter(Phase.IDLE)

    async def _answer(
        self, request: web.Request, connection: Connection, handler: Handler
    ) -> web.StreamResponse:
        try:
            await self._read_body(request)
            connection.enter(Phase.SERVING)
            return self._with_room(request, connection, await handler(request))
        except web.HTTPException as error:
            if error.status < HTTPStatus.BAD_REQUEST:
                raise
            response = respond_problem(problem.document(error.status, _detail(error, request)))
            if "Allow" in error.headers:
                response.headers["Allow"] = error.headers["Allow"]
        except AiidpdError as error:
            response = respond_problem(problem.of(error))
        except ConnectionError:
            raise  # the client has gone: aiohttp closes
        except Exception as error:  # noqa: BLE001 -- a fault in one request must not touch the others
            self._on_failure(request, error)
            detail = "the daemon failed to answer this; its log and its event history say why"
            response = respond_problem(problem.document(HTTPStatus.INTERNAL_SERVER_ERROR, detail))
        if request.writer.output_size:
            raise ConnectionResetError("the answer had begun, so that it can only be broken off")
        if not request.content.is_eof():
            response.force_close()
        return response

    def _with_room(
        self, request: web.Request, connection: Connection, answer: web.StreamResponse
    ) -> web.StreamResponse:
        """Return ``answer``; raises :class:`Unavailable` where too much waits unread for it to be added."""
        size = len(answer.body) if isinstance(answer, web.Response) and isinstance(answer.body, bytes) else 0
        if size <= self.limits.buffer_bytes:
            return answer
        own = every = 0
        user = None if connection.peer is None else connection.peer.uid
        for each in self._connections:
            every += each.unread
            if user == (None if each.peer is None else each.peer.uid):
                own += each.unread
        for waiting, most in ((own, self.limits.user_bytes), (every, _USERS * self.limits.user_bytes)):
            if waiting and waiting + size > most:
                reason = f"answers of {waiting} bytes wait that nobody reads"
                remedy = "read them, or close those connections"
                raise Unavailable("answer", request.path, reason=reason, remedy=remedy)
        return answer

    async def _read_body(self, request: web.Request) -> None:
        limit = self.limits.body_bytes
        if (request.content_length or 0) > limit:
            raise web.HTTPRequestEntityTooLarge(limit, request.content_length or 0)
        if not request.body_exists:
            return
        try:
            async with asyncio.timeout(self.limits.body):
                body = await request.read()
        except TimeoutError:
            raise web.HTTPRequestTimeout(
                text=f"the body did not come within {self.limits.body:g} s"
            ) from None
        except web.RequestPayloadError as error:
            raise web.HTTPBadRequest(text=f"the body is broken: {error}") from None
        if len(body) > limit:
            raise web.HTTPRequestEntityTooLarge(limit, len(body))


def _detail(error: web.HTTPException, request: web.Request) -> str:
    if error.status == HTTPStatus.NOT_FOUND:
        return f"there is nothing at {request.path}"
    if error.status == HTTPStatus.METHOD_NOT_ALLOWED:
        return f"{request.path} does not take {request.method}"
    return error.text or error.reason
