"""Streams that begin one after another, over real connections."""

from __future__ import annotations

import json
import socket
import time
from contextlib import closing

import anyio
import anyio.to_thread
import pytest

from aiidpd.engines.faults import Fault
from aiidpd.engines.request import http_request
from aiidpd.engines.stream import StreamRequest
from aiidpd.engines.traffic import Course, Planned, Served, Traffic
from tests.fakes.inference import (
    DONE,
    Cut,
    Forever,
    Hang,
    InferenceServer,
    Send,
    Step,
    chunk,
    finish,
    steady,
    usage,
)
from tests.ports import free_port
from tests.waiting import PATIENCE


class Plans:
    """A plan of requests at given moments after the start, all alike."""

    def __init__(
        self,
        url: str,
        moments: list[float],
        *,
        timeout: float = PATIENCE,
        cut_at: float = 1e9,
        page: bool = False,
    ) -> None:
        self.outcomes: list[Served] = []
        self._start = time.monotonic()
        body = None if page else json.dumps({"stream": True}).encode()
        path = "/v1/models" if page else "/v1/chat/completions"
        request = StreamRequest(http_request(f"{url}{path}", "", body), 8, page=page)
        self._plans = [
            Planned(self._start + each, key, request, timeout) for key, each in enumerate(sorted(moments))
        ]
        self._cut_at = self._start + cut_at

    def due(self, now: float) -> Planned | None:
        return self._plans.pop(0) if self._plans and self._plans[0].at <= now else None

    def served(self, outcome: Served) -> None:
        self.outcomes.append(outcome)

    def over(self, now: float) -> bool:  # noqa: ARG002 -- the protocol names it
        return not self._plans

    def stopped(self, now: float) -> bool:
        return now >= self._cut_at


async def ran(url: str, plans: Plans, most: int = 100) -> Course:
    port = int(url.rpartition(":")[2])
    return await anyio.to_thread.run_sync(Traffic(("127.0.0.1", port), plans, most=most).run)


async def test_each_leaves_at_its_time_and_has_its_record():
    moments = [0.05 * place for place in range(1, 11)]
    async with InferenceServer(steady(5, first=0.2, each=0.01)) as server:
        plans = Plans(server.url, moments)
        course = await ran(server.url, plans)
    assert len(plans.outcomes) == 10
    for each in plans.outcomes:
        timeline = each.streamed.timeline
        assert timeline is not None, each.streamed.reason
        assert (len(timeline.chunks), timeline.output_tokens) == (5, 5)
        assert timeline.started >= each.planned
        assert timeline.chunks[0].at - timeline.started >= 0.2
        assert each.late is not None
    assert 1 < course.most_on_wire <= 10
    assert course.delays == tuple(sorted(course.delays))


async def test_a_server_that_stalls_holds_no_request_back():
    async with InferenceServer([Hang()]) as server:
        plans = Plans(server.url, [0.02 * place for place in range(50)], timeout=2.0)
        course = await ran(server.url, plans)
        assert server.most_busy == 50
    assert course.most_on_wire == 50
    assert {each.streamed.fault for each in plans.outcomes} == {Fault.LATE}
    assert all(each.late is not None for each in plans.outcomes)


TOKEN = Send(chunk({"content": "x"}), text=True)


@pytest.mark.parametrize(
    ("steps", "kind", "fault"),
    [
        ([TOKEN, Cut()], "text/event-stream", Fault.CUT),
        ([TOKEN, Hang()], "text/event-stream", Fault.UNFINISHED),
        ([Hang()], "text/event-stream", Fault.LATE),
        ([Send(b"data: {\n\n")], "text/event-stream", Fault.MALFORMED),
        ([Send(b"<html>")], "text/html", Fault.NO_STREAM),
        ([finish(), Send(DONE)], "text/event-stream", Fault.EMPTY),
        ([Forever(chunk({"content": "x"}), 0.0)], "text/event-stream", Fault.TOO_LONG),
        ([Send(b'data: {"error": "boom"}\n\n'), Hang()], "text/event-stream", Fault.ENGINE_ERROR),
    ],
)
async def test_an_answer_that_is_none_has_its_label(steps: list[Step], kind: str, fault: Fault):
    async with InferenceServer(steps, headers={"Content-Type": kind}) as server:
        plans = Plans(server.url, [0.0], timeout=0.5)
        await ran(server.url, plans)
    assert [each.streamed.fault for each in plans.outcomes] == [fault], plans.outcomes[0].streamed.reason


