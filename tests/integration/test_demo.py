"""``aiidpd demo`` as a person runs it: piped, on a terminal, and with a driver to find."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from aiidpd.api.client import ControlClient, ControlError
from aiidpd.demo.find import METRICS_PORT
from tests.daemon import end
from tests.fakes.nvml import FakeNvml
from tests.waiting import until

# Any that is told on the screen: the Docker Engine of a busy machine has so much to tell that the first ones
# may be off the screen before it is drawn.
EVENT = re.compile(rb"(daemon|worker|thermal|container|backup|bench)\.[a-z_]+")


@contextmanager
def demo(
    folder: Path, out: int, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    # How large the terminal is, it says itself.
    ours = {"COLUMNS", "LINES"} | {name for name in os.environ if name.startswith("AIIDPD_")}
    clean = {name: value for name, value in os.environ.items() if name not in ours}
    with (folder / "err").open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "aiidpd", "demo", "--directory", str(folder / "d")],
            stdout=out,
            stderr=err,
            stdin=subprocess.DEVNULL,
            env=clean | dict(environment or {}),
            start_new_session=True,
        )
    try:
        yield process
        end(process, signal.SIGINT, folder / "err")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@contextmanager
def port_taken(port: int) -> Iterator[None]:
    """Have ``port`` on loopback taken while the block lasts, by us or by whoever has it already."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):
            taken.bind(("127.0.0.1", port))
            taken.listen()
        yield


def looked(folder: Path) -> dict[str, Any] | None:
    """Return what the daemon knows, once everything that a first look should show is there."""
    try:
        with ControlClient(str(folder / "d/run/control.sock")) as control:
            gpus, containers = control.get("/v1/gpus"), control.get("/v1/containers")
            backup, bench = control.get("/v1/backup/snapshots"), control.get("/v1/bench/results")
            status = control.get("/v1/status")
    except ControlError:
        return None
    complete = (
        gpus["gpus"]
        and not containers["reason"]
        and backup["last_success_at"]
        and any(endpoint["sample"] for endpoint in bench["endpoints"])
    )
    return {"gpus": gpus, "status": status} if complete else None


def wait_for_all(folder: Path) -> dict[str, Any]:
    """Return what :func:`looked` found."""
    found: list[dict[str, Any] | None] = []

    def complete() -> bool:
        found.append(looked(folder))
        return found[-1] is not None

    until(complete, why=(folder / "err").read_text)
    assert found[-1] is not None
    return found[-1]


def test_piped_it_prints_the_state_and_keeps_all_in_its_folder(tmp_path: Path):
    with (tmp_path / "out").open("wb") as out, demo(tmp_path, out.fileno()):
        wait_for_all(tmp_path)
        until(lambda: "SIMULATED-8b" in (tmp_path / "out").read_text())
    text = (tmp_path / "out").read_text()
    assert re.search(r"thermal +running .*SIMULATED", text)
    assert "\x1b" not in text
    words = (tmp_path / "err").read_text()
    assert re.search(r"GPUs: SIMULATED \(.*\)", words)
    assert "models: SIMULATED" in words
    assert {path.name for path in tmp_path.iterdir()} == {"d", "err", "out"}


def test_on_a_terminal_it_draws_in_place_and_gives_the_cursor_back(tmp_path: Path):
    ours, theirs = pty.openpty()
    # Rows and columns: enough for all the containers that a machine may run meanwhile.
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 500, 140, 0, 0))
    os.set_blocking(ours, False)
    seen = b""
    log = tmp_path / "d/aiidpd.log"

    def drawn() -> bool:
        nonlocal seen
        with suppress(BlockingIOError):
            while piece := os.read(ours, 65536):  # a terminal gives no more than 4 KiB at a time
                seen += piece
        told = b"/metrics (port 9753 is taken" in seen and "daemon.ready" in log.read_text()
        return b"WORKER" in seen and EVENT.search(seen) is not None and told

    try:
        with port_taken(METRICS_PORT), demo(tmp_path, theirs, {"TERM": "xterm"}):
            until(drawn, why=lambda: seen.decode(errors="replace") + (tmp_path / "err").read_text())
        drawn()
    finally:
        os.close(theirs)
        os.close(ours)
    assert seen.count(b"\x1b[H\x1b[J") >= 1
    assert seen.rstrip().endswith(b"\x1b[?25h")
    (port,) = re.findall(
        r"metrics: http://127\.0\.0\.1:(\d+)/metrics \(port 9753 is", (tmp_path / "err").read_text()
    )
    assert f"127.0.0.1:{port}" in (tmp_path / "d/aiidpd.toml").read_text()


def test_a_driver_that_is_there_is_used_and_not_simulated(tmp_path: Path, fake_nvml: FakeNvml):
    with (tmp_path / "out").open("wb") as out, demo(tmp_path, out.fileno(), fake_nvml.env):
        found = wait_for_all(tmp_path)
    gpus = found["gpus"]
    (thermal,) = (worker for worker in found["status"]["workers"] if worker["name"] == "thermal")
    assert "GPUs: NVML" in (tmp_path / "err").read_text()
    assert not gpus["simulated"]
    assert not thermal["simulated"]
    assert gpus["gpus"][0]["name"].startswith("FAKE")
