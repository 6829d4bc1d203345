"""The engine's page over HTTP: bounded in time and size, and never an error."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from aiidpd.engines.figures import EngineFigures, NotKnown
from aiidpd.engines.page import EnginePage
from aiidpd.kernel.errors import Misconfigured
from tests.fakes.engine_pages import vllm
from tests.fakes.inference import Cut, Forever, Hang, InferenceServer, Send
from tests.fakes.llama import free_port


@pytest.fixture
async def server() -> AsyncIterator[InferenceServer]:
    async with InferenceServer() as running:
        yield running


async def look(server: InferenceServer, within: float = 20.0, **more: str) -> EngineFigures | NotKnown:
    page = EnginePage("local", f"{server.url}/v1", timeout=within, **more)
    try:
        return await page.read()
    finally:
        await page.aclose()


async def test_figures_are_read_beside_v1_with_the_key(server: InferenceServer) -> None:
    server.page = web.Response(text=vllm())
    found = await look(server, api_key=" secret ")
    assert isinstance(found, EngineFigures)
    assert found.requests_running == 2
    (headers,) = server.pages
    assert headers["Authorization"] == "Bearer secret"
    assert headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(
    ("status", "lasting"), [(404, True), (401, True), (501, True), (302, True), (503, False), (429, False)]
)
async def test_another_status(server: InferenceServer, status: int, lasting: bool) -> None:
    headers = {"Location": "/v1/chat/completions"} if status == 302 else {}
    server.page = web.Response(status=status, text=vllm(), headers=headers)
    found = await look(server)
    assert isinstance(found, NotKnown)
    assert found.lasting == lasting
    assert f"answers {status}" in found.reason
    assert ("--metrics" in found.reason) == (status == 501)


async def test_a_server_without_the_page_is_left_alone(server: InferenceServer) -> None:
    found = await look(server)
    assert isinstance(found, NotKnown)
    assert found.lasting


async def test_a_page_that_hangs_ends_in_its_time(server: InferenceServer) -> None:
    for steps in ([Hang()], [Send(vllm().encode()), Hang()], [Forever(b"# drip\n", 0.01)]):
        server.page_steps = steps
        started = time.monotonic()
        found = await look(server, within=0.2)
        assert isinstance(found, NotKnown)
        assert not found.lasting
        assert "within 0.2 s" in found.reason
        assert time.monotonic() - started < 10


async def test_a_page_without_end_is_left_at_its_size(server: InferenceServer) -> None:
    server.page_steps = [Forever(b"# flood\n" * 100_000, 0.0)]
    found = await look(server)
    assert isinstance(found, NotKnown)
    assert found.lasting
    assert "longer than 8 MiB" in found.reason


async def test_a_page_that_is_cut_is_not_believed(server: InferenceServer) -> None:
    server.page_steps = [Send(vllm().encode()), Cut()]
    found = await look(server)
    assert isinstance(found, NotKnown)
    assert not found.lasting


async def test_compression_that_nobody_asked_for(server: InferenceServer) -> None:
    server.page = web.Response(body=b"\x1f\x8b", headers={"Content-Encoding": "gzip"})
    found = await look(server)
    assert isinstance(found, NotKnown)
    assert "compressed" in found.reason


async def test_nobody_listens() -> None:
    page = EnginePage("local", f"http://127.0.0.1:{free_port()}")
    found = await page.read()
    await page.aclose()
    assert found == NotKnown(f"no page from {page._url}: connection refused", lasting=False)


@pytest.mark.parametrize(("url", "key"), [("ftp://h", None), ("http://u:p@h", None), ("http://h", "a\nb")])
def test_what_cannot_be_used_is_said_at_once(url: str, key: str | None) -> None:
    with pytest.raises(Misconfigured):
        EnginePage("local", url, api_key=key)
