"""The real daemon while somebody sets the clock: ahead by ten days, and back."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from aiidpd.api.client import ControlClient, ControlError
from aiidpd.demo.model_folder import make_model_folder
from tests.daemon import SIMULATED, end
from tests.ports import free_port
from tests.waiting import PATIENCE, Stopwatch

DAY = 86_400.0


class Machine:
    """A daemon whose clocks are set."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "log"
        make_model_folder(folder / "models")
        for name in ("state", "run", "backup"):
            (folder / name).mkdir()
        config = folder / "aiidpd.toml"
        config.write_text(SIMULATED.format(folder=folder, port=free_port()) + '[history]\nkeep = "1d"\n')
        self.slept = 0.0
        self.set(ahead=0.0)
        self.socket = str(folder / "run" / "control.sock")
        clean = {name: value for name, value in os.environ.items() if not name.startswith("AIIDPD_")}
        command = [sys.executable, "-m", "tests.fakes.shifted_daemon", str(config), str(folder / "shifts")]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=clean
            )

    def set(self, *, ahead: float, sleep: float = 0.0) -> None:
        """Set the wall clock ahead of the true time, after the machine slept for some seconds."""
        self.slept += sleep
        new = self.folder / "shifts.new"
        new.write_text(f"{ahead} {self.slept}")
        new.replace(self.folder / "shifts")

    @property
    def true(self) -> float:
        return time.time() + self.slept

    def until(self, path: str, holds: Callable[[Any], Any], **query: Any) -> Any:
        """Return what ``holds`` finds in the document at ``path``."""
        waited = Stopwatch()
        while True:
            try:
                with ControlClient(self.socket) as client:
                    document = client.get(path, **query)
            except ControlError as error:
                document, found = error, None
            else:
                found = holds(document)
            if found:
                return found
            assert self.process.poll() is None, self.log.read_text()
            assert waited.seconds < PATIENCE, document
            time.sleep(0.1)

    def status(self) -> Any:
        return self.until("/v1/status", lambda document: document)

    def ctl(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "aiidpd.cli.main", "--socket", self.socket, *arguments]
        return subprocess.run(command, capture_output=True, timeout=PATIENCE, check=True, text=True).stdout

    def event(self, kind: str) -> Any:
        def last(document: Any) -> Any:
            return next((each for each in reversed(document["events"]) if each["kind"] == kind), None)

        return self.until("/v1/events", last, kind=kind)

    def rows(self, table: str) -> int:
        """Return how many rows the history has on disk."""
        with closing(sqlite3.connect(f"file:{self.folder}/state/history.sqlite3?mode=ro", uri=True)) as found:
            count: int = found.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        return count


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    yield machine
    if machine.process.poll() is None:
        machine.process.kill()
        machine.process.wait()


def jump(document: Any) -> Any:
    return next((each for each in document["conditions"] if each["type"] == "clock_jump"), None)


def successes(document: Any) -> list[float]:
    return [
        max(each["created_at"], each["confirmed_at"] or 0.0)
        for each in document["snapshots"]
        if not each["in_future"]
    ]


def test_a_clock_that_is_ten_days_ahead_for_a_while_costs_nothing(machine: Machine) -> None:
    machine.until("/v1/backup/snapshots", successes)
    machine.event("daemon.ready")
    machine.set(ahead=0.0, sleep=2 * 3_600.0)  # the clock is trusted
    awake = machine.true
    machine.until("/v1/backup/snapshots", lambda d: max(successes(d)) > awake)
    assert jump(machine.status()) is None  # a machine that slept has not jumped
    before = machine.rows("event")

    (machine.folder / "models" / "new").write_text("backed up while the clock is ahead")
    # Each sleep makes the history tidy up at the next thing that is written.
    machine.set(ahead=10 * DAY, sleep=120.0)
    found = machine.until("/v1/status", jump)
    assert "ahead by 10 d" in found["reason"]
    assert machine.event("clock.jumped")["evidence"]["seconds"] == pytest.approx(10 * DAY, abs=5)
    assert 0 < machine.status()["uptime_seconds"] < PATIENCE * 10
    machine.until("/v1/backup/snapshots", lambda d: max(successes(d)) > machine.true + DAY)

    machine.set(ahead=0.0, sleep=120.0)
    machine.until("/v1/status", lambda document: not jump(document))
    machine.event("clock.steady")
    back = machine.true
    backups = machine.until(
        "/v1/backup/snapshots", lambda d: back < max(successes(d)) < machine.true + 60 and d
    )
    assert [each for each in backups["snapshots"] if each["in_future"]]
    assert backups["last_success_at"] < machine.true + 60
    assert "FROM THE FUTURE" in machine.ctl("backup", "list")
    assert 0 < machine.status()["uptime_seconds"] < PATIENCE * 10
    assert machine.event("daemon.starting")
    assert machine.rows("event") > before
    end(machine.process, signal.SIGTERM, machine.log)
