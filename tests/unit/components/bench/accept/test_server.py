"""Descriptions and answers of real servers, and of bad ones."""

from __future__ import annotations

from typing import Any

import anyio.to_thread
import pytest
from aiohttp import web

from aiidpd.components.bench.accept.server import Described, RequestFailedError, describe, exchange
from aiidpd.engines.faults import Fault
from aiidpd.kernel.errors import Misconfigured
from tests.fakes.inference import InferenceServer
from tests.ports import free_port
from tests.waiting import PATIENCE

LLAMA = {"id": "tiny", "owned_by": "llamacpp", "meta": {"size": 2e9, "n_params": 3e9}}


async def described(server: InferenceServer, model: str = "") -> Described:
    return await anyio.to_thread.run_sync(describe, server.url, model, "key", PATIENCE)


async def failed(url: str, path: str = "/v1/models") -> RequestFailedError:
    with pytest.raises(RequestFailedError) as caught:
        await anyio.to_thread.run_sync(exchange, url, path, "", PATIENCE)
    return caught.value


async def test_the_only_model_is_requested_with_its_engine_and_its_size():
    async with InferenceServer(models=[LLAMA]) as server:
        assert await described(server) == Described("tiny", "llama.cpp", 2e9, 3e9)


async def test_several_models_are_named_where_none_is_requested():
    async with InferenceServer(models=[LLAMA, {"id": "b", "owned_by": "vllm"}]) as server:
        with pytest.raises(Misconfigured, match="serves 2 models: tiny, b; name one by --model"):
            await described(server)
        assert await described(server, "b") == Described("b", "vllm")


async def test_a_server_without_a_list_is_taken_at_its_word():
    async with InferenceServer() as server:
        assert await described(server, "m") == Described("m")


@pytest.mark.parametrize("meta", [None, 3, {"size": True}, {"size": -1}, {"size": "2e9"}, {"size": 1e30}])
async def test_a_size_that_can_t_be_is_none(meta: Any):
    async with InferenceServer(models=[{"id": "m", "meta": meta}]) as server:
        assert await described(server) == Described("m")


async def test_failures_have_labels():
    assert (await failed(f"http://127.0.0.1:{free_port()}")).fault is Fault.UNREACHABLE
    async with InferenceServer() as server:
        missing = await failed(server.url)
        assert (missing.fault, str(missing)) == (Fault.NOT_FOUND, "it answers 404: 404: Not Found")
        server.page = web.Response(text="<html>")
        assert (await failed(server.url, "/metrics")).fault is Fault.MALFORMED
        server.page = web.Response(text="x" * (5 << 20))
        assert (await failed(server.url, "/metrics")).fault is Fault.TOO_LONG
        server.page = web.Response(status=302, headers={"Location": "/v1/models"})
        assert (await failed(server.url, "/metrics")).fault is Fault.REDIRECTED
