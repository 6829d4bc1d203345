"""The HTTP target against a server whose timing is known.

Lower bounds are exact: nothing is seen before it is sent, and server and test share a clock. Upper
bounds are generous: the machine may be busy.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from aiidpd.components.bench.schedule import request
from aiidpd.components.bench.settings import BenchSettings
from aiidpd.components.bench.stats import BenchSample, measure
from aiidpd.engines.openai import OpenAITarget
from aiidpd.engines.target import Timeline
from aiidpd.kernel.errors import Misconfigured, Unavailable
from tests.fakes.inference import (
    DONE,
    Cut,
    Forever,
    Hang,
    InferenceServer,
    Send,
    Step,
    Wait,
    chunk,
    event,
    finish,
    role,
    steady,
    text,
    usage,
)
from tests.fakes.llama import free_port
from tests.tables import made
from tests.waiting import PATIENCE

ENDING = [finish(), usage(100, 3, 0), Send(DONE)]


def figures(timeline: Timeline) -> BenchSample:
    """Return the figures as if this process had always been in time: the machine is busy with tests."""
    chunks = tuple(replace(chunk, late=0.0) for chunk in timeline.chunks)
    return measure(replace(timeline, chunks=chunks))


async def probe(
    server: InferenceServer | str,
    *,
    first: float = PATIENCE,
    whole: float = PATIENCE,
    max_tokens: int = 64,
    key: str = "",
) -> Timeline:
    url = server if isinstance(server, str) else server.url
    target = OpenAITarget("gpu0", url, "tiny", api_key=key)
    settings = made(BenchSettings, first_token_timeout=first, timeout=whole, max_tokens=max_tokens)
    try:
        return await target.probe(request(settings, "the-nonce"))
    finally:
        await target.aclose()


async def failure(*steps: Step, status: int = 200, body: bytes = b"", **bounds: float | str) -> Unavailable:
    async with InferenceServer(steps, status=status, body=body) as server:
        with pytest.raises(Unavailable) as caught:
            await probe(server, **bounds)  # type: ignore[arg-type]
        assert f"cannot measure gpu0 at {server.url}: " in str(caught.value)
        assert caught.value.remedy
    return caught.value


async def test_the_first_token_counts_and_not_the_role():
    async with InferenceServer(steady(20, first=0.15, each=0.02)) as server:
        before = time.monotonic()
        timeline = await probe(server)
        elapsed = time.monotonic() - before
    sample = figures(timeline)
    assert sample.ttft_seconds is not None
    assert 0.15 <= sample.ttft_seconds <= elapsed
    assert sample.time_per_output_token_seconds is not None
    first_seen = timeline.chunks[0].at
    assert (server.sent[-1] - first_seen) / 19 <= sample.time_per_output_token_seconds <= elapsed / 19
    assert sample.total_seconds <= elapsed
    assert len(timeline.chunks) == len(server.sent) == 20
    assert all(seen.at >= sent for seen, sent in zip(timeline.chunks, server.sent, strict=True))


async def test_it_asks_as_configured_and_the_nonce_comes_first():
    async with InferenceServer([text("a", "b", "c"), *ENDING]) as server:
        await probe(server, max_tokens=7, key="  secret-key\n")
        asked, headers = server.requests[0], server.request_headers[0]
    assert asked["model"] == "tiny"
    assert asked["max_tokens"] == 7
    assert asked["messages"][0]["content"].startswith("the-nonce ")
    assert headers["Authorization"] == "Bearer secret-key"
    assert headers["Accept-Encoding"] == "identity"


async def test_the_environment_gives_neither_a_proxy_nor_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password something\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    async with InferenceServer([text("a"), *ENDING]) as server:
        await probe(server)
        assert "Authorization" not in server.request_headers[0]


async def test_chunks_of_one_write_are_no_speed():
    async with InferenceServer(
        [role(), Wait(0.1), text(*["tok "] * 24), finish(), usage(9, 24, 0), Send(DONE)]
    ) as s:
        sample = figures(await probe(s))
    assert sample.ttft_seconds is not None
    assert sample.chunks == 24
    assert sample.output_tokens_per_second is None
    assert "24 tokens in" in sample.withheld[0].reason


async def test_without_usage_the_ttft_stands_and_the_pace_does_not():
    async with InferenceServer(steady(10, first=0.05, each=0.02, ending=[finish(), Send(DONE)])) as server:
        sample = figures(await probe(server))
    assert sample.ttft_seconds is not None
    assert sample.output_tokens is None
    assert sample.output_tokens_per_second is None
    assert "no usage" in sample.withheld[0].reason


async def test_what_the_server_counts_and_times_is_kept():
    timings = {"prompt_n": 90, "prompt_ms": 12.5, "predicted_n": 3, "predicted_ms": 30.0}
    async with InferenceServer(
        [text("a", "b"), finish("stop"), usage(100, 3, 10, timings=timings), Send(DONE)]
    ) as s:
        timeline = await probe(s)
    assert (timeline.prompt_tokens, timeline.output_tokens, timeline.cached_tokens) == (100, 3, 10)
    assert timeline.finish == "stop"
    assert timeline.engine is not None
    assert timeline.engine.time_per_output_token == pytest.approx(0.01)


async def test_thinking_is_output():
    steps = [role(), text("hm", field="reasoning_content"), Wait(0.05), text("yes"), *ENDING]
    async with InferenceServer(steps) as server:
        assert len((await probe(server)).chunks) == 2


async def test_a_stream_cut_anywhere_into_bytes_gives_the_same_answer():
    whole = b"".join(step.data for step in steady(3, first=0, each=0) if isinstance(step, Send))
    pieces = [Send(whole[at : at + 7]) for at in range(0, len(whole), 7)]
    async with InferenceServer([each for piece in pieces for each in (piece, Wait(0.0005))]) as server:
        timeline = await probe(server)
    assert [each.characters for each in timeline.chunks] == [4, 4, 4]
    assert timeline.output_tokens == 3


async def test_a_stream_that_ends_after_its_finish_reason_but_without_done_is_whole():
    async with InferenceServer([text("a", "b", "c"), finish(), usage(5, 3)]) as server:
        assert (await probe(server)).output_tokens == 3


async def test_what_follows_done_is_not_waited_for():
    async with InferenceServer([text("a"), *ENDING, Hang()]) as server:
        with anyio.fail_after(PATIENCE):
            assert (await probe(server, first=3 * PATIENCE, whole=3 * PATIENCE)).finish == "length"


@pytest.mark.parametrize(
    ("status", "body", "reason", "remedy"),
    [
        (
            401,
            b'{"error": {"message": "bad key secret-key"}}',
            "401 Unauthorized: bad key [API key]",
            "credential",
        ),
        (404, b'{"detail": "Not Found"}', "404 Not Found", "base URL"),
        (500, b"<html>oops</html>" * 5000, "500 Internal Server Error: <html>oops", "server's own log"),
        (
            503,
            b'{"error": {"message": "Loading model"}}',
            "503 Service Unavailable: Loading model",
            "loading",
        ),
        (302, b"", "302 Found", "leads"),
        (418, b"\xff\xfe", "418", "log"),
    ],
)
async def test_an_http_error_is_told_in_the_server_s_words(
    status: int, body: bytes, reason: str, remedy: str
):
    error = await failure(status=status, body=body, key="secret-key")
    assert reason in error.reason
    assert remedy in error.remedy
    assert "secret-key" not in str(error)
    assert len(str(error)) < 500


async def test_nobody_listens():
    with pytest.raises(
        Unavailable, match=r"cannot measure gpu0 .*: connect.* refused.*; see that the server runs"
    ):
        await probe(f"http://127.0.0.1:{free_port()}")


async def test_an_answer_that_does_not_stream_is_said_to_be_one():
    async with InferenceServer([Send(b"{}")], headers={"Content-Type": "application/json"}) as server:
        with pytest.raises(Unavailable, match="application/json instead of an event stream"):
            await probe(server)


async def test_a_compressed_stream_is_refused():
    headers = {"Content-Type": "text/event-stream", "Content-Encoding": "gzip"}
    async with InferenceServer([Send(b"x")], headers=headers) as server:
        with pytest.raises(Unavailable, match="compressed"):
            await probe(server)


async def test_a_server_that_is_silent_before_its_headers_misses_the_first_token():
    async with InferenceServer([text("a"), *ENDING], before_headers=2 * PATIENCE) as server:
        with anyio.fail_after(PATIENCE), pytest.raises(Unavailable, match=r"no token within 0\.2 s"):
            await probe(server, first=0.2)


async def test_a_role_without_a_token_misses_it_too():
    error = await failure(role(), Hang(), first=0.2)
    assert "no token within 0.2 s" in error.reason
    assert "hung" in error.remedy


async def test_keep_alive_comments_are_no_token():
    error = await failure(role(), Forever(b": keep-alive\n\n", every=0.02), first=0.2)
    assert "no token within 0.2 s" in error.reason


async def test_once_a_token_came_the_whole_timeout_counts():
    error = await failure(text("a"), Hang(), first=2.0, whole=3.0)
    assert "did not end within 3 s (1 chunks arrived)" in error.reason
    async with InferenceServer([text("a"), Wait(2.5), text("b", "c"), *ENDING]) as server:
        assert len((await probe(server, first=2.0)).chunks) == 3


async def test_a_stream_that_never_ends_is_ended():
    error = await failure(Forever(chunk({"content": "x"}), every=0.001), max_tokens=8)
    assert "8 tokens were requested" in error.reason
    assert "max_tokens" in error.remedy


async def test_a_flood_without_text_is_bounded():
    error = await failure(Forever((b": " + b"x" * 4000 + b"\n") * 50, every=0))
    assert "longer than 8 MiB" in error.reason


async def test_a_stream_that_is_cut_says_how_far_it_came():
    error = await failure(role(), text("a"), Wait(0.05), text("b"), Wait(0.05), Cut())
    assert "cut after 2 chunks" in error.reason
    assert "crashed" in error.remedy


async def test_a_stream_that_ends_early_but_properly_is_cut_too():
    assert "cut after 1 chunks: the stream ended" in (await failure(text("a"))).reason


async def test_a_connection_dropped_before_any_text():
    assert "no answer came" in (await failure(role(), Wait(0.05), Cut())).reason


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"data: {not json\n\n", "no JSON"),
        (b"data: [1]\n\n", "no object"),
        (b"data: \xff\xfe\n\n", "not UTF-8"),
        (b"data: " + b"x" * 300_000, "a line is longer"),
    ],
)
async def test_garbage_in_the_stream_is_named(data: bytes, reason: str):
    error = await failure(text("a"), Send(data), Hang())
    assert "its stream is malformed" in error.reason
    assert reason in error.reason


async def test_an_error_in_the_stream_is_the_server_s_own():
    error = await failure(text("a"), Send(event({"error": {"message": "CUDA out of memory"}})))
    assert "CUDA out of memory" in error.reason


async def test_an_answer_without_text_is_no_measurement():
    assert "without any text" in (await failure(role(), finish("stop"), usage(9, 1), Send(DONE))).reason


async def test_after_each_failure_the_same_target_measures_again():
    async with InferenceServer([text("a"), Cut()]) as server:
        target = OpenAITarget("gpu0", server.url, "tiny")
        asked = request(made(BenchSettings, first_token_timeout=2.0, timeout=PATIENCE), "n")
        for broken in ([text("a"), Cut()], [role(), Hang()], [Send(b"data: {\n\n")]):
            server.steps = broken
            with pytest.raises(Unavailable):
                await target.probe(asked)
        server.steps = [text("a", "b", "c"), *ENDING]
        assert (await target.probe(asked)).output_tokens == 3
        await target.aclose()


async def test_a_server_learns_at_once_that_the_probe_gave_up():
    async with InferenceServer([role(), Forever(b": x\n\n", every=0.01)]) as server:
        with pytest.raises(Unavailable):
            await probe(server, first=0.1)
        with anyio.fail_after(PATIENCE):
            await server.left.wait()


@pytest.mark.parametrize("key", ["a\nb", "é", "a\x00"])
def test_a_key_that_no_header_can_carry_is_refused_without_showing_it(key: str):
    with pytest.raises(Misconfigured) as caught:
        OpenAITarget("gpu0", "http://127.0.0.1:1", "m", api_key=key)
    assert key not in str(caught.value)


def test_a_target_shows_no_key():
    target = OpenAITarget("gpu0", "http://127.0.0.1:1", "m", api_key="secret-key")
    assert "secret-key" not in f"{target!r} {target}"
