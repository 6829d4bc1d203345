from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from aiidpd.history import api
from aiidpd.history.api import EventDocument, EventsQuery, Missed
from aiidpd.kernel.errors import Unavailable
from aiidpd.kernel.events import Event, Severity
from aiidpd.platform.connection import Limits
from tests.fakes.control import ControlDaemon, control_daemon, until
from tests.waiting import PATIENCE

Line = dict[str, Any]


async def take(stream: AsyncGenerator[Any, None], count: int) -> list[Any]:
    async with asyncio.timeout(PATIENCE):
        return [await anext(stream) for _ in range(count)]


async def test_the_record_comes_first_then_what_happens(daemon: ControlDaemon) -> None:
    for number in range(5):
        daemon.say(reason=f"old {number}")
    async with aclosing(api.follow(daemon.history, daemon.bus, EventsQuery(limit=3))) as stream:
        assert [line.reason for line in await take(stream, 3)] == ["old 2", "old 3", "old 4"]
        daemon.say(reason="new 0")
        daemon.say(reason="new 1")
        assert [line.reason for line in await take(stream, 2)] == ["new 0", "new 1"]
        assert daemon.bus.subscribers == 1
    assert daemon.bus.subscribers == 0


async def test_filters_hold_for_the_record_and_for_what_happens(daemon: ControlDaemon) -> None:
    def say(reason: str) -> None:
        daemon.say("container.died", reason, severity=Severity.ERROR, subject="web")
        daemon.say("container.died", "other subject", severity=Severity.ERROR, subject="db")
        daemon.say("container.started", "not grave", subject="web")
        daemon.say("gpu.hot", "other kind", severity=Severity.ERROR, subject="web")

    say("recorded")
    query = EventsQuery(kind="container.", severity="warning", subject="web", since=time.time() - 60)
    async with aclosing(api.follow(daemon.history, daemon.bus, query)) as stream:
        assert [line.reason for line in await take(stream, 1)] == ["recorded"]
        say("live")
        assert [line.reason for line in await take(stream, 1)] == ["live"]


@pytest.mark.parametrize("seed", range(5))
async def test_no_event_is_lost_or_doubled_while_the_record_is_read(daemon: ControlDaemon, seed: int) -> None:
    # Events are published at every moment: before, while and after the record is read.
    rng = random.Random(seed)
    daemon.say()
    first = (await daemon.events("test."))[0].id
    published = 1

    async def publish() -> None:
        nonlocal published
        for _ in range(600):
            daemon.say()
            published += 1
            if rng.random() < 0.3:
                await anyio.sleep(rng.choice((0, 0, 0.001)))

    publishing = asyncio.create_task(publish())
    await anyio.lowlevel.checkpoint()
    query = EventsQuery(after_id=first - 1 or first)
    async with aclosing(api.follow(daemon.history, daemon.bus, query)) as stream:
        seen = [line.id for line in await take(stream, 550)]
    await publishing
    assert seen == list(range(seen[0], seen[0] + 550))
    assert seen[0] <= first + 1


async def test_what_a_slow_reader_lost_comes_from_the_record(daemon: ControlDaemon) -> None:
    async with aclosing(api.follow(daemon.history, daemon.bus, EventsQuery())) as stream:
        daemon.say(reason="0")
        assert [line.reason for line in await take(stream, 1)] == ["0"]
        for number in range(1, 3000):  # its queue holds 1024
            daemon.say(reason=str(number))
        seen = await take(stream, 2999)
    assert [line.reason for line in seen] == [str(number) for number in range(1, 3000)]


class BusyHistory:
    """The record, while events happen: some before it looks, some after."""

    def __init__(self, daemon: ControlDaemon) -> None:
        self._daemon = daemon

    async def events(self, **query: Any) -> list[Event]:
        self._daemon.say(reason="on record and still to come")
        found = await self._daemon.history.events(**query)
        self._daemon.say(reason="to come only")
        return found

    async def event_ids(self, **query: Any) -> list[int]:
        return await self._daemon.history.event_ids(**query)


async def test_an_event_that_is_on_record_and_in_the_queue_comes_once(daemon: ControlDaemon) -> None:
    daemon.say()
    async with aclosing(api.follow(BusyHistory(daemon), daemon.bus, EventsQuery())) as stream:
        seen = await take(stream, 3)
        daemon.say(reason="afterwards")
        seen += await take(stream, 1)
    assert [line.reason for line in seen[1:]] == ["on record and still to come", "to come only", "afterwards"]
    assert [line.id for line in seen] == list(range(seen[0].id, seen[0].id + 4))


class BrokenHistory:
    """A record that can't be read."""

    async def events(self, **_query: Any) -> list[Event]:
        raise Unavailable("read history", "db", reason="disk error")

    async def event_ids(self, **_query: Any) -> list[int]:
        raise Unavailable("read history", "db", reason="disk error")


