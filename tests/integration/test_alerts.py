"""Alerts on the whole daemon, with the real NVML child on the fake library: from the card to API and metrics.

Real time is spent on dwells of 2 s and on starting Python.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from aiidpd.api.client import ControlClient
from tests.daemon import Daemon, running
from tests.fakes.nvml import FakeNvml, gpu, uuid
from tests.waiting import PATIENCE, Stopwatch

DWELL = 2.0
LOST = 15
SETTINGS = {
    "AIIDPD_GPU__LIBRARY": "nvml",
    "AIIDPD_GPU__CALL_TIMEOUT": "30s",  # a machine that is slow is no driver that hangs
    "AIIDPD_GPU__ALERTS__WARNING_DWELL": "2s",
    "AIIDPD_GPU__OVERRIDES": '[{gpu = "1", warning_celsius = 70}]',
}


class House:
    def __init__(self, daemon: Daemon, nvml: FakeNvml) -> None:
        self.daemon = daemon
        self.nvml = nvml

    def get(self, path: str, **query: Any) -> Any:
        with ControlClient(str(self.daemon.folder / "run" / "control.sock")) as client:
            return client.get(path, **query)

    def alert(self, name: str, index: int = 0) -> dict[str, Any] | None:
        """Return the alert that fires under that name for that GPU."""
        alerts = self.get("/v1/alerts")["alerts"]
        mine = [each for each in alerts if each["name"] == name and each["subject"] == uuid(index)]
        return next((each for each in mine if each["stage"] == "firing"), None)

    def metric(self, name: str, *labels: str) -> float | None:
        """Return the value of the series that has ``labels`` in it."""
        for line in self.daemon.exposition().splitlines():
            if line.startswith(f"{name}{{") and all(label in line for label in labels):
                return float(line.rpartition(" ")[2])
        return None

    def found(self) -> list[str]:
        """Return what is found of GPUs: the simulated parts have troubles of their own."""
        codes = [condition["type"] for condition in self.get("/v1/status")["conditions"]]
        return [code for code in codes if code.startswith("Gpu")]

    def until(self, what: Callable[[], object]) -> None:
        """Wait until ``what`` is so."""
        waited = Stopwatch()
        while not what():
            assert waited.seconds < PATIENCE, (self.daemon.folder / "log").read_text()
            time.sleep(0.05)


@contextmanager
def watched(folder: Path, nvml: FakeNvml, **settings: str) -> Iterator[House]:
    nvml.install(gpu(0), gpu(1))
    with running(folder, nvml.env | SETTINGS | settings) as daemon:
        daemon.wait_for("aiidpd_gpu_temperature_celsius", "aiidpd_alert_firing")
        yield House(daemon, nvml)


@pytest.fixture
def house(tmp_path: Path, fake_nvml: FakeNvml) -> Iterator[House]:
    with watched(tmp_path, fake_nvml) as house:
        yield house


def test_a_hot_gpu_is_told_everywhere_and_so_is_its_end(house: House):
    assert house.get("/v1/alerts")["alerts"] == []
    assert house.metric("aiidpd_alert_firing", "GpuTemperatureWarning", uuid(0)) == 0

    since = Stopwatch()
    house.nvml.set({"0.temperature": 86})
    house.until(lambda: house.alert("GpuTemperatureWarning"))
    assert since.seconds >= DWELL - 0.1
    assert since.within(DWELL + 1.5)  # the dwell, a sample, and what asking costs
    assert house.metric("aiidpd_alert_firing", "GpuTemperatureWarning", uuid(0)) == 1
    alert = house.alert("GpuTemperatureWarning")
    assert alert is not None
    assert "is at 86 °C, and its warning limit is 85 °C" in alert["summary"]
    assert alert["runbook"] == "aiidpctl runbook GpuTemperatureWarning"
    assert house.found() == ["GpuTemperatureWarning"]

    socket = str(house.daemon.folder / "run" / "control.sock")
    command = [sys.executable, "-m", "aiidpd.cli.main", "--socket", socket, "alerts"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout
    assert "warning  firing   GpuTemperatureWarning: GPU 0" in shown
    document = subprocess.run(
        [*command, "--json"], capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert json.loads(document.stdout)["alerts"][0]["name"] == "GpuTemperatureWarning"

    house.nvml.set({"0.temperature": 83})  # within the hysteresis
    time.sleep(1.5)
    assert house.alert("GpuTemperatureWarning")
    house.nvml.set({"0.temperature": 82})
    house.until(lambda: not house.alert("GpuTemperatureWarning"))
    events = house.get("/v1/events", kind="alert.")["events"]
    assert [event["kind"] for event in events] == ["alert.pending", "alert.firing", "alert.resolved"]
    assert house.metric("aiidpd_alert_fired_total", "GpuTemperatureWarning") == 1
    assert house.found() == []


def test_a_gpu_can_have_limits_of_its_own(house: House):
    house.nvml.set({"0.temperature": 75, "1.temperature": 75})
    house.until(lambda: house.alert("GpuTemperatureWarning", 1))
    assert house.alert("GpuTemperatureWarning", 0) is None


def test_a_lost_gpu_is_told_within_two_seconds(house: House):
    since = Stopwatch()
    house.nvml.set({"1.nvmlDeviceGetTemperature": LOST})
    house.until(lambda: house.alert("GpuLost", 1))
    assert since.within(2.0)
    assert house.metric("aiidpd_alert_firing", "GpuLost", uuid(1)) == 1
    assert house.alert("GpuLost", 0) is None


def test_a_hung_driver_is_told_within_two_seconds(tmp_path: Path, fake_nvml: FakeNvml):
    with watched(tmp_path, fake_nvml, AIIDPD_GPU__CALL_TIMEOUT="900ms") as house:
        since = Stopwatch()
        house.nvml.set({"nvmlDeviceGetTemperature": "hang", "nvmlDeviceGetFieldValues": "hang"})
        house.until(lambda: house.metric("aiidpd_alert_firing", "GpuDriverUnavailable") == 1)
        assert since.within(2.2)  # the interval, the time that a call is given, and what asking costs


def test_an_alert_outlives_a_reload_and_is_not_fired_again(house: House):
    house.nvml.set({"0.temperature": 86})
    house.until(lambda: house.alert("GpuTemperatureWarning"))
    config = house.daemon.folder / "aiidpd.toml"
    config.write_text(config.read_text().replace("[gpu]\n", "[gpu]\nhysteresis_celsius = 4\n"))
    with ControlClient(str(house.daemon.folder / "run" / "control.sock")) as client:
        assert client.post("/v1/config/reload")["changed"] == ["gpu.hysteresis_celsius"]
    time.sleep(3)
    assert house.alert("GpuTemperatureWarning")
    fired = [
        event for event in house.get("/v1/events", kind="alert.")["events"] if event["kind"] == "alert.firing"
    ]
    assert len(fired) == 1
