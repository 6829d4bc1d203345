"""Figures of a real engine through the whole daemon: API, incident, and the energy of a token."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from aiidpd.api.client import ControlClient
from aiidpd.components.bench.warmth import WARM_UP_TOKENS
from tests.daemon import Daemon, running
from tests.fakes import llama
from tests.waiting import PATIENCE, until

pytestmark = pytest.mark.real("llama")

SETTINGS = {
    "AIIDPD_BENCH__INTERVAL": "7d",  # one probe, at the start
    "AIIDPD_ENGINES__INTERVAL": "1s",
}
TOKENS = 500


class Users:
    """Two who ask again and again until told to stop, so that always one has asked.

    ``generated`` is what they got, in tokens.
    """

    def __init__(self, url: str) -> None:
        self._url = f"{url}/v1/chat/completions"
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(2)]
        self._got: list[int] = []

    @property
    def generated(self) -> int:
        return sum(self._got)

    def _ask(self) -> None:
        while not self._stop.is_set():
            document = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": TOKENS}
            request = urllib.request.Request(
                self._url, json.dumps(document).encode(), {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                self._got.append(json.load(answer)["usage"]["completion_tokens"])

    @contextmanager
    def at_work(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join(PATIENCE)
        assert not any(thread.is_alive() for thread in self._threads)


@pytest.fixture
def server(tmp_path: Path, missing: Callable[[str, str], None]) -> Iterator[llama.LlamaServer]:
    if llama.find_server() is None:
        missing("llama-server", llama.HOW_TO_GET)
    with llama.running(tmp_path, layers=8, width=256) as served:
        yield served


def get(daemon: Daemon, path: str) -> Any:
    with ControlClient(str(daemon.folder / "run" / "control.sock")) as client:
        return client.get(path)


def shown(daemon: Daemon, *command: str) -> str:
    socket = str(daemon.folder / "run" / "control.sock")
    whole = [sys.executable, "-m", "aiidpd.cli.main", "--socket", socket, *command]
    return subprocess.run(whole, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout


def engine(daemon: Daemon) -> Any:
    (endpoint,) = get(daemon, "/v1/bench/results")["endpoints"]
    return endpoint["engine"] or {}


def token_energy(daemon: Daemon) -> Any:
    """Return the energy of a token by the engine's own count, None where there is none yet."""
    tokens = get(daemon, "/v1/gpus/energy")["tokens"]
    return next((each for each in tokens if each["counted_by"] == "engine"), None)


def make_too_hot(daemon: Daemon) -> None:
    """Let the simulated GPUs' temperature be critical, so that an incident begins."""
    config = daemon.folder / "aiidpd.toml"
    limits = "[gpu]\nwarning_celsius = 10\ncritical_celsius = 11\n"
    config.write_text(config.read_text().replace("[gpu]\n", limits))
    shown(daemon, "reload")