async def test_without_the_record_the_stream_says_so_and_goes_on(daemon: ControlDaemon) -> None:
    async with aclosing(api.follow(BrokenHistory(), daemon.bus, EventsQuery())) as stream:
        (missed,) = await take(stream, 1)
        assert isinstance(missed, Missed)
        assert "disk error" in missed.reason
        daemon.say(reason="live")
        (line,) = await take(stream, 1)
        assert isinstance(line, EventDocument)
        assert line.reason == "live"


async def read_lines(reader: asyncio.StreamReader, until: Callable[[bytes], bool]) -> bytes:
    got = b""
    async with asyncio.timeout(PATIENCE):
        while not until(got):
            got += await reader.read(65536)
    return got


async def open_stream(daemon: ControlDaemon, target: str = "/v1/events") -> tuple[Any, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_unix_connection(str(daemon.path))
    writer.write(f"GET {target}?follow=true HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await read_lines(reader, lambda got: b"heartbeat" in got)
    return reader, writer


async def test_a_stream_begins_at_once(tmp_path: Path) -> None:
    async with control_daemon(tmp_path, heartbeat=10 * PATIENCE) as daemon:
        _, writer = await open_stream(daemon)
        writer.close()


async def test_a_stream_beats_while_nothing_happens(daemon: ControlDaemon) -> None:
    reader, writer = await open_stream(daemon)
    await read_lines(reader, lambda got: got.count(b"heartbeat") >= 3)
    daemon.say(reason="a fact")
    await read_lines(reader, lambda got: b'"a fact"' in got)
    writer.close()


@pytest.mark.parametrize("manner", ["close", "abort"])
async def test_a_client_that_vanishes_costs_nothing(daemon: ControlDaemon, manner: str) -> None:
    tasks = len(asyncio.all_tasks())
    streams = [await open_stream(daemon) for _ in range(8)]
    assert daemon.bus.subscribers == 8
    for _, writer in streams:
        if manner == "close":
            writer.close()
        else:
            writer.transport.abort()
    await until(lambda: not daemon.bus.subscribers and not daemon.server.connections)
    await until(lambda: len(asyncio.all_tasks()) <= tasks)


async def test_a_stream_goes_on_for_a_client_that_has_no_more_to_say(daemon: ControlDaemon) -> None:
    reader, writer = await open_stream(daemon)
    writer.write_eof()
    await read_lines(reader, lambda got: got.count(b"heartbeat") >= 3)
    daemon.say(reason="a fact")
    await read_lines(reader, lambda got: b'"a fact"' in got)
    assert daemon.bus.subscribers == 1
    writer.close()
    await until(lambda: not daemon.bus.subscribers and not daemon.server.connections)


async def test_a_client_that_stops_reading_is_dropped(tmp_path: Path) -> None:
    limits = Limits(write=0.5, buffer_bytes=4096)
    told: list[Event] = []

    def hear(event: Event) -> None:
        if event.kind == "control.dropped":
            told.append(event)

    async with control_daemon(tmp_path, limits=limits, heartbeat=0.1) as daemon:
        daemon.bus.attach(events=hear)
        _, writer = await open_stream(daemon)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        async with asyncio.timeout(PATIENCE):
            while daemon.bus.subscribers or daemon.server.connections:
                daemon.say(reason="x" * 2000)
                await anyio.sleep(0.005)
        await until(lambda: told)
        assert [each.reason for each in told] == [
            "a stream was ended: for 0.5 s it read too little of the answer"
        ]
        assert told[0].evidence["uid"] == os.getuid()
        writer.close()


async def test_streams_leave_room_for_others(tmp_path: Path) -> None:
    async with control_daemon(tmp_path, streams=2, heartbeat=0.1) as daemon:
        streams = [await open_stream(daemon) for _ in range(2)]
        reader, writer = await asyncio.open_unix_connection(str(daemon.path))
        writer.write(b"GET /v1/events?follow=true HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = await read_lines(reader, lambda got: b"}" in got)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"2 streams are open" in answer
        writer.write(b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b" 200 OK" in await read_lines(reader, lambda got: b"conditions" in got)
        assert daemon.bus.subscribers == 2
        for each in (writer, *(stream[1] for stream in streams)):
            each.close()


async def test_one_user_can_not_take_every_stream(tmp_path: Path) -> None:
    async with control_daemon(tmp_path, streams=4, streams_per_user=2, heartbeat=0.1) as daemon:
        streams = [await open_stream(daemon) for _ in range(2)]
        reader, writer = await asyncio.open_unix_connection(str(daemon.path))
        writer.write(b"GET /v1/events?follow=true HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = await read_lines(reader, lambda got: b"}" in got)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert f"2 streams of user {os.getuid()} are open".encode() in answer
        streams.pop()[1].close()
        await until(lambda: daemon.bus.subscribers == 1)
        streams.append(await open_stream(daemon))
        for each in (writer, *(stream[1] for stream in streams)):
            each.close()


async def test_closing_the_server_ends_streams_in_order(tmp_path: Path) -> None:
    async with control_daemon(tmp_path, heartbeat=0.1) as daemon:
        reader, writer = await open_stream(daemon)
    # What is dropped for not ending by itself has no such end.
    assert (await reader.read()).endswith(b"0\r\n\r\n")
    assert daemon.bus.subscribers == 0
    writer.close()
