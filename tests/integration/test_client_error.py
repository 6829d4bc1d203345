"""Error of the probe's clock, against a server that notes when it wrote each token.

The machine may hold up server or client at any time, so that each figure has several attempts.
"""

from __future__ import annotations

import statistics
import time
from urllib.parse import urlsplit

import anyio
import pytest

from aiidpd.components.bench.schedule import max_age
from aiidpd.components.bench.settings import BenchSettings
from aiidpd.components.bench.stats import DECODE, measure
from aiidpd.components.bench.view import BenchView
from aiidpd.components.bench.worker import BenchWorker
from aiidpd.engines.openai import OpenAITarget
from aiidpd.engines.stream import StreamRequest
from aiidpd.engines.streams import Streams
from aiidpd.engines.target import ProbeRequest, Timeline
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock import SystemClock
from aiidpd.kernel.jobs import JobBook, JobQueue
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.publisher import Publisher
from tests.fakes import tokens
from tests.fakes.shared_servers import shared_tokens
from tests.heartbeat import heartbeat
from tests.tables import made
from tests.waiting import PATIENCE, eventually

pytestmark = pytest.mark.real("gcc")

TOKENS = 32
ATTEMPTS = 20
CLOSE = 0.001  # seconds
ASKED = ProbeRequest("a nonce and a text", TOKENS, PATIENCE, 2 * PATIENCE)


server = shared_tokens()


async def probed(server: tokens.TokenServer, url: str) -> tuple[Timeline, tokens.Answer]:
    target = OpenAITarget("scripted", url, "any")
    timeline = await target.probe(ASKED)
    await target.aclose()

    async def noted() -> list[tokens.Answer]:  # after the last token, by a thread of the server
        return list(await anyio.to_thread.run_sync(server.answers))

    (truth,) = await eventually(noted, len)
    return timeline, truth


async def test_tokens_have_the_time_at_which_they_were_sent(server: tokens.TokenServer):
    url = server.url(first=0.05, gap=0.005, tokens=TOKENS)
    for _ in range(ATTEMPTS):
        timeline, truth = await probed(server, url)
        late = [chunk.at - sent for chunk, sent in zip(timeline.chunks, truth.sent, strict=True)]
        assert min(late) > -CLOSE
        sample = measure(timeline)
        errors = [
            abs(ours - theirs)
            for ours, theirs in (
                (sample.ttft_seconds, truth.sent[0] - truth.received),
                (sample.time_per_output_token_seconds, (truth.sent[-1] - truth.sent[0]) / (TOKENS - 1)),
            )
            if ours is not None
        ]
        if (
            len(errors) == 2
            and errors[0] < CLOSE
            and errors[1] < CLOSE / 10
            and statistics.median(late) < CLOSE
        ):
            break
    else:
        pytest.fail(f"never closer than that: TTFT and pace {errors}, a token {statistics.median(late)} s")
    assert sample.connect_seconds is not None


async def test_a_loop_that_others_hold_up_makes_no_token_late(server: tokens.TokenServer):
    """Each token comes while another task computes for longer than the bound."""
    url = server.url(first=0.1, gap=0.03, tokens=TOKENS)

    async def other() -> None:
        while True:
            time.sleep(0.01)  # noqa: ASYNC251 -- it holds the loop up
            await anyio.sleep(0.002)

    for _ in range(ATTEMPTS):
        async with anyio.create_task_group() as group:
            group.start_soon(other)
            timeline, truth = await probed(server, url)
            group.cancel_scope.cancel()
        assert timeline.delays[-1] > 0.005
        late = [chunk.at - sent for chunk, sent in zip(timeline.chunks, truth.sent, strict=True)]
        if statistics.median(late) < CLOSE:
            return
    pytest.fail(f"never closer than that: {statistics.median(late)} s")


