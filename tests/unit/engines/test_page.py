"""A page over HTTP: bounded in size, waited for however long it takes, and never an error."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace

import anyio
import pytest
from aiohttp import web

from aiidpd.engines.figures import PollLoad
from aiidpd.engines.page import MOST_DOCUMENT, PageReader
from aiidpd.engines.profile import Kind, PageRequest, Reply
from aiidpd.kernel.errors import Misconfigured
from tests.fakes.engine_pages import vllm
from tests.fakes.engine_server import EngineServer
from tests.fakes.inference import Cut, Forever, Hang, InferenceServer, Send
from tests.fakes.llama import free_port
from tests.waiting import eventually

FIGURES = PageRequest("/metrics", Kind.SAMPLES)
DOCUMENT = PageRequest("/metrics")  # the one page that the scripted server plays


@pytest.fixture
async def server() -> AsyncIterator[InferenceServer]:
    async with InferenceServer() as running:
        yield running


async def get(
    server: InferenceServer, request: PageRequest = FIGURES, load: PollLoad | None = None, **more: str
) -> Reply:
    pages = PageReader("local", f"{server.url}/v1", load=load, **more)
    try:
        return await pages.get(request)
    finally:
        await pages.aclose()


async def test_a_page_is_read_beside_v1_with_the_key(server: InferenceServer) -> None:
    server.page = web.Response(text=vllm())
    load = PollLoad()
    found = await get(server, load=load, api_key=" secret ")
    assert found.good
    assert found.samples is not None
    assert len(found.samples.samples) == 8
    (headers,) = server.pages
    assert headers["Authorization"] == "Bearer secret"
    assert headers["Accept-Encoding"] == "identity"
    assert (load.requests, load.bytes, load.pending_since) == (1, len(vllm()), None)
    assert load.seconds > 0


async def test_a_document(server: InferenceServer) -> None:
    server.page = web.Response(
        text='{"a": [1]}', content_type="text/html", headers={"Server": "uvicorn"}
    )  # what type it calls itself is no matter
    found = await get(server, DOCUMENT)
    assert replace(found, server="") == Reply(200, document={"a": [1]})
    assert found.server == "uvicorn"


@pytest.mark.parametrize(
    ("status", "absent"), [(404, True), (401, True), (501, True), (302, True), (503, False), (429, False)]
)
async def test_another_status_and_no_redirect_is_followed(
    server: InferenceServer, status: int, absent: bool
) -> None:
    headers = {"Location": "/v1/chat/completions"} if status == 302 else {}
    server.page = web.Response(status=status, text=vllm(), headers=headers)
    found = await get(server)
    assert (found.good, found.absent) == (False, absent)
    assert f"answers {status}" in found.reason
    assert server.requests == []


@pytest.mark.parametrize(
    "page",
    ["", "<html>", "{", "[" * 100_000, "9" * 10_000, '{"a": ' * 50_000, "0x1f"],
)
async def test_what_is_no_json(server: InferenceServer, page: str) -> None:
    server.page = web.Response(text=page)
    found = await get(server, DOCUMENT)
    assert (found.good, found.absent) == (False, True)
    assert "is no JSON" in found.reason


async def test_a_page_that_waits_is_waited_for_and_shows_as_pending() -> None:
    load, replies = PollLoad(), list[Reply]()
    async with EngineServer("llama.cpp") as engine:
        engine.block()
        pages = PageReader("local", engine.url, load=load)

        async def read() -> None:
            replies.append(await pages.get(FIGURES))

        async def arrived() -> bool:
            return bool(engine.requests)

        async with anyio.create_task_group() as group:
            group.start_soon(read)
            await eventually(arrived, bool)
            assert load.pending_since is not None
            engine.idle()
        assert replies[0].good
        assert load.pending_since is None
        await pages.aclose()


async def test_a_hundred_megabytes_in_one_line_are_left_at_the_bound(server: InferenceServer) -> None:
    flood = [Forever(b"x" * 1_000_000, 0.0)]
    for ask in (FIGURES, DOCUMENT):
        server.page_steps = flood
        load = PollLoad()
        found = await get(server, ask, load)
        assert (found.good, found.absent) == (False, True)
        assert load.bytes < 2 * MOST_DOCUMENT + 2**20


async def test_ten_thousand_series_and_a_page_without_end(server: InferenceServer) -> None:
    other = "".join(f'python_gc_objects_total{{generation="{place}"}} 1\n' for place in range(10_000))
    server.page = web.Response(text=other + vllm())
    found = await get(server)
    assert found.samples is not None
    assert len(found.samples.samples) == 8
    wanted = "".join(f'vllm:num_requests_running{{model="{place}"}} 1\n' for place in range(10_000))
    server.page = web.Response(text=wanted)
    assert "too long or too many" in (await get(server)).reason
    server.page_steps = [Forever(b"# flood\n" * 100_000, 0.0)]
    assert "longer than 8 MiB" in (await get(server)).reason


async def test_a_page_that_is_cut_is_not_believed(server: InferenceServer) -> None:
    server.page_steps = [Send(vllm().encode()), Cut()]
    found = await get(server)
    assert (found.status, found.good, found.absent) == (0, False, False)


async def test_compression_that_nobody_asked_for(server: InferenceServer) -> None:
    server.page = web.Response(body=b"\x1f\x8b", headers={"Content-Encoding": "gzip"})
    found = await get(server)
    assert (found.good, found.absent) == (False, True)
    assert "compressed" in found.reason


async def test_a_read_that_is_given_up_leaves_nothing_pending(server: InferenceServer) -> None:
    server.page_steps = [Send(json.dumps([1]).encode()[:1]), Hang()]
    load = PollLoad()
    pages = PageReader("local", server.url, load=load)
    with anyio.move_on_after(0.2):
        await pages.get(DOCUMENT)
    assert load.pending_since is None
    await pages.aclose()


async def test_nobody_listens() -> None:
    port = free_port()
    pages = PageReader("local", f"http://127.0.0.1:{port}")
    found = await pages.get(FIGURES)
    await pages.aclose()
    assert found == Reply(reason=f"no page from http://127.0.0.1:{port}/metrics: connection refused")


@pytest.mark.parametrize(("url", "key"), [("ftp://h", None), ("http://u:p@h", None), ("http://h", "a\nb")])
def test_what_cannot_be_used_is_said_at_once(url: str, key: str | None) -> None:
    with pytest.raises(Misconfigured):
        PageReader("local", url, api_key=key)
