"""The pull of an image, as an engine answers it: a line of JSON for each step, errors among them.

No registry is reachable where these tests run, so the engine is scripted.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from aiidpd.components.containers.docker.actions import DockerActions
from aiidpd.kernel.errors import Unavailable

STEPS = (
    {"status": "Pulling from library/llm", "id": "2"},
    {
        "status": "Downloading",
        "progressDetail": {"current": 5, "total": 9},
        "progress": "[==>  ] 5B/9B",
        "id": "ab",
    },
    {"status": "Status: Downloaded newer image for llm:2"},
)


@asynccontextmanager
async def engine(
    folder: Path, *lines: Mapping[str, object], status: int = 200
) -> AsyncIterator[tuple[DockerActions, list[dict[str, str]]]]:
    asked: list[dict[str, str]] = []

    async def create(request: web.Request) -> web.StreamResponse:
        asked.append(dict(request.query))
        if status != 200:
            return web.json_response({"message": "denied"}, status=status)
        response = web.StreamResponse()
        await response.prepare(request)
        for line in lines:
            await response.write(json.dumps(line).encode() + b"\r\n")
        return response

    async def image(_: web.Request) -> web.Response:
        return web.json_response({"Id": "sha256:2"})

    async def version(_: web.Request) -> web.Response:
        return web.json_response({"Version": "27.0", "ApiVersion": "1.43"})

    app = web.Application()
    app.router.add_post("/images/create", create)
    app.router.add_get("/images/{name:.*}/json", image)
    app.router.add_get("/{tail:.*}version", version)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, str(folder / "docker.sock")).start()
    actions = DockerActions(folder / "docker.sock")
    try:
        yield actions, asked
    finally:
        await actions.aclose()
        await runner.cleanup()


@pytest.mark.parametrize(
    ("reference", "asked"),
    [
        ("llm:2", {"fromImage": "llm", "tag": "2"}),
        ("llm", {"fromImage": "llm", "tag": "latest"}),
        ("registry:5000/team/llm", {"fromImage": "registry:5000/team/llm", "tag": "latest"}),
        ("registry:5000/team/llm:v1", {"fromImage": "registry:5000/team/llm", "tag": "v1"}),
        ("llm@sha256:ab", {"fromImage": "llm", "tag": "sha256:ab"}),
    ],
)
async def test_it_is_fetched_with_progress(tmp_path: Path, reference: str, asked: dict[str, str]) -> None:
    words: list[str] = []
    async with engine(tmp_path, *STEPS) as (actions, seen):
        found = await actions.pull(reference, words.append, container="llm")
    assert found == {"Id": "sha256:2"}
    assert seen == [asked]
    assert words[1] == "Downloading [==> ] 5B/9B"


async def test_an_error_among_the_steps_is_one(tmp_path: Path) -> None:
    error = {
        "error": "no matching manifest for linux/amd64",
        "errorDetail": {"message": "no matching manifest"},
    }
    async with engine(tmp_path, STEPS[0], error) as (actions, _):
        with pytest.raises(Unavailable, match="no matching manifest"):
            await actions.pull("llm:2", lambda _: None, container="llm")


@pytest.mark.parametrize("status", [404, 500])
async def test_a_refusal_is_an_error(tmp_path: Path, status: int) -> None:
    async with engine(tmp_path, status=status) as (actions, _):
        with pytest.raises(Unavailable, match="denied"):
            await actions.pull("llm:2", lambda _: None, container="llm")


async def test_nonsense_is_an_error(tmp_path: Path) -> None:
    async with engine(tmp_path, {"status": "a"}, ["b"]) as (actions, _):  # type: ignore[arg-type]
        with pytest.raises(Unavailable):
            await actions.pull("llm:2", lambda _: None, container="llm")
