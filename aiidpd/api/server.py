"""Control API: parses requests, checks who may do what, runs the route, writes the answer."""

from __future__ import annotations

import json
import pwd
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from aiohttp import web
from pydantic import ValidationError

from aiidpd.api import openapi
from aiidpd.api.access import Access, AccessPolicy, decide
from aiidpd.api.document import Document, Heartbeat, Request, adapter, parse, to_json
from aiidpd.api.route import Answer, Call, Route, Stream
from aiidpd.kernel.errors import AiidpdError, Denied, Invalid, Unavailable, describe
from aiidpd.kernel.events import Scalar, Severity
from aiidpd.kernel.publisher import Publisher
from aiidpd.platform.connection import Connection
from aiidpd.platform.peercred import Peer
from aiidpd.platform.web import connection_of

HEARTBEAT = 1.5  # seconds without a line before a stream shows that it lives; clients count on 2

_NAMED_WITHIN = 0.5  # seconds that a user's name may take
_LONGEST = 500  # characters of a request that go into its event

# pydantic's words for these speak of calls and classes.
_WORDS = {
    "dataclass_type": "Input should be a valid dictionary",
    "unexpected_keyword_argument": "Extra inputs are not permitted",
}

_Request = TypeVar("_Request", bound=Request)


class ControlApi:
    """Answers the requests of ``routes``. ``policy`` may be replaced while it runs (a reload does).

    At most ``streams`` streams are open at once, so that they can't take every connection, and at most
    ``streams_per_user`` of them are of one user, so that one can't take every stream.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        policy: AccessPolicy,
        *,
        version: str,
        publish: Publisher,
        streams: int = 32,
        streams_per_user: int = 8,
        heartbeat: float = HEARTBEAT,
    ) -> None:
        self.policy = policy
        self._version = version
        self._publisher = publish
        self._routes = tuple(routes)
        self._most_streams = streams
        self._most_per_user = streams_per_user
        self._streams: Counter[int | None] = Counter()
        self._heartbeat = heartbeat
        self._openapi: bytes | None = None

    def application(self) -> web.Application:
        """Return the application that a :class:`~aiidpd.platform.web.WebServer` serves."""
        app = web.Application()
        for route in self._routes:
            app.router.add_route(route.method, route.path, self._serve(route))
        app.router.add_route("GET", openapi.PATH, self._describe)
        return app

    def prepare(self) -> None:
        """Make what validates and writes each document, which takes milliseconds each. Blocks; for a thread.

        A request that comes before makes what it needs.
        """
        for route in self._routes:
            for kind in (route.answer, route.query, route.body, *route.lines):
                if kind is not None:
                    adapter(kind)

    def failed(self, request: web.Request, error: Exception) -> None:
        """Publish that a handler failed; what a :class:`WebServer` is given as ``on_failure``."""
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        where = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else ""
        self._publish(request, "control.failed", Severity.ERROR, describe(error), where=where)

    def _serve(self, route: Route) -> Any:
        async def handler(request: web.Request) -> web.StreamResponse:
            connection = connection_of(request)
            self._allow(request, connection, route.access)
            query = _understood(route.query, _query(request), "query")
            body = None if route.body is None else _understood(route.body, await _json(request), "body")
            call = Call(request.match_info, query, body)
            if route.access is Access.CHANGE:
                call = replace(call, by=await user_of(connection.peer))
                answer = await self._change(request, route, call)
            else:
                answer = await route.handler(call)
            if isinstance(answer, AsyncGenerator):
                return await self._stream(request, connection, answer)
            return web.Response(
                body=to_json(answer), status=route.status, content_type="application/json", charset="utf-8"
            )

        return handler

    async def _describe(self, request: web.Request) -> web.StreamResponse:
        self._allow(request, connection_of(request), Access.READ)
        if self._openapi is None:
            # Tens of milliseconds of work: not in the loop that the workers live in.
            document = await anyio.to_thread.run_sync(openapi.describe, self._routes, self._version)
            self._openapi = json.dumps(document).encode()
        return web.Response(body=self._openapi, content_type="application/json")

    def _allow(self, request: web.Request, connection: Connection, access: Access) -> None:
        decision = decide(self.policy, connection.peer, access)
        if not decision.allowed:
            self._publish(request, "control.denied", Severity.WARNING, decision.reason)
            action = "read" if access is Access.READ else "change"
            raise Denied(action, request.path, reason=decision.reason, remedy=decision.remedy)

    async def _change(self, request: web.Request, route: Route, call: Call) -> Answer:
        body = "" if call.body is None else to_json(call.body, exclude_defaults=True).decode()
        reason = f"requested by {call.by}: {route.summary}"
        self._publish(request, "control.change", Severity.INFO, reason, body=body)
        try:
            return await route.handler(call)
        except AiidpdError as error:
            self._publish(request, "control.refused", Severity.WARNING, str(error), body=body)
            raise

    async def _stream(
        self, request: web.Request, connection: Connection, lines: Stream
    ) -> web.StreamResponse:
        peer = connection.peer
        user = None if peer is None else peer.uid
        async with aclosing(lines):
            crowded = self._crowded(user)
            if crowded:
                raise Unavailable("open a stream of", request.path, reason=crowded, remedy="end one of them")
            self._streams[user] += 1
            try:
                headers = {"Content-Type": openapi.NDJSON, "Cache-Control": "no-store"}
                response = web.StreamResponse(headers=headers)
                await response.prepare(request)
                await self._pump(response, connection, lines)
            finally:
                self._streams[user] -= 1
                self._streams += Counter()  # without users that have none left
                if connection.dropped:
                    reason = f"a stream was ended: {connection.dropped}"
                    self._publish(request, "control.dropped", Severity.INFO, reason, peer=peer)
        return response

    def _crowded(self, user: int | None) -> str:
        """Return why ``user`` gets no further stream; empty where it does."""
        own, every = self._streams[user], self._streams.total()
        if every >= self._most_streams:
            return f"{every} streams are open, as many as there may be"
        if own >= self._most_per_user:
            return f"{own} streams of user {user} are open, as many as one user may have"
        return ""

    async def _pump(self, response: web.StreamResponse, connection: Connection, lines: Stream) -> None:
        """Write ``lines`` until they end or the client is gone, and heartbeats while there is none."""
        quiet = True
        async with anyio.create_task_group() as group:

            async def write(line: Document) -> None:
                nonlocal quiet
                quiet = False
                try:
                    await response.write(to_json(line) + b"\n")
                except ConnectionError:
                    group.cancel_scope.cancel()

            async def leave() -> None:
                await connection.gone.wait()
                group.cancel_scope.cancel()

            async def beat() -> None:
                # The first one goes out at once: the client learns that it is connected.
                nonlocal quiet
                while True:
                    if quiet:
                        await write(Heartbeat(heartbeat=self._publisher.clock.time()))
                    quiet = True
                    await anyio.sleep(self._heartbeat)

            group.start_soon(leave)
            group.start_soon(beat)
            async for line in lines:
                await write(line)
            group.cancel_scope.cancel()

    def _publish(
        self,
        request: web.Request,
        kind: str,
        severity: Severity,
        reason: str,
        *,
        peer: Peer | None = None,
        **evidence: Scalar,
    ) -> None:
        transport = request.transport
        connection = transport.get_protocol() if transport else None
        peer = connection.peer if isinstance(connection, Connection) else peer
        who: dict[str, Scalar] = {"uid": peer.uid, "pid": peer.pid} if peer else {}
        line = _printable(f"{request.method} {request.path_qs}")
        self._publisher.event(
            kind, reason, about=_route_of(request), severity=severity, **who, request=line, **evidence
        )


async def user_of(peer: Peer | None) -> str:
    """Return the user of ``peer`` by name and number, as ``alice (uid 1000)``, or by number alone.

    User databases may be on the network, so a thread reads them, and not for long.
    """
    if peer is None:
        return "somebody unknown"
    name = ""
    with anyio.move_on_after(_NAMED_WITHIN), suppress(KeyError, OSError):
        found = await anyio.to_thread.run_sync(pwd.getpwuid, peer.uid, abandon_on_cancel=True)
        name = found.pw_name
    return f"{_printable(name)} (uid {peer.uid})" if name else f"uid {peer.uid}"


def _route_of(request: web.Request) -> str:
    """Return method and path as the table has them: a bounded number of names."""
    resource = request.match_info.route.resource
    return f"{request.method} {resource.canonical}" if resource else "a request for nothing that there is"


def _printable(text: str) -> str:
    """Return ``text`` such that every sink can store it: a client may send any bytes as a path."""
    return text[:_LONGEST].encode("ascii", "backslashreplace").decode()


def _understood(kind: type[_Request], given: object, part: str) -> _Request:
    """Return ``given`` as ``kind``; raises :class:`Invalid` that names each field that is wrong."""
    try:
        return parse(kind, given)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, each['loc'])) or part}: {_WORDS.get(each['type'], each['msg'])}"
            for each in error.errors(include_url=False, include_input=False)
        )
        remedy = f"GET {openapi.PATH} describes what is accepted"
        raise Invalid("understand", f"the request's {part}", reason=wrong, remedy=remedy) from None


def _query(request: web.Request) -> dict[str, str]:
    twice = sorted(name for name in set(request.query) if len(request.query.getall(name)) > 1)
    if twice:
        raise Invalid("understand", "the request's query", reason=f"{', '.join(twice)}: given more than once")
    return dict(request.query)


async def _json(request: web.Request) -> object:
    body = await request.read()
    try:
        return json.loads(body) if body else {}
    except (ValueError, RecursionError) as error:
        raise Invalid("understand", "the request's body", reason=f"it is no JSON: {error}") from None
