"""Locust itself with our workloads and timing core, alone and with two workers."""

from __future__ import annotations

import csv
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes import tokens
from tests.fakes.shared_servers import shared_tokens
from tests.ports import free_port
from tests.waiting import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
HOW_TO_GET = "make locust, or name its program in AIIDPD_LOCUST"
ATTEMPTS = 4
CODES = (0, 1)
"""Exit codes of Locust: 1 is of requests that failed, and of a process that was late."""

pytestmark = [pytest.mark.real("locust"), pytest.mark.real("gcc")]


@pytest.fixture(scope="module")
def locust(missing: Callable[[str, str], None]) -> Path:
    named = os.environ.get("AIIDPD_LOCUST")
    found = Path(named) if named else Path(sys.prefix) / "load/bin/locust"
    if not found.exists():
        missing("locust", HOW_TO_GET)
    return found


truth = shared_tokens()


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV"))}


def command(locust: Path, url: str, *more: str) -> list[str]:
    words = ["-f", str(ROOT / "bench/locustfile.py"), "--headless", "--only-summary", "--model", "m"]
    return [str(locust), *words, "--host", url, "-u", "4", "-r", "4", "-t", "5s", *more]


def rows(folder: Path) -> dict[str, dict[str, str]]:
    """Return the row of each type of request."""
    with (folder / "found_stats.csv").open() as file:
        return {each["Type"]: each for each in csv.DictReader(file)}


def percentiles(folder: Path, kind: str) -> tuple[float, float]:
    row = rows(folder)[kind]
    return float(row["50%"]), float(row["95%"])


def test_first_tokens_and_gaps_are_those_of_the_server(
    locust: Path, truth: tokens.TokenServer, tmp_path: Path
):
    url = truth.url(first=0.2, gap=0.03, tokens=32)
    for _ in range(ATTEMPTS):
        truth.answers()
        words = command(locust, url, "--workload", "batch", "--csv", str(tmp_path / "found"))
        ran = subprocess.run(
            words, env=environment(), capture_output=True, text=True, timeout=4 * PATIENCE, check=False
        )
        assert ran.returncode in CODES, ran.stderr
        log = [each for each in truth.answers() if len(each.sent) == 32]
        first = statistics.median(each.sent[0] - each.received for each in log) * 1e3
        ttft, gap, tpot = (percentiles(tmp_path, kind)[0] for kind in ("ttft", "gap", "tpot"))
        if abs(ttft - first) <= 10 and abs(gap - 30) <= 1 and abs(tpot - 30) <= 1:
            break  # Locust rounds to two figures
    assert abs(ttft - first) <= 10
    assert abs(gap - 30) <= 1
    assert abs(tpot - 30) <= 1
    found = rows(tmp_path)
    assert int(found["POST"]["Request Count"]) >= 8
    assert int(found["gap"]["Request Count"]) == 31 * int(found["POST"]["Request Count"])
    assert found["POST"]["Failure Count"] == "0"


def test_a_master_with_two_workers_has_the_figures_of_both(
    locust: Path, truth: tokens.TokenServer, tmp_path: Path
):
    url = truth.url(first=0.2, gap=0.03, tokens=32)
    truth.answers()
    port = str(free_port())
    options = ("--workload", "chat", "--csv", str(tmp_path / "found"))
    master = command(locust, url, *options, "--master", "--expect-workers", "2", "--master-bind-port", port)
    worker = [str(locust), "-f", str(ROOT / "bench/locustfile.py"), "--worker", "--master-port", port]
    started = [
        subprocess.Popen(words, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for words in (master, worker, worker)
    ]
    try:
        outputs = [each.communicate(timeout=4 * PATIENCE) for each in started]
    finally:
        for each in started:
            each.kill()
            each.communicate()
    assert started[0].returncode in CODES, outputs
    assert "2 workers connected" in outputs[0][1]
    found = rows(tmp_path)
    # The workers have the options of the master, and its list of workloads.
    assert found["POST"]["Name"] == "chat: turn"
    answered = [each for each in truth.answers() if len(each.sent) == 32]
    assert int(found["ttft"]["Request Count"]) <= len(answered)
    assert int(found["ttft"]["Request Count"]) >= 2
    assert 195 <= percentiles(tmp_path, "ttft")[0] <= 300


def test_a_server_that_is_not_there_is_a_failure_with_its_label(locust: Path, tmp_path: Path):
    url = f"http://127.0.0.1:{free_port()}"
    words = command(locust, url, "--workload", "batch", "--csv", str(tmp_path / "found"), "-t", "3s")
    ran = subprocess.run(
        words, env=environment(), capture_output=True, text=True, timeout=4 * PATIENCE, check=False
    )
    assert ran.returncode == 1
    assert "unreachable: connection refused" in (tmp_path / "found_failures.csv").read_text()


def test_a_workload_that_there_is_not_is_refused_with_those_there_are(locust: Path):
    words = command(locust, "http://127.0.0.1:1", "--workload", "absent")
    ran = subprocess.run(
        words, env=environment(), capture_output=True, text=True, timeout=4 * PATIENCE, check=False
    )
    assert ran.returncode == 2
    assert "soak" in ran.stderr