def test_requests_and_tokens_of_a_real_engine(server: llama.LlamaServer, tmp_path: Path) -> None:
    endpoint = f'[{{name = "llama", url = "{server.url}", model = "tiny"}}]'
    users = Users(server.url)

    def log() -> str:
        return (tmp_path / "log").read_text()[-3000:]

    with running(tmp_path, SETTINGS | {"AIIDPD_BENCH__ENDPOINTS": endpoint}) as daemon:
        daemon.wait_for(
            "aiidpd_bench_engine_requests_running",
            "aiidpd_bench_ttft_seconds",
            "aiidpd_gpu_energy_joules_total",
        )
        with users.at_work():
            until(lambda: engine(daemon).get("requests_running") and users.generated, why=log)
            make_too_hot(daemon)
            until(lambda: get(daemon, "/v1/incidents")["incidents"], why=log)
            until(lambda: token_energy(daemon), why=log)
        (measured,) = get(daemon, "/v1/bench/results")["endpoints"]
        generated = users.generated + measured["sample"]["output_tokens"] + WARM_UP_TOKENS
        until(lambda: engine(daemon).get("generated_tokens") == generated, why=log)
        told = engine(daemon)
        assert (told["engine"], told["requests_running"], told["requests_waiting"]) == ("llama.cpp", 0, 0)
        assert f"{told['generated_tokens']} tokens generated" in shown(daemon, "bench", "list")

        identity = get(daemon, "/v1/incidents")["incidents"][0]["id"]
        incident = get(daemon, f"/v1/incidents/{identity}")
        assert incident["requests"]["running"] + incident["requests"]["waiting"] >= 1
        (asked,) = incident["requests"]["endpoints"]
        assert asked["read_at"] <= incident["started_at"] + 0.1
        assert {row[1] for row in incident["requests_track"]["data"]} == {"llama"}
        assert max(row[2] for row in incident["requests_track"]["data"]) >= 1
        text = shown(daemon, "incidents", "show", identity)
        assert "running" in text.partition("Requests that ran")[2]
        assert "requests that llama ran" in text

        until(lambda: token_energy(daemon), why=log)
        token = token_energy(daemon)
        assert token["source"] == "llama"
        low, high = token["low_joules_per_token"], token["high_joules_per_token"]
        assert 0 < low <= token["joules_per_token"] <= high
        assert token["with_idle_joules_per_token"] >= token["joules_per_token"]
        assert token["cost_per_million_tokens"] > 0
        assert token["simulated"]  # the GPUs are made up, though the tokens are not
        assert '{counted_by="engine",endpoint="llama"}' in daemon.exposition()
        assert "by the engine in the last hour" in shown(daemon, "gpu", "energy")


def test_an_engine_without_its_page_is_no_fault(server: llama.LlamaServer, tmp_path: Path) -> None:
    server.stop()
    server.metrics = server.slots = False
    server.start()
    endpoint = f'[{{name = "llama", url = "{server.url}", model = "tiny"}}]'
    with running(tmp_path, SETTINGS | {"AIIDPD_BENCH__ENDPOINTS": endpoint}) as daemon:
        daemon.wait_for("aiidpd_bench_ttft_seconds")
        until(lambda: engine(daemon).get("reason"))
        assert "start llama-server with --metrics" in engine(daemon)["reason"]
        assert engine(daemon)["residency"] == "loaded"
        assert engine(daemon)["requests_running"] is None
        assert "engine not known" in shown(daemon, "bench", "list")
        status = get(daemon, "/v1/status")
        assert next(each for each in status["workers"] if each["name"] == "bench")["up"]
        assert "start llama-server" not in (tmp_path / "log").read_text()
        assert "aiidpd_bench_engine_requests" not in daemon.exposition()


def test_an_engine_that_sleeps_is_left_asleep_by_the_whole_daemon(
    tmp_path: Path, missing: Callable[[str, str], None]
) -> None:
    if llama.find_server() is None:
        missing("llama-server", llama.HOW_TO_GET)
    often = {"AIIDPD_BENCH__INTERVAL": "100ms", "AIIDPD_ENGINES__INTERVAL": "1s"}
    with llama.running(tmp_path, "--sleep-idle-seconds", "2") as server:
        endpoint = f'[{{name = "llama", url = "{server.url}", model = "tiny"}}]'
        with running(tmp_path, often | {"AIIDPD_BENCH__ENDPOINTS": endpoint}) as daemon:
            daemon.wait_for("aiidpd_engine_residency")
            until(lambda: engine(daemon).get("residency") == "sleeping")
            polls = get(daemon, "/v1/engines")["engines"][0]["polls"]["requests"]
            until(lambda: get(daemon, "/v1/engines")["engines"][0]["polls"]["requests"] >= polls + 5)
            assert (server.sleeps, server.wakes) == (1, 0)
            (endpoint,) = get(daemon, "/v1/bench/results")["endpoints"]
            assert (endpoint["left_out"], endpoint["probes"]) == ("its model is asleep", 0)
            assert "left out: its model is asleep" in shown(daemon, "bench", "list")
            assert "sleeping" in shown(daemon, "engines", "list")
            assert "nothing that counts as use" in shown(daemon, "engines", "show", "llama")
            page = daemon.exposition()
            assert 'aiidpd_engine_residency{engine="llama",residency="sleeping"} 1' in page
            assert 'aiidpd_engine_may_sleep{engine="llama"} 1' in page
            shown(daemon, "bench", "run")
            assert server.wakes == 1
