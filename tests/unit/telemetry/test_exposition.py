from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from aiohttp import ClientSession, UnixConnector, web
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.daemon.metrics import BuildCollector
from aiidpd.telemetry.exposition import metrics_app, render
from aiidpd.telemetry.registry import build_registry

REGISTRY = build_registry({"build": BuildCollector("1.2.3")})
PLAIN = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", PLAIN),
        ("*/*", PLAIN),
        ("text/plain", PLAIN),
        ("text/plain; version=1.0.0; escaping=allow-utf-8", PLAIN),
        (PROMETHEUS, OPENMETRICS),
        ("Application/OpenMetrics-Text", OPENMETRICS),
        ("application/openmetrics-text; version=9.nine.9; escaping=\x00", OPENMETRICS),
    ],
)
def test_the_accept_header_chooses_the_format(accept: str, content_type: str) -> None:
    given_type, page = render(REGISTRY, accept)
    assert given_type.startswith(content_type)
    assert page.endswith(b"# EOF\n") == (content_type == OPENMETRICS)
    assert b'aiidpd_build_info{python="' in page


@given(st.text())
def test_no_accept_header_breaks_a_scrape(accept: str) -> None:
    assert render(REGISTRY, accept)[0] == PLAIN


async def test_the_application_answers_as_http_asks() -> None:
    async with TestClient(TestServer(metrics_app(REGISTRY))) as client:
        answer = await client.get("/metrics", headers={"Accept": PROMETHEUS, "Accept-Encoding": "gzip"})
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith(OPENMETRICS)
        assert "Content-Encoding" not in answer.headers
        assert (await answer.read()).endswith(b"# EOF\n")
        answer = await client.get("/")
        assert answer.status == 200
        assert b'<a href="/metrics">' in await answer.read()
        assert (await client.get("/other")).status == 404
        assert (await client.post("/metrics", data=b"x")).status == 405
        answer = await client.head("/metrics")
        assert (answer.status, await answer.read()) == (200, b"")


async def test_scrapes_at_once_each_get_a_whole_page() -> None:
    pages: list[bytes] = []
    async with TestClient(TestServer(metrics_app(REGISTRY))) as client:

        async def scrape() -> None:
            pages.append(await (await client.get("/metrics")).read())

        async with anyio.create_task_group() as group:
            for _ in range(50):
                group.start_soon(scrape)
    assert len(pages) == 50
    assert set(pages) == {render(REGISTRY)[1]}


@pytest.mark.parametrize("host", ["evil.example", "evil.example:9753", "localhost.evil.example", ""])
async def test_a_request_over_tcp_for_another_host_is_refused(host: str) -> None:
    async with TestClient(TestServer(metrics_app(REGISTRY))) as client:
        for path in ("/metrics", "/", "/other"):
            assert (await client.get(path, headers={"Host": host})).status == 421


async def test_a_configured_host_is_served() -> None:
    async with TestClient(TestServer(metrics_app(REGISTRY, {"gpu1.example.org"}))) as client:
        assert (await client.get("/metrics", headers={"Host": "GPU1.example.org:443"})).status == 200


async def test_a_unix_socket_is_reached_under_any_host(tmp_path: Path) -> None:
    runner = web.AppRunner(metrics_app(REGISTRY))
    await runner.setup()
    path = tmp_path / "metrics.sock"
    await web.UnixSite(runner, path).start()
    try:
        async with ClientSession(connector=UnixConnector(str(path))) as client:
            answer = await client.get("http://anything.example/metrics")
            assert answer.status == 200
    finally:
        await runner.cleanup()
