"""Calls of an engine that answers what a real one does only now and then."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import pytest
from aiohttp import web

from aiidpd.components.containers.actions import Refused
from aiidpd.components.containers.docker.actions import DockerActions
from aiidpd.components.containers.docker.client import DockerRuntime

IDENTITY = "5d" * 32
RACED = f"Cannot restart container {IDENTITY}: No such container: {IDENTITY}"
Engine: TypeAlias = Callable[[bool], AbstractAsyncContextManager[Path]]


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """Return an engine that denies each act, and may have the container all the same."""

    @asynccontextmanager
    async def engine(has_it: bool) -> AsyncIterator[Path]:
        async def answer(request: web.Request) -> web.Response:
            if request.path.endswith("/version"):
                return web.json_response({"Version": "20.10", "ApiVersion": "1.41"})
            if request.method == "GET" and has_it:
                return web.json_response({"Id": IDENTITY})
            return web.json_response({"message": RACED}, status=404)

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        socket = tmp_path / "engine.sock"
        await web.UnixSite(runner, str(socket)).start()
        yield socket
        await runner.cleanup()

    return engine


async def test_a_container_that_can_be_described_is_not_taken_for_gone(engine: Engine) -> None:
    async with engine(True) as socket:
        actions, runtime = DockerActions(socket), DockerRuntime(socket)
        with pytest.raises(Refused, match=f"it has the container, and refuses: {RACED}"):
            await actions.restart(IDENTITY, 1)
        with pytest.raises(Refused, match="it has the container"):
            await runtime.stop(IDENTITY, 1)
        await actions.aclose()
        await runtime.aclose()


async def test_one_that_is_gone_is_gone(engine: Engine) -> None:
    async with engine(False) as socket:
        actions, runtime = DockerActions(socket), DockerRuntime(socket)
        assert not await actions.restart(IDENTITY, 1)
        assert not await runtime.stop(IDENTITY, 1)
        await actions.aclose()
        await runtime.aclose()