async def test_eight_tokens_a_chunk_are_bounded_and_not_published(server: tokens.TokenServer):
    timeline, truth = await probed(server, server.url(first=0.05, gap=0.02, tokens=TOKENS, chunk=8))
    sample = measure(timeline)
    true = (truth.sent[-1] - truth.sent[0]) / (TOKENS - 8)
    assert sample.time_per_output_token_seconds is None
    assert any("not known" in each.reason for each in sample.withheld if each.figure == DECODE)
    least, most = sample.time_per_output_token_least_seconds, sample.time_per_output_token_most_seconds
    assert least is not None
    assert most is None or most > true - 2e-4
    assert least < true


async def test_an_engine_of_two_thousand_tokens_a_second_has_a_figure(server: tokens.TokenServer):
    """The server sends as many tokens as its script says; the worker asks until they take long enough."""
    clock, results = SystemClock(), []
    settings = made(BenchSettings, max_tokens=TOKENS, timeout=2 * PATIENCE)
    queue = JobQueue(JobBook(clock), "bench.run")
    latest: Latest[BenchView] = Latest(clock, max_age(settings))
    target = Growing(server)
    worker = BenchWorker(
        [target],
        settings,
        queue=queue,
        latest=latest,
        publish=Publisher(EventBus(), clock, "bench"),
        clock=clock,
        engines=lambda: None,  # nothing is measured but by request
    )
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run, heartbeat(clock))
        for _ in range(ATTEMPTS):
            job = queue.submit(endpoint="scripted")
            with anyio.fail_after(4 * PATIENCE):
                async for status in job.updates():
                    if status.state.final:
                        break
            results.append(job.status.result)
            if "scripted.output_tokens_per_second" in job.status.result:
                break
        group.cancel_scope.cancel()
    truth = (await anyio.to_thread.run_sync(server.answers))[-1]
    assert len(truth.sent) > 2 * TOKENS
    assert results[-1].get("scripted.output_tokens_per_second") == pytest.approx(
        (len(truth.sent) - 1) / (truth.sent[-1] - truth.sent[0]), rel=0.05
    ), results


class Growing:
    """An endpoint whose answers have as many tokens as are requested, 0.5 ms each."""

    name, model, simulated = "scripted", "any", False

    def __init__(self, server: tokens.TokenServer) -> None:
        self.url = server.url()
        self._server = server

    async def probe(self, request: ProbeRequest) -> Timeline:
        url = self._server.url(first=0.02, gap=0.0005, tokens=request.max_tokens)
        target = OpenAITarget(self.name, url, self.model)
        try:
            return await target.probe(request)
        finally:
            await target.aclose()

    async def aclose(self) -> None:
        """Nothing is open."""


async def test_many_streams_are_all_on_the_wire_and_each_token_has_its_time(server: tokens.TokenServer):
    """What is not marked as late is the time at which it was sent, however many streams there are."""
    parts = urlsplit(server.url(first=0.5, gap=0.05, tokens=TOKENS))
    head = f"POST {parts.path}/v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    asked = [StreamRequest(head.encode(), TOKENS)] * 128
    for _ in range(ATTEMPTS):
        loop = Streams(("127.0.0.1", server.port), asked)
        found = await anyio.to_thread.run_sync(loop.run, PATIENCE)
        truth = {each.port: each for each in await anyio.to_thread.run_sync(server.answers)}
        assert (found.on_wire, found.short) == (128, "")
        late = []
        for each in found.streams:
            assert each.timeline is not None, each.reason
            chunks = zip(each.timeline.chunks, truth[each.port].sent, strict=True)
            late += [chunk.at - sent for chunk, sent in chunks if not chunk.late]
        assert min(late) > -CLOSE
        if len(late) > 64 * TOKENS and statistics.quantiles(late, n=100)[94] < CLOSE:
            return
    pytest.fail(f"never closer than that: {len(late)} tokens, p95 {statistics.quantiles(late, n=100)[94]} s")
