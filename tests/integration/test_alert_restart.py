"""An alert over a restart of the whole daemon, killed or not, with the real NVML child on the fake library.

Real time is spent on dwells of 2 s and on starting Python.
"""

from __future__ import annotations

import json
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from aiidpd.api.client import ControlClient
from tests.daemon import Daemon, running, start
from tests.fakes.nvml import FakeNvml, gpu, uuid
from tests.waiting import PATIENCE, until

HOT = "GpuTemperatureWarning"
DWELL = 2.0
SETTINGS = {
    "AIIDPD_GPU__LIBRARY": "nvml",
    "AIIDPD_GPU__CALL_TIMEOUT": "30s",  # a machine that is slow is no driver that hangs
    "AIIDPD_GPU__ALERTS__WARNING_DWELL": "2s",
}


def ask(daemon: Daemon, path: str, **query: Any) -> Any:
    with ControlClient(str(daemon.folder / "run" / "control.sock")) as client:
        return client.get(path, **query)


def hot(daemon: Daemon) -> dict[str, Any] | None:
    """Return the alert about heat where it fires."""
    found = [each for each in ask(daemon, "/v1/alerts")["alerts"] if each["name"] == HOT]
    return next((each for each in found if each["stage"] == "firing"), None)


def on_disk(state: Path) -> bool:
    """Return whether state and history both have it on the disk that the alert fires."""
    kept = state / "alerts.json"
    alerts = json.loads(kept.read_text())["alerts"] if kept.exists() else []
    with closing(sqlite3.connect(f"file:{state / 'history.sqlite3'}?mode=ro", uri=True)) as history:
        told = history.execute("SELECT count(*) FROM event WHERE kind = 'alert.firing'").fetchone()[0]
    return told == 1 and any(each["alert"] == HOT and each["stage"] == "firing" for each in alerts)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_an_alert_outlives_the_daemon_and_is_not_fired_again(
    tmp_path: Path, fake_nvml: FakeNvml, end: signal.Signals
):
    fake_nvml.install(gpu(0))
    fake_nvml.set({"0.temperature": 86})
    first = start(tmp_path, fake_nvml.env | SETTINGS)
    try:
        first.wait_for("aiidpd_alert_firing")
        until(lambda: hot(first))
        before = hot(first)
        until(lambda: on_disk(tmp_path / "state"))
    finally:
        first.process.send_signal(end)
        first.process.wait(PATIENCE)
    assert before is not None
    with running(tmp_path, fake_nvml.env | SETTINGS) as second:
        exposition = second.wait_for("aiidpd_gpu_temperature_celsius", "aiidpd_alert_firing")
        labels = f'alert="{HOT}",severity="warning",subject="{uuid(0)}"'
        assert f"aiidpd_alert_firing{{{labels}}} 1" in exposition
        after = hot(second)
        assert after is not None
        assert after["since"] == pytest.approx(before["since"], abs=0.5)
        until(lambda: (hot(second) or after)["condition"] == "holds")
        time.sleep(DWELL + 1)  # as long as it would take to fire anew
        fake_nvml.set({"0.temperature": 60})
        until(lambda: hot(second) is None)
        told = [event["kind"] for event in ask(second, "/v1/events", kind="alert.")["events"]]
        assert told == ["alert.pending", "alert.firing", "alert.restored", "alert.resolved"]


def test_a_state_that_can_not_be_read_is_no_reason_not_to_start(tmp_path: Path, fake_nvml: FakeNvml):
    fake_nvml.install(gpu(0))
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "alerts.json").write_text('{"version": 99}')
    with running(tmp_path, fake_nvml.env | SETTINGS) as daemon:
        daemon.wait_for("aiidpd_gpu_temperature_celsius", "aiidpd_alert_firing")
        raised = ask(daemon, "/v1/events", kind="finding.raised")["events"]
        assert "alert_state" in {event["evidence"]["type"] for event in raised}
        assert (tmp_path / "state" / "alerts.json.unreadable").exists()
