"""The last resort in the whole: a fake NVML library gets hot, a real container is stopped, all is on record.

Real time is spent on the minute that an incident goes on for.
"""

from __future__ import annotations

import csv
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import anyio
import pytest

from aiidpd.api.client import ControlClient, ControlError
from tests.fakes.docker_engine import RealDocker
from tests.fakes.nvml import FakeNvml
from tests.waiting import PATIENCE, Stopwatch

pytestmark = [pytest.mark.real("docker"), pytest.mark.real("gcc"), pytest.mark.timeout(600)]

CONFIG = """\
[daemon]
state_directory = "{folder}/state"
runtime_directory = "{folder}/run"

[gpu]
call_timeout = "30s"
emergency_stop = ["{victim}"]

[containers]
socket = "{socket}"

[telemetry]
listen = ""

[control]
group = ""
"""


class Daemon:
    """The installed command, on the fake library."""

    def __init__(self, folder: Path, config: str, nvml: FakeNvml) -> None:
        for name in ("state", "run"):
            (folder / name).mkdir(exist_ok=True)
        file = folder / "aiidpd.toml"
        file.write_text(config)
        self._log = folder / "log"
        self._socket = str(folder / "run" / "control.sock")
        environment = {key: value for key, value in os.environ.items() if not key.startswith("AIIDPD_")}
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "aiidpd", "run", "--config", str(file)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=environment | nvml.env,
            )

    def ctl(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "aiidpd.cli.main", "--socket", self._socket, *arguments]
        done = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=True)
        return done.stdout.decode()

    def until(self, path: str, holds: Callable[[Any], Any], seconds: float = PATIENCE) -> Any:
        """Return what ``holds`` finds in the document at ``path``, which may have a query."""
        waited, target = Stopwatch(), urlsplit(path)
        while True:
            try:
                with ControlClient(self._socket) as client:
                    found = holds(client.get(target.path, **dict(parse_qsl(target.query))))
            except ControlError:
                found = None
            if found:
                return found
            log = self._log.read_text()
            assert self.process.poll() is None, log
            assert waited.seconds < seconds, log
            time.sleep(0.1)

    def temperatures(self) -> set[str]:
        """Return those that the export has."""
        lines = csv.DictReader(io.StringIO(self.ctl("gpu", "export", "--csv"), newline=""))
        return {line["temp_c"] for line in lines}

    def until_exported(self, temperature: str) -> None:
        waited = Stopwatch()
        while temperature not in self.temperatures():
            assert waited.seconds < PATIENCE, self._log.read_text()
            time.sleep(0.2)

    def event(self, kind: str, about: str = "", seconds: float = PATIENCE) -> Any:
        """Return the last event of ``kind``, ``about`` a container of ours where others run too."""

        def last(document: Any) -> Any:
            found = (each for each in reversed(document["events"]) if each["kind"] == kind)
            return next((each for each in found if about in ("", each["subject"])), None)

        return self.until(f"/v1/events?kind={kind}", last, seconds)

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE) == 0, self._log.read_text()


async def test_a_critical_temperature_stops_a_real_container_and_all_is_on_record(
    docker: RealDocker, fake_nvml: FakeNvml, tmp_path: Path
) -> None:
    await docker.run("victim", "--restart", "always")
    await docker.run("bystander")
    victim = docker.name("victim")
    config = CONFIG.format(folder=tmp_path, victim=victim, socket=docker.socket)
    daemon = Daemon(tmp_path, config, fake_nvml)
    try:
        await anyio.to_thread.run_sync(daemon.until, "/v1/gpus", lambda d: d["gpus"])
        await anyio.to_thread.run_sync(daemon.until, "/v1/containers", lambda d: d["containers"])
        fake_nvml.set({"0.temperature": 88})
        await anyio.to_thread.run_sync(daemon.until_exported, "88")
        assert await docker.docker("inspect", "-f", "{{.State.Running}}", victim) == "true"
        fake_nvml.set({"0.temperature": 91})
        told = await anyio.to_thread.run_sync(daemon.event, "container.emergency_stopped", victim)
        assert told["subject"] == victim
        assert told["evidence"]["remedy"] == f"docker start {victim}"
        assert await docker.docker("inspect", "-f", "{{.State.Running}}", victim) == "false"
        assert await docker.docker("inspect", "-f", "{{.State.Running}}", docker.name("bystander")) == "true"
        recording = await anyio.to_thread.run_sync(daemon.event, "incident.recording")
        # It goes on being hot: nothing is stopped a second time, not by a replaced worker either.
        await docker.docker("start", victim)
        (tmp_path / "aiidpd.toml").write_text(config.replace("[gpu]", "[gpu]\nwarning_celsius = 84"))
        daemon.process.send_signal(signal.SIGHUP)
        await anyio.to_thread.run_sync(daemon.event, "worker.replaced")
        await anyio.sleep(6)
        assert await docker.docker("inspect", "-f", "{{.State.Running}}", victim) == "true"
        await anyio.to_thread.run_sync(daemon.event, "incident.recorded", "", 3 * PATIENCE)
        drawn = await anyio.to_thread.run_sync(daemon.ctl, "incidents", "show", recording["subject"])
        assert "temperature °C" in drawn
        assert victim in drawn
        assert await anyio.to_thread.run_sync(daemon.temperatures) >= {"88", "91"}
        energy = await anyio.to_thread.run_sync(daemon.ctl, "gpu", "energy")
        assert "FAKE GeForce" in energy
        await anyio.to_thread.run_sync(daemon.end)
    finally:
        if daemon.process.poll() is None:
            daemon.process.kill()
            daemon.process.wait()
        await docker.docker("rm", "-f", victim, docker.name("bystander"))


async def test_a_container_that_we_stopped_is_missed_until_it_runs_again_by_the_next_daemon_too(
    docker: RealDocker, fake_nvml: FakeNvml, tmp_path: Path
) -> None:
    await docker.run("missed")
    victim = docker.name("missed")
    config = CONFIG.format(folder=tmp_path, victim=victim, socket=docker.socket)

    def missed(document: Any) -> bool:
        return any(
            (each["type"], each["subject"]) == ("container_emergency_stopped", victim)
            for each in document["conditions"]
        )

    daemon = Daemon(tmp_path, config, fake_nvml)
    try:
        fake_nvml.set({"0.temperature": 91})
        await anyio.to_thread.run_sync(daemon.event, "container.emergency_stopped", victim)
        document = await anyio.to_thread.run_sync(
            daemon.until, "/v1/status", lambda document: missed(document) and document
        )
        assert document["healthy"] is False
        daemon.process.kill()
        daemon.process.wait()
        fake_nvml.set({"0.temperature": 50})
        daemon = Daemon(tmp_path, config, fake_nvml)
        await anyio.to_thread.run_sync(daemon.until, "/v1/containers", lambda d: d["containers"])
        await anyio.to_thread.run_sync(daemon.until, "/v1/status", missed)
        with pytest.raises(subprocess.CalledProcessError) as status:
            await anyio.to_thread.run_sync(daemon.ctl, "status")
        assert status.value.returncode == 1
        assert "container_emergency_stopped" in status.value.stdout.decode()
        await docker.docker("start", victim)
        await anyio.to_thread.run_sync(daemon.until, "/v1/status", lambda document: not missed(document))
        await anyio.to_thread.run_sync(daemon.end)
    finally:
        if daemon.process.poll() is None:
            daemon.process.kill()
            daemon.process.wait()
        await docker.docker("rm", "-f", victim)
