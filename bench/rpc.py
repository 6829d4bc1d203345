"""A token of a real llama-server with its layers behind one hop of llama.cpp's RPC, beside the same without.

    python -m bench.rpc [--rounds 10]

All on loopback, whose round trip and bandwidth are measured first and go into the estimate. A longer way is
a relay that hands on each byte later (tests/fakes/slow_wire.py); at the end it says whether the kernel has
netem.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import anyio

from aiidpd.components.bench.stats import measure
from aiidpd.engines.openai import OpenAITarget
from aiidpd.engines.target import ProbeRequest
from aiidpd.physics.network import SOFTWARE_SECONDS, Link, hop
from tests.fakes import llama, llama_rpc
from tests.fakes.slow_wire import slow_wire

ROUNDS, TOKENS, WIDTH = 10, 64, 256
WAYS_MS = (0.0, 0.5, 1.5, 3.0, 4.0)  # one way; there and back 0 to 8, as USB4 is claimed to be 3 to 8
_PINGS = 2000
_BULK = 256 << 20
_NETEM = "ip link set lo up && tc qdisc add dev lo root netem delay 1ms"


def loopback() -> tuple[float, float]:
    """Return the seconds of one way of a small message, and bytes a second of many, between two threads."""

    def answer(listener: socket.socket) -> None:
        with listener.accept()[0] as peer:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for _ in range(_PINGS):
                peer.sendall(peer.recv(1))
            left = _BULK
            while left > 0:
                left -= len(peer.recv(1 << 20))
            peer.sendall(b".")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()
        with socket.create_connection(listener.getsockname()) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            trips = []
            for _ in range(_PINGS):
                before = time.monotonic()
                client.sendall(b".")
                client.recv(1)
                trips.append(time.monotonic() - before)
            before = time.monotonic()
            client.sendall(bytes(_BULK))
            client.recv(1)
            bulk = time.monotonic() - before
        thread.join()
    return statistics.median(trips) / 2, _BULK / bulk


async def probed(url: str, number: int) -> tuple[float | None, float | None]:
    """Return the seconds of a token by our clock and by the engine's, as far as either says."""
    target = OpenAITarget("bench", url, "tiny")
    sample = measure(await target.probe(ProbeRequest(f"{number} and so on", TOKENS, 60, 120)))
    await target.aclose()
    return sample.time_per_output_token_seconds, sample.engine.time_between_tokens if sample.engine else None


def netem() -> str:
    """Return why netem can't be used here, empty where it can."""
    try:
        command = ["unshare", "-n", "sh", "-c", _NETEM]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        return str(error)
    return done.stderr.strip() if done.returncode else ""


def report(name: str, found: list[float], base: float, one_way: float, link: Link) -> None:
    """Print a line: measured, added to the same without a hop, and what was estimated."""
    estimate = hop(
        Link(link.name, link.bandwidth, one_way + link.one_way_seconds, SOFTWARE_SECONDS, ""), WIDTH
    )
    pace = statistics.median(found)
    least, expected = estimate.least_seconds * 1e3, estimate.expected_seconds * 1e3
    added = (pace - base) * 1e3
    print(
        f"{name:<24} {pace * 1e3:8.3f} ms a token, {added:7.3f} added; at least {least:.3f}, expected "
        f"{expected:.3f}: {added / expected:.2f} of it",
        flush=True,
    )


def measured(rounds: int, link: Link, ways_ms: tuple[float, ...]) -> None:
    """Take turns between a server without a hop and one for each way, and print what was found."""
    with tempfile.TemporaryDirectory(prefix="aiidpd-bench-") as name, contextlib.ExitStack() as stack:
        urls = {"no hop": stack.enter_context(llama.running(Path(name), width=WIDTH)).url}
        ways = {"no hop": 0.0}
        for way in ways_ms:
            label = f"a hop, {way} ms each way" if way else "a hop, loopback alone"
            rpc = stack.enter_context(llama_rpc.rpc_server())
            port = stack.enter_context(slow_wire(rpc.port, way / 1e3)) if way else rpc.port
            options = ("--rpc", f"127.0.0.1:{port}", "--n-gpu-layers", "99")
            folder = Path(name) / label
            folder.mkdir()
            urls[label] = stack.enter_context(llama.running(folder, *options, width=WIDTH)).url
            ways[label] = way / 1e3
        ours: dict[str, list[float]] = {label: [] for label in urls}
        apart: list[float] = []
        for number in range(rounds):
            for label, url in urls.items():
                mine, theirs = anyio.run(probed, url, number)
                if theirs is not None:
                    ours[label].append(theirs)
                if mine is not None and theirs is not None:
                    apart.append(abs(mine - theirs) * 1e3)
        base = statistics.median(ours["no hop"])
        for label, found in ours.items():
            report(label, found, base, ways[label], link)
        apart.sort()
        print(
            f"our time of a token and the engine's, apart: p50 {statistics.median(apart):.4f} ms, p95 "
            f"{apart[int(0.95 * len(apart))]:.4f} ms, of {len(apart)} samples; target 0.1 ms"
        )


def main() -> None:
    """Print a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    if llama_rpc.find_rpc_server() is None:
        sys.exit(f"this needs ggml-rpc-server: {llama_rpc.HOW_TO_GET}")
    one_way, bandwidth = loopback()
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    print(f"loopback: {one_way * 1e6:.1f} us one way, {bandwidth / 1e9:.2f} GB/s")
    measured(options.rounds, Link("loopback", bandwidth, one_way, SOFTWARE_SECONDS, "measured"), WAYS_MS)
    print(f"netem: {netem() or 'the kernel has it'}")


if __name__ == "__main__":
    main()
