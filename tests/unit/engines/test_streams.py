"""Many streams at once, over real connections."""

from __future__ import annotations

import itertools
import json
import socket
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import anyio
import anyio.to_thread
import pytest

from aiidpd.engines.faults import Fault
from aiidpd.engines.stream import StreamRequest
from aiidpd.engines.streams import Run, Streams, room_for
from aiidpd.kernel.errors import Misconfigured
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
    finish,
    role,
    steady,
    text,
    usage,
)
from tests.ports import free_port
from tests.waiting import PATIENCE

BODY = json.dumps({"stream": True}).encode()
HEAD = (
    "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
)
REQUEST = StreamRequest(f"{HEAD}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY, 8)
STREAM = {"Content-Type": "text/event-stream"}


def port_of(server: InferenceServer) -> int:
    return int(server.url.rpartition(":")[2])


async def run(port: int, streams: int = 1, within: float = PATIENCE, request: StreamRequest = REQUEST) -> Run:
    loop = Streams(("127.0.0.1", port), [request] * streams)
    return await anyio.to_thread.run_sync(loop.run, within)


async def test_all_are_on_the_wire_at_once_and_each_has_its_record():
    async with InferenceServer(steady(5, first=0.5, each=0.01)) as server:
        found = await run(port_of(server), 20)
        assert server.most_busy == 20
    assert (found.on_wire, found.short) == (20, "")
    assert len({each.port for each in found.streams}) == 20
    for each in found.streams:
        assert each.timeline is not None, each.reason
        moments = [each.timeline.started, *(chunk.at for chunk in each.timeline.chunks), each.timeline.ended]
        assert all(earlier <= later for earlier, later in itertools.pairwise(moments))
        assert each.timeline.chunks[0].at - each.timeline.started >= 0.5
        assert (len(each.timeline.chunks), each.timeline.output_tokens) == (5, 5)
        assert each.timeline.connect_seconds is not None
        assert each.timeline.delays


async def test_one_that_fails_takes_no_other_with_it():
    """Every second request is refused."""
    async with InferenceServer(steady(3, first=0.3, each=0.01)) as server:
        server.refused = "bad"
        bad = json.dumps({"bad": 1}).encode()
        refused = StreamRequest(f"{HEAD}Content-Length: {len(bad)}\r\n\r\n".encode() + bad, 8)
        loop = Streams(("127.0.0.1", port_of(server)), [REQUEST, refused] * 4)
        found = await anyio.to_thread.run_sync(loop.run, PATIENCE)
    assert [each.fault for each in found.streams] == [None, Fault.REFUSED] * 4


@pytest.mark.parametrize(
    ("fault", "server", "steps"),
    [
        (Fault.LIMITED, {"status": 429}, ()),
        (Fault.REDIRECTED, {"status": 302}, ()),
        (Fault.NO_STREAM, {"headers": {"Content-Type": "text/html"}}, [Send(b"<html>")]),
        (Fault.COMPRESSED, {"headers": {**STREAM, "Content-Encoding": "gzip"}}, [Send(b"x")]),
        (Fault.CUT, {}, [text("a"), Wait(0.01), Cut()]),
        (Fault.CUT, {}, [text("a")]),
        (Fault.CUT, {}, [text("a"), finish(), Send(b'data: {"cho')]),
        (Fault.EMPTY, {}, [role(), finish(), usage(9, 0), Send(DONE)]),
        (Fault.MALFORMED, {}, [text("a"), Send(b"data: {\n\n")]),
        (Fault.IMPLAUSIBLE, {}, [text("a"), finish(), usage(9, 10**9), Send(DONE)]),
        (Fault.LATE, {}, [role(), Hang()]),
        (Fault.UNFINISHED, {}, [text("a"), Hang()]),
        (Fault.TOO_LONG, {}, [Forever(chunk({"content": "x"}), 0.001)]),
        (Fault.TOO_LONG, {}, [Forever((b": " + b"x" * 4000 + b"\n") * 50, every=0)]),
    ],
)
async def test_what_fails_has_its_label(fault: Fault, server: dict[str, Any], steps: Sequence[Step]):
    async with InferenceServer(steps, **server) as bad:
        within = 2.0 if fault in (Fault.LATE, Fault.UNFINISHED) else PATIENCE
        (found,) = (await run(port_of(bad), within=within)).streams
    assert found.fault is fault, found.reason
    assert found.timeline is None
    assert found.reason


async def test_an_answer_whose_connection_stays_open_is_whole():
    async with InferenceServer([text("a"), finish(), usage(9, 1), Send(DONE), Hang()]) as server:
        (found,) = (await run(port_of(server), within=1.0)).streams
    assert found.timeline is not None


async def test_nobody_listens():
    (found,) = (await run(free_port())).streams
    assert (found.fault, found.reason) == (Fault.UNREACHABLE, "connection refused")


async def test_fewer_on_the_wire_than_asked_for_is_no_run():
    """The listener takes no more than it has room for."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=1)) as listener:
        found = await run(listener.getsockname()[1], 20, within=0.5)
    assert found.on_wire < 20
    assert found.short == f"20 streams were asked for, and {found.on_wire} were on the wire at once"


def test_more_than_this_process_may_open_is_refused():
    with pytest.raises(Misconfigured, match="open files, and the limit is"):
        room_for(10**12)
