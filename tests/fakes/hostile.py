"""Clients that no server wants: slow, broken, endless, silent. Each connects, misbehaves, and is waited for.

``python -m tests.fakes.hostile COUNT SEED ADDRESS...`` is a crowd of them, in a process of their own so that
they don't hold up the server's loop; it prints how many there were of each kind, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Awaitable[Streams]]

_HEAD = b"GET /v1/status HTTP/1.1\r\nHost: x\r\n"
_POST = b"POST /v1/bench/runs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
_METHODS = (b"GET", b"POST", b"BREW", b"get", b"", b"CONNECT", b"OPTIONS", b"PRI", b"G\0T", b"\xff\xfe")
_TARGETS = (
    b"/v1/status",
    b"*",
    b"",
    b"/" * 9000,
    b"/%zz",
    b"/\xff\xfe",
    b"http://[::1/",
    b"/a b",
    b"//",
    b"/v1/../etc",
)
_VERSIONS = (
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"HTTP/2.0",
    b"HTTP/9",
    b"HTTP/1.1 x",
    b"",
    b"ICY",
    b"HTTP/1." + b"1" * 500,
)
_BODIES = (
    b"{",
    b"[" * 60_000,
    b'{"endpoint": 1}',
    b'{"endpoint": "' + b"x" * 5000 + b'"}',
    b'{"a": ' * 5000,
    b"\xff\xfe\x00",
    b"1" * 10_000,
    b'{"endpoint": "\\ud800"}',
    b"NaN",
    b"[]",
)
_HEADERS = (
    b"Content-Length: -1",
    b"Content-Length: 1e9",
    b"Content-Length: 5\r\nContent-Length: 6",
    b"Content-Length: 99999999999999999999",
    b"Transfer-Encoding: chunked\r\nContent-Length: 3",
    b"Transfer-Encoding: gzip",
    b"Transfer-Encoding: chunked, identity",
    b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nbomb",
    b"Expect: 200-ok",
    b"Expect: 100-continue\r\nContent-Length: 10",
    b"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13",
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c",
    b"X: " + b"x" * 9000,
    b"x" * 9000 + b": 1",
    b": nothing",
    b" folded",
    b"no colon",
    b"N\0ul: 1",
    b"A: \x01\x02",
    b"Cookie: " + b"a=b; " * 1500,
    b"\r\n".join(b"X-%d: 1" % number for number in range(300)),
)


async def noise(streams: Streams, rng: random.Random) -> None:
    await _say(streams, rng.randbytes(rng.randrange(1, 4000)))


async def malformed(streams: Streams, rng: random.Random) -> None:
    line = b" ".join((rng.choice(_METHODS), rng.choice(_TARGETS), rng.choice(_VERSIONS)))
    await _say(streams, line + rng.choice((b"\r\n", b"\n", b"\r")) + b"Host: x\r\n\r\n")


async def bad_headers(streams: Streams, rng: random.Random) -> None:
    await _say(streams, rng.choice((_HEAD, _POST)) + rng.choice(_HEADERS) + b"\r\n\r\n")


async def bad_body(streams: Streams, rng: random.Random) -> None:
    body = rng.choice(_BODIES)
    await _say(streams, _POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)


async def bad_query(streams: Streams, rng: random.Random) -> None:
    query = rng.choice(
        (b"limit=0", b"limit=x", b"nope=1", b"since=nan", b"kind=%ff", b"after_id=9" + b"9" * 99, b"a&a&a")
    )
    await _say(streams, b"GET /v1/events?%s HTTP/1.1\r\nHost: x\r\n\r\n" % query)


async def truncated(streams: Streams, rng: random.Random) -> None:
    whole = _POST + b"Content-Length: 20\r\n\r\n" + b'{"endpoint":"e"}    '
    await _say(streams, whole[: rng.randrange(len(whole))])


async def cut_off(streams: Streams, rng: random.Random) -> None:
    await truncated(streams, rng)
    streams[1].transport.abort()


async def half_closed(streams: Streams, rng: random.Random) -> None:
    await truncated(streams, rng)
    with suppress(OSError):
        streams[1].write_eof()


async def slow_head(streams: Streams, rng: random.Random) -> None:
    for byte in _HEAD + b"X: " + rng.randbytes(4).hex().encode() * 500:
        await _say(streams, bytes([byte]))
        await asyncio.sleep(0.05)


async def endless_head(streams: Streams, rng: random.Random) -> None:
    await _say(streams, _HEAD)
    for number in range(20_000):
        await _say(streams, b"X-%d: %s\r\n" % (number, rng.randbytes(8).hex().encode()))
        await asyncio.sleep(0)


async def endless_body(streams: Streams, _rng: random.Random) -> None:
    await _say(streams, _POST + b"Transfer-Encoding: chunked\r\n\r\n")
    for _ in range(20_000):
        await _say(streams, b"100\r\n" + bytes(256) + b"\r\n")
        await asyncio.sleep(0)


async def slow_body(streams: Streams, _rng: random.Random) -> None:
    await _say(streams, _POST + b"Content-Length: 500\r\n\r\n")
    for _ in range(500):
        await _say(streams, b" ")
        await asyncio.sleep(0.05)


async def huge_body(streams: Streams, _rng: random.Random) -> None:
    await _say(streams, _POST + b"Content-Length: 70000000\r\n\r\n")
    for _ in range(100):
        await _say(streams, bytes(65536))


async def broken_chunks(streams: Streams, rng: random.Random) -> None:
    size = rng.choice((b"zz", b"-5", b"ffffffffffffffff", b"5;" + b"x" * 20_000, b"", b"5\r5", b" 5"))
    await _say(streams, _POST + b"Transfer-Encoding: chunked\r\n\r\n" + size + b"\r\nhello\r\n0\r\n\r\n")


async def endless_trailers(streams: Streams, _rng: random.Random) -> None:
    await _say(streams, _POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n")
    for number in range(20_000):
        await _say(streams, b"X-%d: y\r\n" % number)
        await asyncio.sleep(0)


async def silent(_streams: Streams, _rng: random.Random) -> None:
    """Connects, says nothing."""


async def deaf(streams: Streams, rng: random.Random) -> None:
    """Asks for more than fits into every buffer, and reads nothing of it."""
    streams[1].transport.pause_reading()  # type: ignore[attr-defined]
    for _ in range(rng.randrange(20, 200)):
        await _say(streams, b"GET /v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")
    await asyncio.sleep(0.5)


async def greedy(streams: Streams, rng: random.Random) -> None:
    await _say(streams, _HEAD + b"\r\n")
    await _say(streams, (_HEAD + b"\r\n") * rng.randrange(50, 300))


async def follower(streams: Streams, rng: random.Random) -> None:
    await _say(streams, b"GET /v1/events?follow=true HTTP/1.1\r\nHost: x\r\n\r\n")
    await asyncio.sleep(rng.random() * 0.3)
    streams[1].transport.abort()


HOSTILE = (
    noise,
    malformed,
    bad_headers,
    bad_body,
    bad_query,
    truncated,
    cut_off,
    half_closed,
    slow_head,
    endless_head,
    endless_body,
    slow_body,
    huge_body,
    broken_chunks,
    endless_trailers,
    silent,
    deaf,
    greedy,
    follower,
)


class Gone(Exception):
    """The server has dropped this client."""


async def misbehave(connect: Connect, rng: random.Random, patience: float) -> str:
    """Be one hostile client; return its name. Raises AssertionError when held for over ``patience`` s."""
    kind = rng.choice(HOSTILE)
    try:
        async with asyncio.timeout(patience):
            try:
                streams = await connect()
            except OSError:
                return kind.__name__  # refused at the door
            try:
                await kind(streams, rng)
                while kind is not deaf and await streams[0].read(65536):
                    pass
            except (OSError, Gone):
                pass
            finally:
                streams[1].transport.abort()
    except TimeoutError:
        raise AssertionError(
            f"{kind.__name__} was neither answered nor dropped within {patience} s"
        ) from None
    return kind.__name__


async def _say(streams: Streams, data: bytes) -> None:
    if streams[1].transport.is_closing():
        raise Gone
    streams[1].write(data)
    async with asyncio.timeout(3):
        await streams[1].drain()


def connecting(address: str) -> Connect:
    """Return what connects to ``address``, a path or a loopback port."""
    if address.isdecimal():
        return lambda: asyncio.open_connection("127.0.0.1", int(address))
    return lambda: asyncio.open_unix_connection(address)


async def crowd(
    count: int, seed: int, addresses: list[str], at_once: int = 40, patience: float = 60
) -> Counter[str]:
    """Be ``count`` hostile clients, ``at_once`` at a time."""
    rng = random.Random(seed)
    kinds: Counter[str] = Counter()
    left = count

    async def attack(own: random.Random) -> None:
        nonlocal left
        while left > 0:
            left -= 1
            kinds[await misbehave(connecting(own.choice(addresses)), own, patience)] += 1

    await asyncio.gather(*(attack(random.Random(rng.random())) for _ in range(at_once)))
    return kinds


if __name__ == "__main__":
    found = asyncio.run(crowd(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
    sys.stdout.write(json.dumps(found))
