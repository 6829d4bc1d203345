from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from aiidpd.components.audit.facts import Listener
from aiidpd.components.audit.host import listeners
from aiidpd.components.audit.host.listeners import AGAIN, UNKNOWN, Listeners, in_containers, keyless, probe
from aiidpd.components.audit.host.sockets import Socket
from tests.fakes.clock import FakeClock
from tests.fakes.engine_server import EngineServer

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.mark.parametrize("kind", ["vllm", "llama.cpp", "sglang", "ollama", "tgi", "llama-swap"])
async def test_each_engine_is_found_and_used_by_nothing(kind: str):
    async with EngineServer(kind) as engine:
        found = await probe(Socket("127.0.0.1", engine.port))
        assert found is not None
        assert found.engine == kind
        assert found.keyless is True
        assert engine.uses == engine.wakes == engine.loads == 0
        assert {method for method, _ in engine.requests} == {"GET"}


async def test_an_engine_whose_model_sleeps_is_not_woken():
    async with EngineServer("llama.cpp") as engine:
        engine.sleep()
        assert await probe(Socket("127.0.0.1", engine.port)) is not None
        assert engine.wakes == engine.uses == 0


@asynccontextmanager
async def guarded(*, beyond: bool, listed: bool = True) -> AsyncIterator[int]:
    """Serve as vLLM with a key does: its check stands before /v1 alone, and so does not see /invocations."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith("/v1") and "Authorization" not in request.headers:
            return web.json_response({"error": "Unauthorized"}, status=401)
        return await handler(request)

    async def generate(_: web.Request) -> web.Response:
        raise AssertionError("nothing may be generated")

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(text="vllm:num_requests_running 0\n" if listed else "x 0\n")

    app = web.Application(middlewares=[check])
    app.router.add_post("/v1/chat/completions", generate)
    app.router.add_get("/metrics", metrics)
    if beyond:
        app.router.add_post("/invocations", generate)
    async with served(app) as port:
        yield port


@asynccontextmanager
async def served(app: web.Application) -> AsyncIterator[int]:
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(("beyond", "paths"), [(True, ("/invocations",)), (False, ())])
async def test_a_path_that_generates_without_the_key_is_found_without_generating(
    beyond: bool, paths: tuple[str, ...]
):
    async with guarded(beyond=beyond) as port:
        found = await probe(Socket("0.0.0.0", port))
    assert found == Listener("0.0.0.0", port, "vllm", keyless=False, open_paths=paths)


async def test_a_server_that_is_no_engine_is_none():
    async with guarded(beyond=True, listed=False) as port:
        assert await probe(Socket("127.0.0.1", port)) is None


async def test_a_server_of_unknown_make_with_openai_s_api():
    async def models(_: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "m", "owned_by": "somebody"}]})

    app = web.Application()
    app.router.add_get("/v1/models", models)
    async with served(app) as port:
        found = await probe(Socket("127.0.0.1", port))
    assert found is not None
    assert (found.engine, found.keyless) == (UNKNOWN, True)


@pytest.mark.parametrize(
    "words", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\n\r\n" + b"{" * 100, b"\xff" * 64]
)
async def test_what_speaks_no_http_or_says_nothing_is_left_alone_in_time(
    words: bytes, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(listeners, "_SECONDS", 0.3)

    open_: list[asyncio.StreamWriter] = []

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(words)
        open_.append(writer)
        if words:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        assert await probe(Socket("127.0.0.1", server.sockets[0].getsockname()[1])) is None
        for writer in open_:
            writer.close()
            await asyncio.sleep(0)


async def test_a_socket_is_asked_once_an_hour_and_when_another_one_has_its_port():
    clock = FakeClock()
    async with EngineServer("vllm") as engine:
        known = Listeners(clock)
        sockets = [Socket("127.0.0.1", engine.port, 1), Socket("127.0.0.1", 22, 2)]
        assert len(await known.find(sockets, ())) == 1
        asked = len(engine.requests)
        assert len(await known.find(sockets, ())) == 1
        assert len(engine.requests) == asked
        assert await known.find(sockets, {engine.port}) == ()
        assert len(await known.find([Socket("127.0.0.1", engine.port, 3)], ())) == 1
        assert len(engine.requests) == 2 * asked
        await clock.advance(AGAIN)
        await known.find([Socket("127.0.0.1", engine.port, 3)], ())
        assert len(engine.requests) == 3 * asked


@pytest.mark.parametrize(
    ("status", "expected"),
    [(401, False), (403, False), (404, True), (405, True), (422, True), (200, True), (0, None), (503, None)],
)
def test_a_key_is_needed_by_the_status_of_a_get(status: int, expected: Any):
    assert keyless(status) is expected


def test_a_listener_is_named_by_the_container_that_publishes_it():
    (found,) = in_containers([Listener("0.0.0.0", 8000, "vllm")], {8000: "chat"})
    assert found.container == "chat"
