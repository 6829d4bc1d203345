"""A machine without NVIDIA's driver and without Docker is well; one that lost them is not."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.fakes.docker_engine import RealDocker
from tests.fakes.nvml import FakeNvml
from tests.integration.test_emergency import Daemon
from tests.waiting import PATIENCE

pytestmark = [pytest.mark.real("docker"), pytest.mark.real("gcc")]

CONFIG = """\
[daemon]
state_directory = "{folder}/state"
runtime_directory = "{folder}/run"

[gpu]
call_timeout = "30s"
library = "{mode}"

[containers]
engine = "{mode}"
socket = "{folder}/docker.sock"

[telemetry]
listen = ""

[control]
group = ""
"""
NO_LIBRARY = "not a library, and the loader looks no further"
LOST = "and it was there before"


class Machine:
    """A machine on which the driver and the engine can be installed and removed."""

    def __init__(self, folder: Path, library: Path, docker: RealDocker) -> None:
        self.folder = folder
        self._library = library
        self._socket = docker.socket
        (folder / "lib").mkdir()
        self._nvml = FakeNvml(folder, folder / "lib")
        self.remove()

    def install(self) -> None:
        shutil.copy(self._library, self.folder / "lib")
        (self.folder / "docker.sock").symlink_to(self._socket)

    def remove(self) -> None:
        (self.folder / "lib" / self._library.name).write_text(NO_LIBRARY)
        (self.folder / "docker.sock").unlink(missing_ok=True)

    def start(self) -> Daemon:
        return Daemon(self.folder, CONFIG.format(folder=self.folder, mode="auto"), self._nvml)

    def switch(self, daemon: Daemon, mode: str) -> None:
        (self.folder / "aiidpd.toml").write_text(CONFIG.format(folder=self.folder, mode=mode))
        daemon.process.send_signal(signal.SIGHUP)

    def status(self) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "aiidpd.cli.main", "--socket", str(self.folder / "run/control.sock")]
        return subprocess.run(
            [*command, "status"], capture_output=True, timeout=PATIENCE, check=False, text=True
        )


def both(state: str, reason: str = "") -> Any:
    def holds(document: Any) -> bool:
        found = {each["name"]: each for each in document["workers"]}
        return all(
            found[name]["state"] == state and reason in found[name]["reason"]
            for name in ("thermal", "containers")
        )

    return holds


async def test_what_is_not_installed_is_not_wrong_and_what_vanished_is(
    docker: RealDocker, nvml_library: Path, tmp_path: Path
) -> None:
    machine = Machine(tmp_path, nvml_library, docker)
    await anyio.to_thread.run_sync(follow, machine)


def follow(machine: Machine) -> None:
    daemon = machine.start()
    daemon.until("/v1/status", both("inactive", "nothing to do"))
    status = machine.status()
    assert status.returncode == 0, status.stdout
    assert "inactive" in status.stdout
    daemon.end()

    machine.install()
    daemon = machine.start()
    daemon.until("/v1/status", both("running"))
    daemon.end()

    machine.remove()
    daemon = machine.start()
    daemon.until("/v1/status", both("degraded", LOST))
    status = machine.status()
    assert status.returncode == 1
    assert LOST in status.stdout

    machine.switch(daemon, "off")
    daemon.until("/v1/status", both("inactive", "switched off by"))
    assert machine.status().returncode == 0

    machine.switch(daemon, "auto")
    daemon.until("/v1/status", both("inactive", "nothing to do"))
    assert machine.status().returncode == 0
    daemon.end()
