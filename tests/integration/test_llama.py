"""The probe against a real llama.cpp server on a tiny model."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import pytest

from aiidpd.components.bench.schedule import max_age, request
from aiidpd.components.bench.settings import BenchSettings
from aiidpd.components.bench.stats import BenchSample, measure
from aiidpd.components.bench.view import BenchView
from aiidpd.components.bench.worker import BenchWorker
from aiidpd.engines import chat
from aiidpd.engines.answer import AnswerReader
from aiidpd.engines.openai import OpenAITarget
from aiidpd.engines.target import Chunk, ProbeRequest
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock import SystemClock
from aiidpd.kernel.errors import Unavailable
from aiidpd.kernel.jobs import Job, JobBook, JobQueue, JobState
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.task import Heartbeat, WorkerState, WorkerStatus
from tests.fakes import llama
from tests.fakes.shared_servers import shared_llama
from tests.tables import made
from tests.waiting import PATIENCE

pytestmark = pytest.mark.real("llama")

# One character of this vocabulary is one token: a prompt of about 1,400.
SETTINGS = made(BenchSettings, max_tokens=64, first_token_timeout=PATIENCE, timeout=2 * PATIENCE)


server = shared_llama(layers=8, width=256)
"""A server whose model (22 MB) takes about a millisecond a token: long enough to be timed."""


@pytest.fixture
async def target(server: llama.LlamaServer) -> AsyncIterator[OpenAITarget]:
    found = OpenAITarget("llama", server.url, "tiny")
    yield found
    await found.aclose()


AGREEMENT = 1e-4  # seconds a token, between our clock and the engine's


def steady(sample: BenchSample) -> bool:
    """Return whether engine and client had as much time as they wanted, as far as that can be seen."""
    theirs = sample.engine and sample.engine.time_between_tokens
    ours = sample.time_per_output_token_seconds
    return bool(sample.ttft_seconds and ours and theirs and abs(ours - theirs) < AGREEMENT)


async def test_its_figures_agree_with_the_engine_s_own(target: OpenAITarget):
    for attempt in range(20):
        sample = measure(await target.probe(request(SETTINGS, f"{attempt:02}111111")))
        if steady(sample):
            break  # else the machine held up the one or the other meanwhile
    assert sample.engine is not None
    assert sample.engine.prompt_seconds is not None
    theirs = sample.engine.time_between_tokens
    ours = sample.time_per_output_token_seconds
    assert theirs is not None
    assert ours is not None, sample.withheld
    assert sample.ttft_seconds is not None
    print(  # noqa: T201 -- the figure is of interest also where the test passes: pytest -s shows it
        f"ours {ours * 1e3:.3f} ms a token, the engine's {theirs * 1e3:.3f} ms, ratio {ours / theirs:.3f}; "
        f"first token {sample.ttft_seconds * 1e3:.1f} ms, the engine's prompt "
        f"{sample.engine.prompt_seconds * 1e3:.1f} ms"
    )
    assert abs(ours - theirs) < AGREEMENT
    # The first token cannot be here before the engine has read the prompt.
    assert sample.ttft_seconds >= sample.engine.prompt_seconds
    assert sample.output_tokens == sample.engine.output_tokens == SETTINGS.max_tokens
    assert sample.finish == "length"
    assert sample.prompt_tokens is not None
    assert sample.cached_tokens is not None
    assert sample.engine.prompt_tokens == sample.prompt_tokens - sample.cached_tokens


@pytest.mark.parametrize("form", chat.Form)
async def test_each_form_tells_its_tokens_and_its_pace(server: llama.LlamaServer, form: chat.Form):
    asked = OpenAITarget("llama", server.url, "tiny", form=form)
    for attempt in range(20):
        timeline = await asked.probe(request(SETTINGS, f"{attempt:02}444444"))
        if steady(measure(timeline)):
            break
    await asked.aclose()
    assert sum(chunk.tokens or 0 for chunk in timeline.chunks) == timeline.output_tokens == 64
    assert steady(measure(timeline))
    assert timeline.finish == "length"


async def test_the_nonce_defeats_the_prompt_cache_and_without_it_the_sample_says_so(target: OpenAITarget):
    same = request(SETTINGS, "same nonce")
    await target.probe(same)
    repeated = measure(await target.probe(same))
    assert repeated.ttft_seconds is None
    assert any("the prefix cache answered" in each.reason for each in repeated.withheld)

    fresh = measure(await target.probe(request(SETTINGS, "x another nonce")))
    assert fresh.ttft_seconds is not None
    assert fresh.cached_tokens is not None
    assert fresh.prompt_tokens is not None
    assert fresh.cached_tokens < 0.05 * fresh.prompt_tokens  # the head of the chat template, no more
    assert repeated.cached_tokens is not None
    assert repeated.cached_tokens > 0.9 * fresh.prompt_tokens


async def test_a_model_that_the_context_cannot_hold_is_told_in_the_server_s_words(target: OpenAITarget):
    huge = ProbeRequest("x" * (llama.CONTEXT + 100), 8, PATIENCE, 2 * PATIENCE)
    with pytest.raises(Unavailable, match=r"it answers 400 Bad Request: .*context"):
        await target.probe(huge)


async def test_a_server_killed_mid_stream_fails_clearly_and_is_measured_again_when_it_is_back(
    server: llama.LlamaServer, target: OpenAITarget, monkeypatch: pytest.MonkeyPatch
):
    streaming = anyio.Event()
    feed = AnswerReader.feed

    def watched(reader: AnswerReader, data: bytes, at: float, waited: float, *, stamped: bool) -> list[Chunk]:
        found = feed(reader, data, at, waited, stamped=stamped)
        if len(reader.chunks) >= 20:
            streaming.set()
        return found

    monkeypatch.setattr(AnswerReader, "feed", watched)
    failures: list[Unavailable] = []
    victim = OpenAITarget("llama", server.url, "tiny")

    async def probe() -> None:
        try:
            await victim.probe(ProbeRequest("tell", 6000, PATIENCE, 2 * PATIENCE))  # 6 s at the very least
        except Unavailable as error:
            failures.append(error)

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(probe)
            await streaming.wait()
            await anyio.to_thread.run_sync(server.stop)
        await victim.aclose()
        assert "the stream was cut after" in failures[0].reason
        with pytest.raises(Unavailable, match="connection refused; see that the server runs"):
            await target.probe(request(SETTINGS, "22222222"))
    finally:
        await anyio.to_thread.run_sync(server.start)
    assert (await target.probe(request(SETTINGS, "33333333"))).output_tokens == SETTINGS.max_tokens


async def finished(job: Job) -> Job:
    async for status in job.updates():
        if status.state.final:
            break
    return job


async def test_the_worker_is_degraded_while_its_only_engine_is_gone_and_recovers(server: llama.LlamaServer):
    clock, bus = SystemClock(), EventBus()
    kinds: list[str] = []
    bus.attach(events=lambda event: kinds.append(event.kind))
    status = WorkerStatus("bench")
    latest: Latest[BenchView] = Latest(clock, max_age(SETTINGS))
    queue = JobQueue(JobBook(clock), "bench.run")
    targets = [OpenAITarget("llama", server.url, "tiny")]
    worker = BenchWorker(
        targets, SETTINGS, queue=queue, latest=latest, publish=Publisher(bus, clock, "bench"), clock=clock
    )
    with anyio.fail_after(4 * PATIENCE):
        async with anyio.create_task_group() as group:
            group.start_soon(worker.run, Heartbeat(clock, status, anyio.Event()))
            job = await finished(queue.submit(endpoint="llama"))
            assert job.status.state is JobState.SUCCEEDED, job.status.error
            assert job.status.result["llama.output_tokens"] == SETTINGS.max_tokens
            server.stop()
            try:
                job = await finished(queue.submit())
                assert job.status.state is JobState.FAILED
                assert status.state is WorkerState.DEGRADED
                assert "connection refused" in status.reason
            finally:
                await anyio.to_thread.run_sync(server.start)
            job = await finished(queue.submit())
            assert job.status.state is JobState.SUCCEEDED, job.status.error
            assert status.state is WorkerState.RUNNING
            group.cancel_scope.cancel()
    assert "bench.failed" in kinds
    assert kinds[-1] == "bench.measured"
