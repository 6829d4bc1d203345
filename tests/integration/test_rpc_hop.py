"""A hop of llama.cpp's RPC, with its real programs: what it adds to a token is what physics says of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import pytest

from aiidpd.components.bench.schedule import request
from aiidpd.components.bench.settings import BenchSettings
from aiidpd.components.bench.stats import measure
from aiidpd.engines.openai import OpenAITarget
from aiidpd.engines.target import ProbeRequest
from aiidpd.kernel.errors import Unavailable
from aiidpd.physics.network import SOFTWARE_SECONDS, Link, hop
from tests.fakes import llama, llama_rpc
from tests.fakes.slow_wire import slow_wire
from tests.tables import made
from tests.waiting import PATIENCE

pytestmark = pytest.mark.real("llama")

SETTINGS = made(BenchSettings, max_tokens=64, first_token_timeout=PATIENCE, timeout=2 * PATIENCE)
WIDTH = 64
ATTEMPTS = 20
LOOPBACK = 1e9  # bytes a second that it gives at least
ONE_WAY = 0.003


@pytest.fixture(scope="module", autouse=True)
def _programs(missing: Callable[[str, str], None]) -> None:
    if llama_rpc.find_rpc_server() is None:
        missing("ggml-rpc-server", llama_rpc.HOW_TO_GET)


@contextlib.contextmanager
def behind_a_hop(folder: Path, one_way: float) -> Iterator[tuple[llama.LlamaServer, llama_rpc.RpcServer]]:
    """Serve a model all of whose layers are behind a wire of ``one_way`` seconds."""
    with llama_rpc.rpc_server() as rpc, slow_wire(rpc.port, one_way) as port:
        options = ("--rpc", f"127.0.0.1:{port}", "--n-gpu-layers", "99")
        with llama.running(folder, *options, width=WIDTH) as server:
            yield server, rpc


async def pace(url: str, attempt: int) -> float | None:
    """Return the seconds of a token by the engine's own count, which our clock confirms, if it does."""
    target = OpenAITarget("llama", url, "tiny")
    sample = measure(await target.probe(request(SETTINGS, f"{attempt:02}777777")))
    await target.aclose()
    return sample.time_per_output_token_seconds


async def test_a_token_takes_a_round_trip_longer_and_no_more_than_is_expected(tmp_path: Path):
    with llama.running(tmp_path, width=WIDTH) as server:
        alone = [await pace(server.url, attempt) for attempt in range(ATTEMPTS)]
    near = min(each for each in alone if each is not None)
    estimate = hop(Link("wire", LOOPBACK, ONE_WAY, SOFTWARE_SECONDS, "tests/fakes/slow_wire.py"), WIDTH)
    added = []
    with behind_a_hop(tmp_path, ONE_WAY) as (server, _):
        for attempt in range(ATTEMPTS):
            found = await pace(server.url, attempt)
            if found is not None:
                assert found > 2 * ONE_WAY, "no token is faster than its way there and back"
                added.append(found - near)
            if added and min(added) < 1.5 * estimate.expected_seconds:
                break  # else the machine held up the one or the other of five programs
    assert min(added) > 0.9 * estimate.least_seconds
    assert min(added) < 1.5 * estimate.expected_seconds  # a second round trip would be beyond it


async def test_another_machine_that_dies_amid_an_answer_is_a_labelled_failure(tmp_path: Path):
    failures: list[Unavailable] = []
    with behind_a_hop(tmp_path, ONE_WAY) as (server, rpc):
        target = OpenAITarget("llama", server.url, "tiny")

        async def probe() -> None:
            try:
                await target.probe(ProbeRequest("tell", 2000, PATIENCE, 2 * PATIENCE))  # 12 s at least
            except Unavailable as error:
                failures.append(error)

        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                group.start_soon(probe)
                await anyio.sleep(0.5)
                await anyio.to_thread.run_sync(rpc.kill)
        await target.aclose()
    assert len(failures) == 1
    assert str(failures[0])
