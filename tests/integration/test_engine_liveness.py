"""Verdicts on a real llama.cpp server: hung once it is stopped amid a generation, never while it works."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from aiidpd.components.containers.usage.reader import Target, UseReader
from aiidpd.components.engines.liveness.decide import begin, step
from aiidpd.components.engines.liveness.history import EngineHistory
from aiidpd.components.engines.liveness.observation import Observation
from aiidpd.components.engines.settings import LivenessSettings
from aiidpd.contracts.containers import ContainerSummary, ContainerUse
from aiidpd.contracts.engines import EngineState, Residency, Verdict
from tests.fakes import llama
from tests.fakes.llama_container import LlamaContainers
from tests.fakes.shared_servers import shared_llama
from tests.forms import LONG
from tests.tables import made
from tests.waiting import PATIENCE, Stopwatch, until

pytestmark = pytest.mark.real("llama")
SHAPE = {"layers": 12, "width": 512}  # some seconds for a whole context
LONGEST = 3 * PATIENCE
QUICK = made(LivenessSettings, minimum_quiet=5.0, maximum_quiet=6.0)


server = shared_llama(**SHAPE)


class Page:
    """Reads the server's page in a thread, one request at a time, and never cuts one off."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/metrics"
        self._state = EngineState("llama", "tiny", simulated=False, container="c" * 64)
        self._sent: float | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)
        self._thread.start()

    def state(self) -> EngineState:
        """Return the last answer, and since when one is awaited."""
        return replace(self._state, pending_since=self._sent)

    def close(self) -> None:
        self._ended.set()
        self._thread.join(PATIENCE)

    def _poll(self) -> None:
        while not self._ended.wait(1.0):
            self._sent = time.monotonic()
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(self._url, timeout=PATIENCE * 3) as answer,
            ):
                figures = dict(
                    line.split(" ", 1)
                    for line in answer.read().decode().splitlines()
                    if line and line[0] != "#"
                )
                self._state = EngineState(
                    "llama",
                    "tiny",
                    simulated=False,
                    container="c" * 64,
                    engine="llama.cpp",
                    residency=Residency.LOADED,
                    requests_running=int(float(figures["llamacpp:requests_processing"])),
                    requests_waiting=int(float(figures["llamacpp:requests_deferred"])),
                    steps=int(float(figures["llamacpp:n_decode_total"])),
                    read_at=time.time(),
                    read=time.monotonic(),
                )
            self._sent = None


class Clients:
    """Request whole contexts of text, one after the other, until closed."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/completion"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ended.set()

    def _ask(self) -> None:
        body = json.dumps({"prompt": "a" * 50, "n_predict": llama.CONTEXT - 200, "stream": True}).encode()
        headers = {"Content-Type": "application/json"}
        while not self._ended.is_set():
            request = urllib.request.Request(self._url, body, headers)
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(request, timeout=LONGEST) as answer,
            ):
                for _ in answer:
                    if self._ended.is_set():
                        break


def of_process(server: llama.LlamaServer) -> Callable[[float], ContainerUse]:
    """Return what reads the use by the server's process."""
    assert server.process is not None
    pid, reader = server.process.pid, UseReader()
    return lambda now: reader.processes("c" * 64, [pid], now)


@contextlib.contextmanager
def watched(
    url: str, read: Callable[[float], ContainerUse]
) -> Iterator[Callable[[LivenessSettings], Verdict]]:
    """Yield what observes the server at ``url`` once and returns the verdict; ``read`` gives its use."""
    began = time.time()
    page = Page(url)
    container = ContainerSummary(
        "c" * 64, "llama", "llama", "running", None, gpu=False, running=True, started_at=began - 60.0
    )
    state = None
    use = read(time.monotonic())

    def verdict(settings: LivenessSettings) -> Verdict:
        nonlocal state, use
        now = time.monotonic()
        if now - use.read >= 2.0:
            use = read(now)
        seen = Observation(now, time.time(), page.state(), container, use, None, wants_gpu=False)
        state, outcome = step(begin(EngineHistory(), seen) if state is None else state, seen, settings)
        if outcome.changed:
            print(f"{outcome.decision.verdict}: {outcome.decision.reason}")  # noqa: T201 -- pytest -s shows it
        return outcome.decision.verdict

    try:
        yield verdict
    finally:
        page.close()


@pytest.mark.parametrize(
    "settings",
    [pytest.param(QUICK, id="quick"), pytest.param(LivenessSettings(), id="by default", marks=LONG)],
)
def test_a_server_that_is_stopped_amid_a_generation_is_hung_in_time_and_then_well_again(
    server: llama.LlamaServer, settings: LivenessSettings
) -> None:
    assert server.process is not None
    stopped_amid_a_generation(server.url, server.process.pid, of_process(server), settings)


def stopped_amid_a_generation(
    url: str, pid: int, read: Callable[[float], ContainerUse], settings: LivenessSettings
) -> None:
    """Stop the server ``pid`` while it generates, and see that it is hung in time, and well again after."""
    clients = Clients(url)
    with watched(url, read) as verdict:
        until(lambda: verdict(settings) is Verdict.WORKING)
        end = time.monotonic() + settings.maximum_quiet + 4.0
        while time.monotonic() < end:
            assert verdict(settings) is not Verdict.HUNG
            time.sleep(0.5)
        os.kill(pid, signal.SIGSTOP)
        try:
            stopwatch = Stopwatch()
            until(lambda: verdict(settings) is Verdict.HUNG)
            took = stopwatch.seconds
            print(f"stopped to hung: {took:.1f} s")  # noqa: T201 -- the figure is of interest
        finally:
            clients.close()
            os.kill(pid, signal.SIGCONT)
        until(lambda: verdict(settings) in (Verdict.WORKING, Verdict.IDLE))
    assert stopwatch.within(settings.maximum_quiet + 6.0, took)


@pytest.mark.real("docker")
def test_the_same_in_a_container_by_its_control_group(llama_containers: LlamaContainers) -> None:
    one = llama_containers.run("llama", "--ctx-size", str(llama.CONTEXT))
    identity, pid, reader = one.id, one.pid, UseReader()

    def read(now: float) -> ContainerUse:
        found = reader.read([Target(identity, pid)], now)
        assert found, identity
        return found[identity].use

    stopped_amid_a_generation(one.url, pid, read, QUICK)


@pytest.mark.parametrize("seconds", [pytest.param(20, id="short"), pytest.param(150, id="long", marks=LONG)])
def test_a_long_generation_is_work(server: llama.LlamaServer, seconds: int) -> None:
    clients = Clients(server.url)
    seen = set()
    try:
        with watched(server.url, of_process(server)) as verdict:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                seen.add(verdict(QUICK))
                time.sleep(0.5)
    finally:
        clients.close()
    assert Verdict.HUNG not in seen
    assert Verdict.WORKING in seen
