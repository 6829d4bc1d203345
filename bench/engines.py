"""Load that polling puts on an inference engine: a real llama-server with and without it, by turns.

It needs llama-server: AIIDPD_LLAMA_SERVER names the one that ``.ci/llama`` prints.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio

from aiidpd.engines.figures import PollLoad
from aiidpd.engines.profile import Facts
from aiidpd.engines.reader import EngineReader
from bench.harness import cpu_seconds, report
from tests.fakes import llama

INTERVALS = {"not polled": None, "polled each 5 s": 5.0, "polled 50 times as often": 0.1}
ROUNDS = 8
SECONDS = 10.0
TOKENS = 100
MOST_RATIO = 1.02  # of the processor's time for a token without polls; of the wall, others take their share


@dataclass
class Round:
    """One turn: the processor's seconds a minute, tokens a second, and the load a minute."""

    cpu: float
    speed: float
    requests: float
    bytes: float

    @property
    def per_token(self) -> float:
        """Seconds of the processor for a token."""
        return self.cpu / 60 / self.speed


@contextmanager
def user(url: str) -> Iterator[list[int]]:
    """Have somebody generate again and again; yield the tokens of each answer."""
    document = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": TOKENS}
    stop, tokens = threading.Event(), list[int]()

    def work() -> None:
        while not stop.is_set():
            request = urllib.request.Request(
                f"{url}/v1/chat/completions",
                json.dumps(document).encode(),
                {"Content-Type": "application/json"},
            )
            with urllib.request.urlopen(request) as answer:
                tokens.append(json.load(answer)["usage"]["completion_tokens"])

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield tokens
    finally:
        stop.set()
        thread.join()


async def poll(url: str, interval: float | None, seconds: float) -> PollLoad:
    """Poll for ``seconds`` as the daemon does; return the load that it was."""
    reader = EngineReader("llama", url, facts=Facts(may_sleep=False))
    with anyio.move_on_after(seconds):
        while interval is not None:
            await reader.read()
            await anyio.sleep(interval)
        await anyio.sleep_forever()
    await reader.aclose()
    return reader.load


def turn(server: llama.LlamaServer, interval: float | None, *, busy: bool) -> Round:
    """Measure for a while."""
    if busy:
        with user(server.url) as tokens:
            return _measured(server, interval, tokens)
    return _measured(server, interval, [])


def _measured(server: llama.LlamaServer, interval: float | None, tokens: list[int]) -> Round:
    began, cpu, done = time.monotonic(), cpu_seconds([server.pid]), sum(tokens)
    load = anyio.run(poll, server.url, interval, SECONDS)
    elapsed = time.monotonic() - began
    minutes = elapsed / 60
    return Round(
        (cpu_seconds([server.pid]) - cpu) / minutes,
        (sum(tokens) - done) / elapsed,
        load.requests / minutes,
        load.bytes / minutes,
    )


def main() -> None:
    """Take turns, so that what else the machine does meanwhile falls on all alike."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    with (
        tempfile.TemporaryDirectory(prefix="aiidpd-bench-") as folder,
        llama.running(Path(folder), layers=8, width=256) as server,
    ):
        for busy in (False, True):
            if not busy:
                turn(server, None, busy=True)  # warm up
            found: dict[str, list[Round]] = {name: [] for name in INTERVALS}
            for _ in range(rounds if busy else 2):
                for name, interval in INTERVALS.items():
                    found[name].append(turn(server, interval, busy=busy))
            _report(found, busy=busy)


def _report(found: dict[str, list[Round]], *, busy: bool) -> None:
    state = "busy" if busy else "idle"
    alone = found["not polled"]
    for name, rounds in found.items():
        print(
            f"{state}, {name}: {statistics.median(each.requests for each in rounds):.1f} requests and "
            f"{statistics.median(each.bytes for each in rounds) / 1024:.1f} KiB a minute, "
            f"{statistics.median(each.cpu for each in rounds):.3f} s of the processor a minute, "
            f"{statistics.median(each.speed for each in rounds):.1f} tokens/s"
        )
    if busy:
        figures: dict[str, tuple[float, float | None]] = {}
        for name, rounds in found.items():
            if name != "not polled":
                pairs = list(zip(rounds, alone, strict=True))
                limit = MOST_RATIO if "5 s" in name else None
                costs = statistics.median(each.per_token / other.per_token for each, other in pairs)
                speeds = statistics.median(each.speed / other.speed for each, other in pairs)
                figures[f"time a token, {name}"] = (costs, limit)
                figures[f"speed, {name}"] = (speeds, None)
        report("engines", "of that without polls", figures)


if __name__ == "__main__":
    main()
