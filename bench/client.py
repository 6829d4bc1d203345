"""Error of the probe's clock: TTFT and gaps beside a bare socket client, by turns, on a server that knows.

The server (C, a process of its own) notes the moment before it writes each token. A client's error in TTFT is
its own TTFT less the server's, its lateness at a token that of its time for the token.
"""

from __future__ import annotations

import json
import socket
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import anyio

from aiidpd.engines.openai import OpenAITarget
from aiidpd.engines.target import ProbeRequest
from bench.harness import percentile, report
from tests.fakes import tokens

ROUNDS = 20
FIRST, GAP, TOKENS = 0.05, 0.008, 64
BUSY = 0.004  # seconds for which another task of the same loop computes, each 25 ms
LIMIT_MS = 1.0  # later than a bare socket


@dataclass
class Client:
    """Errors of one client, in milliseconds."""

    ttft: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)

    def add(self, started: float, arrivals: Sequence[float], truth: tokens.Answer) -> None:
        """Add one answer."""
        self.ttft.append(((arrivals[0] - started) - (truth.sent[0] - truth.received)) * 1e3)
        self.late += [(at - sent) * 1e3 for at, sent in zip(arrivals, truth.sent, strict=True)]
        for place in range(1, len(arrivals)):
            ours = arrivals[place] - arrivals[place - 1]
            self.gaps.append(abs(ours - (truth.sent[place] - truth.sent[place - 1])) * 1e3)


def bare(url: str) -> tuple[float, list[float]]:
    """Stream one answer over a socket; return when the request was sent and when each token came."""
    parts = urlsplit(url)
    body = json.dumps({"stream": True, "messages": [{"role": "user", "content": "x" * 1000}]})
    page = f"{parts.path}/v1/chat/completions"
    head = f"POST {page} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    arrivals: list[float] = []
    buffered = b""
    with socket.create_connection((str(parts.hostname), int(parts.port or 0))) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        started = time.monotonic()
        connection.sendall(f"{head}{body}".encode())
        while data := connection.recv(65536):
            at = time.monotonic()
            *lines, buffered = (buffered + data).split(b"\n")
            arrivals += [at for line in lines if b'"content":"tok' in line]
    return started, arrivals


async def probe(url: str) -> tuple[float, list[float]]:
    """Stream one answer as the daemon does."""
    target = OpenAITarget("bench", url, "any")
    timeline = await target.probe(ProbeRequest("x" * 1000, TOKENS, 30, 60))
    await target.aclose()
    return timeline.started, [chunk.at for chunk in timeline.chunks]


async def beside_others(url: str) -> tuple[float, list[float]]:
    """Stream one answer in a loop in which another task computes."""

    async def other() -> None:
        while True:
            until = time.monotonic() + BUSY
            while time.monotonic() < until:
                pass
            await anyio.sleep(0.025 - BUSY)

    async with anyio.create_task_group() as group:
        group.start_soon(other)
        found = await probe(url)
        group.cancel_scope.cancel()
    return found


def measure(server: tokens.TokenServer, rounds: int) -> Mapping[str, Client]:
    """Take turns, so that what else the machine does falls on all alike."""
    url = server.url(first=FIRST, gap=GAP, tokens=TOKENS)
    found = {name: Client() for name in ("socket", "probe", "probe, busy loop")}
    anyio.run(probe, url)  # imports
    server.answers()
    for _ in range(rounds):
        for name, client in found.items():
            if name == "socket":
                started, arrivals = bare(url)
            else:
                started, arrivals = anyio.run(probe if name == "probe" else beside_others, url)
            (truth,) = server.answers()
            client.add(started, arrivals, truth)
    return found


def main() -> None:
    """Print percentiles of the errors in ms; the limits are those of the bare socket and one millisecond."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    with tempfile.TemporaryDirectory(prefix="aiidpd-bench-") as folder:
        program = tokens.build(Path(folder))
        if program is None:
            sys.exit(f"the server needs gcc: {tokens.HOW_TO_GET}")
        with tokens.running(program) as server:
            found = measure(server, rounds)
    for figure in ("ttft", "gaps", "late"):
        figures: dict[str, tuple[float, float | None]] = {}
        for name, client in found.items():
            for share in (0.5, 0.95, 0.99):
                value = percentile(getattr(client, figure), share)
                least = percentile(getattr(found["socket"], figure), share)
                limit = None if name == "socket" else least + LIMIT_MS
                figures[f"{name}, p{share * 100:.0f}"] = (value, limit)
        report(f"client {figure}", "ms", figures)


if __name__ == "__main__":
    main()
