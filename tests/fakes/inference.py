"""A scripted inference server on loopback TCP: it sends what a script says, when it says so.

The server notes the monotonic time just before each text goes out. It runs on the machine's clock in
the process of the test, so that "no client saw it earlier" is exact, whatever the machine's load.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Wait:
    """Send nothing for so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Send:
    """Write these bytes at once. ``text`` says that they carry a part of the answer."""

    data: bytes
    text: bool = False


@dataclass(frozen=True)
class Cut:
    """Drop the connection without a proper end."""


@dataclass(frozen=True)
class Forever:
    """Write these bytes again and again, ``every`` so many seconds, until the client goes."""

    data: bytes
    every: float


@dataclass(frozen=True)
class Hang:
    """Say nothing more and keep the connection until the client goes."""


Step = Wait | Send | Cut | Forever | Hang


def event(document: Any) -> bytes:
    return f"data: {json.dumps(document)}\n\n".encode()


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    return event({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more})


def role() -> Send:
    return Send(chunk({"role": "assistant", "content": None}))


def text(*pieces: str, field: str = "content") -> Send:
    """One write that carries ``pieces``, a chunk each."""
    return Send(b"".join(chunk({field: piece}) for piece in pieces), text=True)


def finish(reason: str = "length") -> Send:
    return Send(chunk({}, reason))


def usage(prompt: int, output: int, cached: int | None = None, **more: Any) -> Send:
    counts: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": output}
    if cached is not None:
        counts["prompt_tokens_details"] = {"cached_tokens": cached}
    return Send(event({"choices": [], "usage": counts, **more}))


def steady(tokens: int, *, first: float, each: float, ending: Sequence[Step] | None = None) -> list[Step]:
    """A proper answer: ``first`` seconds to the first token, ``each`` between tokens."""
    steps: list[Step] = [role(), Wait(first), text("tok ")]
    for _ in range(tokens - 1):
        steps += [Wait(each), text("tok ")]
    return [*steps, *(ending if ending is not None else [finish(), usage(100, tokens, 0), Send(DONE)])]


@dataclass
class InferenceServer:
    """Use it with ``async with``; ``steps`` and ``status`` may be changed between requests."""

    steps: Sequence[Step] = ()
    status: int = 200
    body: bytes = b""
    answer_headers: dict[str, str] = field(default_factory=dict)  # of an answer that is not 200
    refused: str = ""  # a field that makes a request a bad one
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "text/event-stream"})
    before_headers: float = 0.0
    url: str = ""
    sent: list[float] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    request_headers: list[dict[str, str]] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    busy: int = 0
    most_busy: int = 0
    models: list[dict[str, Any]] | None = None  # what GET /v1/models lists; None: there is no such page
    models_status: int = 200  # of that page
    reply: str | None = None  # the text that answers a request without a stream
    page: web.Response | None = None  # what GET /metrics answers; None: there is no such page
    page_steps: Sequence[Step] = ()  # in its place, a page that is played
    pages: list[dict[str, str]] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        app = web.Application()
        for path in ("/v1/chat/completions", "/v1/completions", "/completion"):
            app.router.add_post(path, self._answer)
        app.router.add_get("/metrics", self._show)
        app.router.add_get("/v1/models", self._list)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        try:
            asked = await request.json()
            self.requests.append(asked)
            self.paths.append(request.path)
            self.request_headers.append(dict(request.headers))
            await asyncio.sleep(self.before_headers)
            if self.refused and self.refused in asked:
                return web.Response(status=400, text=f"Unrecognized request argument: {self.refused}")
            if self.status != 200:
                return web.Response(status=self.status, body=self.body, headers=self.answer_headers)
            if self.reply is not None and not asked.get("stream"):
                return web.json_response({"choices": [{"message": {"content": self.reply}}]})
            response = web.StreamResponse(headers=self.headers)
            await response.prepare(request)
            with contextlib.suppress(ConnectionResetError):
                await self._play(request, response, self.steps)
            return response
        finally:
            self.busy -= 1

    async def _list(self, _request: web.Request) -> web.StreamResponse:
        if self.models is None:
            raise web.HTTPNotFound
        if self.models_status != 200:
            return web.Response(status=self.models_status)
        return web.json_response({"object": "list", "data": self.models})

    async def _show(self, request: web.Request) -> web.StreamResponse:
        self.pages.append(dict(request.headers))
        if self.page_steps:
            response = web.StreamResponse()
            await response.prepare(request)
            with contextlib.suppress(ConnectionResetError):
                await self._play(request, response, self.page_steps)
            return response
        if self.page is None:
            raise web.HTTPNotFound
        page = self.page
        return web.Response(status=page.status, body=page.body, headers=page.headers)

    async def _play(self, request: web.Request, response: web.StreamResponse, steps: Sequence[Step]) -> None:
        try:
            for step in steps:
                match step:
                    case Wait(seconds):
                        await asyncio.sleep(seconds)
                    case Send(data, is_text):
                        if is_text:
                            self.sent.append(time.monotonic())
                        await response.write(data)
                    case Cut():
                        assert request.transport is not None
                        request.transport.abort()
                        return
                    case Forever(data, every):
                        while True:
                            await response.write(data)
                            await asyncio.sleep(every)
                    case Hang():
                        await asyncio.Event().wait()
        except (ConnectionResetError, asyncio.CancelledError):
            self.left.set()
            raise
