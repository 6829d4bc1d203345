"""Servers that do not answer as they should: each failure has its label, and the target measures again."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from aiidpd.components.bench.schedule import request
from aiidpd.components.bench.settings import BenchSettings
from aiidpd.components.bench.stats import DECODE, measure
from aiidpd.engines.chat import Form
from aiidpd.engines.faults import Fault, ProbeFailed
from aiidpd.engines.openai import OpenAITarget
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
    text,
    usage,
)
from tests.ports import free_port
from tests.tables import made
from tests.waiting import PATIENCE

GOOD = [role(), Wait(0.01), text("a"), Wait(0.15), text("b"), finish(), usage(9, 2, 0), Send(DONE)]
STREAM = {"Content-Type": "text/event-stream"}


def asked(**bounds: Any) -> Any:
    return request(
        made(BenchSettings, **{"first_token_timeout": PATIENCE, "timeout": PATIENCE, **bounds}), "n"
    )


SLOW = {"first_token_timeout": 3.0, "timeout": 3.5}
SHORT = {"first_token_timeout": 0.3, "timeout": 0.5}
CASES: list[tuple[str, Fault, dict[str, Any], Sequence[Step], dict[str, Any]]] = [
    ("401", Fault.UNAUTHORIZED, {"status": 401}, (), {}),
    ("403", Fault.UNAUTHORIZED, {"status": 403}, (), {}),
    ("404", Fault.NOT_FOUND, {"status": 404}, (), {}),
    ("429", Fault.LIMITED, {"status": 429}, (), {}),
    ("400", Fault.REFUSED, {"status": 400}, (), {}),
    ("500", Fault.SERVER_ERROR, {"status": 500, "body": b"<html>oops"}, (), {}),
    ("503", Fault.SERVER_ERROR, {"status": 503}, (), {}),
    ("302", Fault.REDIRECTED, {"status": 302}, (), {}),
    ("204", Fault.NO_STREAM, {"status": 204}, (), {}),
    ("HTML", Fault.NO_STREAM, {"headers": {"Content-Type": "text/html"}}, [Send(b"<html>")], {}),
    ("gzip", Fault.COMPRESSED, {"headers": {**STREAM, "Content-Encoding": "gzip"}}, [Send(b"x")], {}),
    ("half an event", Fault.CUT, {}, [text("a"), finish(), Send(b'data: {"cho')], {}),
    ("closes early", Fault.CUT, {}, [text("a"), Wait(0.01), Cut()], {}),
    ("ends early", Fault.CUT, {}, [text("a")], {}),
    ("no answer", Fault.NO_ANSWER, {}, [role(), Wait(0.01), Cut()], {}),
    ("no text", Fault.EMPTY, {}, [role(), finish("stop"), usage(9, 0), Send(DONE)], {}),
    ("garbage", Fault.MALFORMED, {}, [text("a"), Send(b"data: {\n\n"), Hang()], {}),
    ("no line end", Fault.MALFORMED, {}, [Send(b"data: "), Forever(b"x" * 65_536, 0)], {}),
    ("error", Fault.ENGINE_ERROR, {}, [text("a"), Send(event({"error": "out of memory"}))], {}),
    ("no token", Fault.LATE, {}, [role(), Hang()], SHORT),
    ("a token a minute", Fault.UNFINISHED, {}, [text("a"), Wait(60), text("b")], SLOW),
    ("never ends", Fault.TOO_LONG, {}, [Forever(chunk({"content": "x"}), 0)], {"max_tokens": 8}),
    ("10^9 tokens", Fault.IMPLAUSIBLE, {}, [text("a"), finish(), usage(9, 10**9), Send(DONE)], {}),
    ("10^9 prompt tokens", Fault.IMPLAUSIBLE, {}, [text("a"), finish(), usage(10**9, 2), Send(DONE)], {}),
]


@pytest.mark.parametrize(
    ("fault", "server", "steps", "bounds"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
async def test_each_has_its_label_and_the_next_probe_is_good(
    fault: Fault, server: dict[str, Any], steps: Sequence[Step], bounds: dict[str, Any]
):
    async with InferenceServer(steps, **server) as bad:
        target = OpenAITarget("gpu0", bad.url, "tiny")
        with pytest.raises(ProbeFailed) as caught:
            await target.probe(asked(**bounds))
        assert caught.value.fault is fault, str(caught.value)
        assert caught.value.reason
        assert caught.value.remedy
        bad.steps, bad.status, bad.headers = GOOD, 200, STREAM
        assert (await target.probe(asked())).output_tokens == 2
        await target.aclose()


async def test_nobody_listens():
    target = OpenAITarget("gpu0", f"http://127.0.0.1:{free_port()}", "tiny")
    with pytest.raises(ProbeFailed) as caught:
        await target.probe(asked())
    assert caught.value.fault is Fault.UNREACHABLE


async def test_no_final_usage_is_no_pace_and_says_so():
    steps = [step for step in GOOD if step != GOOD[-2]]
    async with InferenceServer(steps) as server:
        target = OpenAITarget("gpu0", server.url, "tiny")
        sample = measure(await target.probe(asked()))
        await target.aclose()
    assert sample.ttft_seconds is not None or sample.invalid
    assert sample.output_tokens_per_second is None
    assert "no usage" in next(each.reason for each in sample.withheld if each.figure == DECODE)


async def test_a_redirect_is_shown_and_not_followed():
    async with InferenceServer(GOOD) as other, InferenceServer(status=302) as server:
        server.answer_headers = {"Location": f"{other.url}/v1/chat/completions"}
        target = OpenAITarget("gpu0", server.url, "tiny", api_key="secret")
        with pytest.raises(ProbeFailed, match=f"302 Found: {other.url}"):
            await target.probe(asked())
        await target.aclose()
        assert other.requests == []


def backwards() -> Callable[[], float]:
    """A clock that loses a second with each reading."""
    readings = itertools.count(1000.0, -1.0)
    return lambda: next(readings)


async def test_a_clock_that_goes_back_is_a_failure():
    async with InferenceServer(GOOD) as server:
        target = OpenAITarget("gpu0", server.url, "tiny", monotonic=backwards())
        with pytest.raises(ProbeFailed) as caught:
            await target.probe(asked())
        await target.aclose()
    assert caught.value.fault is Fault.CLOCK


async def test_a_suspension_amid_the_answer_is_a_failure():
    suspended = iter([5.0, 65.0, 65.0, 65.0])
    async with InferenceServer(GOOD) as server:
        target = OpenAITarget("gpu0", server.url, "tiny", suspended=lambda: next(suspended))
        with pytest.raises(ProbeFailed, match="suspended") as caught:
            await target.probe(asked())
        assert caught.value.fault is Fault.CLOCK
        assert (await target.probe(asked())).output_tokens == 2
        await target.aclose()


async def test_a_server_that_refuses_to_count_is_asked_without():
    async with InferenceServer(GOOD) as server:
        server.refused = "timings_per_token"
        target = OpenAITarget("gpu0", server.url, "tiny")
        for _ in range(2):
            assert (await target.probe(asked())).output_tokens == 2
        await target.aclose()
    assert ["timings_per_token" in each for each in server.requests] == [True, False, False]


@pytest.mark.parametrize("form", Form)
async def test_each_form_has_its_path_and_its_body(form: Form):
    async with InferenceServer(GOOD) as server:
        target = OpenAITarget("gpu0", f"{server.url}/v1", "tiny", form=form)
        assert len((await target.probe(asked(max_tokens=5))).chunks) == 2
        await target.aclose()
    (sent,), (path,) = server.requests, server.paths
    assert path == form
    assert sent.get("max_tokens", sent.get("n_predict")) == 5
    assert ("messages" in sent) == (form is Form.CHAT)