@pytest.mark.parametrize(
    ("status", "body", "fault", "reason"),
    [
        (
            500,
            b'{"error": {"message": "CUDA out of memory"}}',
            Fault.SERVER_ERROR,
            "it answers 500: CUDA out of memory",
        ),
        (429, b"", Fault.LIMITED, "it answers 429"),
        (400, b"<h1>" + b"x" * 100_000, Fault.REFUSED, "it answers 400: <h1>xxx"),
    ],
)
async def test_a_refusal_has_the_server_s_words(status: int, body: bytes, fault: Fault, reason: str):
    async with InferenceServer(status=status, body=body) as server:
        plans = Plans(server.url, [0.0])
        await ran(server.url, plans)
    (found,) = plans.outcomes
    assert found.streamed.fault is fault
    assert found.streamed.reason.startswith(reason)
    assert len(found.streamed.reason) < 400


async def test_a_server_that_keeps_the_connection_open_ends_with_its_answer():
    async with InferenceServer([TOKEN, finish(), usage(9, 1), Send(DONE), Hang()]) as server:
        plans = Plans(server.url, [0.0])
        await ran(server.url, plans)
    assert plans.outcomes[0].streamed.timeline is not None


async def test_nobody_there():
    plans = Plans(f"http://127.0.0.1:{free_port()}", [0.0, 0.1])
    await ran(f"x:{free_port()}", plans)
    assert {each.streamed.fault for each in plans.outcomes} == {Fault.UNREACHABLE}
    assert {each.late for each in plans.outcomes} == {None}


async def test_what_goes_on_is_cut_and_no_failure():
    async with InferenceServer([TOKEN, TOKEN, Hang()]) as server:
        plans = Plans(server.url, [0.0, 0.1], cut_at=0.6)
        began = time.monotonic()
        await ran(server.url, plans)
        assert time.monotonic() - began < PATIENCE
    assert [each.cut for each in plans.outcomes] == [True, True]
    for each in plans.outcomes:
        assert each.streamed.fault is None
        assert each.streamed.timeline is not None
        assert len(each.streamed.timeline.chunks) == 2


async def test_a_page_is_a_whole_answer_without_a_stream():
    async with InferenceServer(models=[{"id": "tiny"}]) as server:
        plans = Plans(server.url, [0.0], page=True)
        await ran(server.url, plans)
    timeline = plans.outcomes[0].streamed.timeline
    assert timeline is not None, plans.outcomes[0].streamed.reason
    assert timeline.chunks == ()
    assert timeline.ended >= timeline.started


async def test_no_more_are_open_than_may_be():
    async with InferenceServer(steady(2, first=0.1, each=0.01)) as server:
        plans = Plans(server.url, [0.0] * 12)
        course = await ran(server.url, plans, most=3)
        assert server.most_busy <= 3
    assert course.most_on_wire <= 3
    assert all(each.streamed.timeline is not None for each in plans.outcomes)
    assert len(plans.outcomes) == 12


def test_a_connection_that_never_opens_is_given_up(monkeypatch: pytest.MonkeyPatch):
    """The server's queue of connections is full, and nobody takes one."""
    monkeypatch.setattr("aiidpd.engines.traffic._CONNECTING", 0.3)
    with closing(socket.socket()) as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        address = server.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for each in fillers:
            each.setblocking(False)
            each.connect_ex(address)
        plans = Plans(f"http://127.0.0.1:{address[1]}", [0.0], timeout=1.0)
        Traffic(address, plans, most=4).run()
        for each in fillers:
            each.close()
    assert plans.outcomes[0].streamed.fault is Fault.UNREACHABLE


@pytest.mark.parametrize("body", [None, b"{}"])
def test_a_request_is_whole_and_the_only_one_on_its_connection(body: bytes | None):
    head, _, rest = http_request("http://[::1]:8000/a/v1/models", "key", body).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == f"{'GET' if body is None else 'POST'} /a/v1/models HTTP/1.1"
    assert {"Host: [::1]:8000", "Connection: close", "Authorization: Bearer key"} <= set(lines)
    assert rest == (body or b"")
    assert ("Content-Length: 2" in lines) is (body is not None)
