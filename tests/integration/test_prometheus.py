"""A real Prometheus scrapes the daemon as etc/prometheus tells it to, and finds what every worker knows."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.daemon import SIMULATED_TASKS, TASKS, Daemon, running
from tests.ports import free_port
from tests.waiting import PATIENCE, until

pytestmark = [pytest.mark.real("prometheus")]

SHIPPED = Path(__file__).resolve().parents[2] / "etc" / "prometheus" / "prometheus.yml"
# One a worker that only a finished piece of its work gives.
SERIES = {
    "aiidpd_gpu_temperature_celsius": 2,
    "aiidpd_container_state": 3,
    "aiidpd_backup_last_success_timestamp_seconds": 1,
    "aiidpd_bench_output_tokens_per_second": 1,
}


class Prometheus:
    """A running Prometheus."""

    def __init__(self, port: int) -> None:
        self._base = f"http://127.0.0.1:{port}"

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self._base}/-/ready", timeout=PATIENCE) as response:
                return int(response.status) == 200
        except OSError:
            return False

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return what an instant query finds: one entry a series, with its labels and its value."""
        asked = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"{self._base}/api/v1/query?{asked}", timeout=PATIENCE) as response:
            answer = json.load(response)
        assert answer["status"] == "success", answer
        return list(answer["data"]["result"])

    def until(self, expression: str, series: int, seconds: float = PATIENCE) -> list[dict[str, Any]]:
        """Ask until so many series come back, in real time: it is Prometheus that scrapes."""
        deadline = time.monotonic() + seconds
        while len(found := self.query(expression)) != series:
            assert time.monotonic() < deadline, f"{expression}: {found}"
            time.sleep(0.2)
        return found


def program(name: str, missing: Callable[[str, str], None]) -> str:
    path = shutil.which(name)
    if path is None:
        missing(name, "apt-get install prometheus")
    assert path is not None
    return path


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running(tmp_path_factory.mktemp("daemon")) as found:
        found.wait_until_up()
        yield found


@pytest.fixture(scope="module")
def prometheus(
    daemon: Daemon, missing: Callable[[str, str], None], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """Run a Prometheus on the shipped configuration, with this daemon's port and a shorter interval."""
    binary = program("prometheus", missing)
    folder = tmp_path_factory.mktemp("prometheus")
    port = free_port()
    text = SHIPPED.read_text().replace("127.0.0.1:9753", f"127.0.0.1:{daemon.port}")
    text = text.replace("127.0.0.1:9090", f"127.0.0.1:{port}").replace("_interval: 15s", "_interval: 1s")
    config = folder / "prometheus.yml"
    config.write_text(text.replace("_timeout: 5s", "_timeout: 1s"))
    command = [binary, f"--config.file={config}", f"--storage.tsdb.path={folder}/data"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log, cwd=folder
        )
    try:
        found = Prometheus(port)
        until(lambda: found.ready() or process.poll() is not None, why=(folder / "log").read_text)
        assert process.poll() is None, (folder / "log").read_text()
        yield found
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.mark.parametrize(("name", "count"), SERIES.items())
def test_a_query_finds_what_each_worker_knows(prometheus: Prometheus, name: str, count: int) -> None:
    found = prometheus.until(name, count)
    assert {each["metric"]["job"] for each in found} == {"aiidpd"}


def test_a_query_finds_every_worker_up_and_simulated(prometheus: Prometheus) -> None:
    up = prometheus.until("aiidpd_worker_up == 1", len(TASKS))
    assert {each["metric"]["worker"] for each in up} == TASKS
    # Files are real, so what writes them is not simulated; the others are, and say so.
    simulated = prometheus.until("aiidpd_worker_simulated == 1", len(SIMULATED_TASKS))
    assert {each["metric"]["worker"] for each in simulated} == SIMULATED_TASKS


def test_curves_move_and_scrapes_are_quick(prometheus: Prometheus) -> None:
    prometheus.until("count_over_time(aiidpd_gpu_temperature_celsius[1m]) >= 3", 2)
    # A scrape that waits for a device would be slow each time; one may be on a busy machine.
    (took,) = prometheus.until('min_over_time(scrape_duration_seconds{job="aiidpd"}[1m])', 1)
    assert float(took["value"][1]) < 1


def test_promtool_finds_no_fault_in_the_exposition(
    daemon: Daemon, missing: Callable[[str, str], None]
) -> None:
    text = daemon.wait_for(*SERIES)
    done = subprocess.run(
        [program("promtool", missing), "check", "metrics"],
        check=False,
        input=text,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_promtool_finds_no_fault_in_the_shipped_configuration(missing: Callable[[str, str], None]) -> None:
    command = [program("promtool", missing), "check", "config", str(SHIPPED)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
