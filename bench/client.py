"""Error of our clocks: TTFT and gaps of a probe beside a bare socket's, and of many streams at once.

The server (C, a process of its own) notes the moment before it writes each token. A client's error in TTFT is
its own TTFT less the server's, its lateness at a token that of its time for the token. Tokens that the client
itself marks as late count all the same; beside them stand their share, and the lateness of the others.
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
from aiidpd.engines.stream import StreamRequest
from aiidpd.engines.streams import Streams
from aiidpd.engines.target import ProbeRequest
from bench.harness import percentile, report
from tests.fakes import tokens

ROUNDS = 20
FIRST, GAP, TOKENS = 0.05, 0.008, 64
BUSY = 0.004  # seconds for which another task of the same loop computes, each 25 ms
LIMIT_MS = 1.0  # later than a bare socket
STREAMS = {
    1: (0.5, 1.0),
    64: (0.99, 1.0),
    256: (0.95, 5.0),
    512: (0.95, 5.0),
}  # which percentile within which ms
STREAM_GAP = 0.02


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


def streamed(server: tokens.TokenServer, count: int, rounds: int) -> tuple[Client, list[float], float, int]:
    """Return the errors of ``count`` streams, lateness not marked, CPU a stream in ms, those on the wire."""
    client, cpu, sure = Client(), 0.0, list[float]()
    least = count
    for _ in range(rounds):
        parts = urlsplit(server.url(first=0.2, gap=STREAM_GAP, tokens=TOKENS))
        head = f"POST {parts.path}/v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        content = f"{head}Content-Length: 1000\r\n\r\n{'x' * 1000}".encode()
        run = Streams(("127.0.0.1", server.port), [StreamRequest(content, TOKENS)] * count).run(60)
        truth = {each.port: each for each in server.answers()}
        for each in run.streams:
            if each.timeline is None:
                sys.exit(f"a stream failed: {each.reason}")
            chunks = each.timeline.chunks
            sent = truth[each.port].sent
            client.add(each.timeline.started, [chunk.at for chunk in chunks], truth[each.port])
            sure += [(chunk.at - at) * 1e3 for chunk, at in zip(chunks, sent, strict=True) if not chunk.late]
        cpu += run.cpu_seconds * 1e3 / count / rounds
        least = min(least, run.on_wire)
    return client, sure, cpu, least


def report_streams(server: tokens.TokenServer, rounds: int) -> None:
    """Print the errors of many streams at once."""
    for count, (share, limit) in STREAMS.items():
        client, sure, cpu, wire = streamed(server, count, rounds)
        marked = 1 - len(sure) / len(client.late)
        figures: dict[str, tuple[float, float | None]] = {}
        for figure in ("ttft", "gaps", "late"):
            for at in (0.5, 0.95, 0.99):
                value = percentile(getattr(client, figure), at)
                figures[f"{figure}, p{at * 100:.0f}"] = (value, limit if at == share else None)
        figures["late and not marked, p99"] = (percentile(sure, 0.99), LIMIT_MS)
        report(f"{count} streams", "ms", figures)
        report(
            f"{count} streams",
            "",
            {"on the wire": (wire, float(count)), "marked late, share": (marked, None)},
        )
        report(f"{count} streams", "ms of a core a stream", {"cpu": (cpu, None)})


def report_probe(found: Mapping[str, Client]) -> None:
    """Print the errors of one stream at a time."""
    for figure in ("ttft", "gaps", "late"):
        figures: dict[str, tuple[float, float | None]] = {}
        for name, client in found.items():
            for share in (0.5, 0.95, 0.99):
                value = percentile(getattr(client, figure), share)
                least = percentile(getattr(found["socket"], figure), share)
                limit = None if name == "socket" else least + LIMIT_MS
                figures[f"{name}, p{share * 100:.0f}"] = (value, limit)
        report(f"client {figure}", "ms", figures)


def main() -> None:
    """Print percentiles of the errors in ms; the limits are those of the bare socket and one millisecond."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    with tempfile.TemporaryDirectory(prefix="aiidpd-bench-") as folder:
        program = tokens.build(Path(folder))
        if program is None:
            sys.exit(f"the server needs gcc: {tokens.HOW_TO_GET}")
        with tokens.running(program) as server:
            found = measure(server, rounds)
            report_probe(found)
            report_streams(server, max(1, rounds // 5))


if __name__ == "__main__":
    main()
