"""The daemon as a process of its own, in a folder of its own, with every part simulated."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from aiidpd.demo.model_folder import make_model_folder
from tests.ports import free_port
from tests.waiting import PATIENCE, Stopwatch, until

WORKERS = ("thermal", "containers", "backup", "bench")
SIMULATED_TASKS = frozenset(
    {
        "thermal",
        "containers",
        "containers.stop",
        "containers.pause",
        "containers.heal",
        "containers.use",
        "engines",
        "engines.liveness",
        "bench",
    }
)
TASKS = SIMULATED_TASKS | {
    "thermal.energy",
    "incidents",
    "backup",
    "backup.offsite",
    "audit",
    "audit.host",
    "containers.info",
    "containers.logs",
    "containers.trials",
    "models",
    "models.jobs",
}
SIMULATED = """\
[daemon]
state_directory = "{folder}/state"
runtime_directory = "{folder}/run"

[gpu]
library = "simulated"
simulated_gpus = 2

[containers]
engine = "simulated"

[backup]
source = "{folder}/models"
target = "{folder}/backup"
schedule = "*-*-* *:*:00/5"

[bench]
interval = "1s"

[[bench.endpoints]]
name = "simulated"
kind = "simulated"

[telemetry]
listen = "127.0.0.1:{port}"

[control]
group = ""
"""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=PATIENCE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(str(self._path))


@dataclass
class Daemon:
    """A running daemon. ``port`` is its TCP port for Prometheus."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    def exposition(self) -> str:
        """Return what metrics.sock serves."""
        with closing(_UnixConnection(self.folder / "run" / "metrics.sock")) as connection:
            connection.request("GET", "/metrics")
            response = connection.getresponse()
            text = response.read().decode()
        assert response.status == http.client.OK, text
        return text

    def wait_for(self, *series: str, seconds: float = PATIENCE) -> str:
        """Wait until each of ``series`` has a value; return the exposition that has them."""
        deadline = time.monotonic() + seconds
        text, lacking = "", set(series)
        while lacking:
            log = (self.folder / "log").read_text()
            assert self.process.poll() is None, log
            assert time.monotonic() < deadline, f"no {', '.join(sorted(lacking))} in:\n{text}\n{log}"
            try:
                text = self.exposition()
            except OSError:
                text = ""  # not ready yet
            named = {line.split("{")[0].split(" ")[0] for line in text.splitlines() if line[:1] != "#"}
            lacking = set(series) - named
            time.sleep(0.1)
        return text

    def wait_until_up(self) -> None:
        """Wait until each worker has done its work at least once and is well."""
        up = [f'aiidpd_worker_up{{worker="{worker}"}} 1.0' for worker in WORKERS]
        until(
            lambda: set(up) <= set(self.wait_for("aiidpd_worker_up").splitlines()),
            why=(self.folder / "log").read_text,
        )


def start(folder: Path, environment: Mapping[str, str] | None = None, *, more: str = "") -> Daemon:
    """Start a simulated daemon in ``folder``, or start it there again; the caller ends it.

    ``environment`` is added to the process's own. A daemon on the real Docker Engine heals nothing unless
    that says so: containers of other tests run there too, and some have labels that allow it. ``more`` is
    written at the end of its configuration.
    """
    given = dict(environment or {})
    if given.get("AIIDPD_CONTAINERS__ENGINE") == "docker":
        given = {"AIIDPD_CONTAINERS__HEAL__DRY_RUN": "true"} | given
    port = free_port()
    make_model_folder(folder / "models")
    for name in ("state", "run", "backup"):
        (folder / name).mkdir(exist_ok=True)
    config = folder / "aiidpd.toml"
    config.write_text(SIMULATED.format(folder=folder, port=port) + more)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AIIDPD_")}
    with (folder / "log").open("ab") as log:
        command = [sys.executable, "-m", "aiidpd", "run", "--config", str(config)]
        process = subprocess.Popen(
            command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=clean | given
        )
    return Daemon(folder, port, process)


def end(process: subprocess.Popen[bytes], signal_: signal.Signals, log: Path) -> None:
    """Ask a daemon to end, which it must do well.

    What takes the daemon longer than it may is left behind; where the machine held it up, that is no fault.
    """
    stopwatch = Stopwatch()
    process.send_signal(signal_)
    code = process.wait(PATIENCE)
    said = log.read_text()
    assert code == 0 or ("left without it" in said and stopwatch.within(3.0)), said


@contextmanager
def running(
    folder: Path, environment: Mapping[str, str] | None = None, *, more: str = ""
) -> Iterator[Daemon]:
    """Run a simulated daemon in ``folder`` for as long as the block lasts; it must then end well."""
    daemon = start(folder, environment, more=more)
    process = daemon.process
    try:
        yield daemon
        end(process, signal.SIGTERM, folder / "log")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
