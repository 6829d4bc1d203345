"""Both sockets under fire: bad requests get an error or are dropped, and the others don't notice."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from prometheus_client import Gauge

from aiidpd.api.client import ControlClient
from aiidpd.platform.connection import Limits
from aiidpd.platform.sockets import listen_tcp, listen_unix
from aiidpd.platform.web import WebServer
from aiidpd.telemetry.exposition import metrics_app
from aiidpd.telemetry.registry import build_registry
from tests import daemon as daemons
from tests.fakes.control import control_daemon, until
from tests.fakes.hostile import HOSTILE
from tests.waiting import PATIENCE

TIGHT = Limits(connections=32, head=0.4, body=0.4, idle=1.0, write=0.4)
ROOT = Path(__file__).resolve().parents[2]


class WellBehaved(threading.Thread):
    """Asks again and again over new connections, and remembers how long each answer took."""

    def __init__(self, path: Path, target: str) -> None:
        super().__init__(daemon=True)
        self._path = str(path)
        self._target = target
        self.stopping = threading.Event()
        self.took: list[float] = []
        self.wrong: list[str] = []

    def run(self) -> None:
        while not self.stopping.wait(0.02):
            started = time.monotonic()
            try:
                self._ask()
            except (OSError, AssertionError) as error:
                took = time.monotonic() - started
                if took < TIGHT.head:  # else the machine was too busy, and the server gave it up as it shall
                    self.wrong.append(f"after {took:.3f} s: {error!r}")
                    return
                continue
            self.took.append(time.monotonic() - started)

    def _ask(self) -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(self._path)
            connection.sendall(
                f"GET {self._target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
            )
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
        assert answer.startswith(b"HTTP/1.1 200 "), answer[:300]


async def bombard(addresses: list[str], path: Path, target: str, count: int) -> Counter[str]:
    """Send ``count`` bad requests while a well-behaved client at ``path`` asks for ``target``."""
    well_behaved = WellBehaved(path, target)
    well_behaved.start()
    command = [sys.executable, "-m", "tests.fakes.hostile", str(count), "1", *addresses]
    crowd = await anyio.run_process(command, cwd=ROOT, check=False)
    well_behaved.stopping.set()
    await anyio.to_thread.run_sync(well_behaved.join)
    assert crowd.returncode == 0, crowd.stderr.decode()
    assert well_behaved.wrong == []
    assert len(well_behaved.took) > 10
    assert statistics.median(well_behaved.took) < 1  # one of them may have waited for a busy machine
    return Counter(json.loads(crowd.stdout))


_MEBI = 2**20


def resident(pid: int) -> int:
    """Return the bytes of memory that process ``pid`` holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def ask(path: Path, request: bytes) -> socket.socket:
    """Return a connection over which ``request`` was sent."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(PATIENCE)
    connection.connect(str(path))
    connection.sendall(request)
    return connection


@pytest.mark.parametrize("target", ["/v1/events?follow=true&limit=1000", "/v1/events?limit=1000"])
def test_readers_that_do_not_read_take_bounded_memory_that_comes_back(tmp_path: Path, target: str) -> None:
    with daemons.running(tmp_path) as daemon:
        path = tmp_path / "run" / "control.sock"
        daemon.wait_until_up()
        body = b'{"endpoint": "%s"}' % (b"y" * 190)
        refused = b"POST /v1/bench/runs HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        with ask(path, b"") as connection, connection.makefile("rb") as answers:
            for _ in range(600):  # each is two events of about a kilobyte
                connection.sendall(refused)
                lengths = [line for line in iter(answers.readline, b"\r\n") if b"Content-Length" in line]
                assert b"no such endpoint" in answers.read(int(lengths[0].split()[1]))
        before = resident(daemon.process.pid)
        request = f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        grown = []
        for _ in range(3):
            silent = [ask(path, request) for _ in range(40)]
            for connection in silent:
                begun = b""
                while b'"evidence"' not in begun and b"HTTP/1.1 503" not in begun:  # it is being answered
                    begun += connection.recv(500)
            grown.append(resident(daemon.process.pid) - before)
            for connection in silent:
                connection.close()
        with ControlClient(str(path)) as client:
            assert client.get("/v1/status")["healthy"]
        grown.append(resident(daemon.process.pid) - before)
        assert max(grown) < 40 * _MEBI, grown
        assert grown[-1] - grown[0] < 15 * _MEBI, grown  # what each crowd took, the next one took again


def test_a_daemon_that_is_killed_ends_a_command_that_follows_it(tmp_path: Path) -> None:
    daemon = daemons.start(tmp_path)
    try:
        daemon.wait_for("aiidpd_worker_up")
        path = str(tmp_path / "run" / "control.sock")
        command = [sys.executable, "-W", "error", "-m", "aiidpd.cli.main", "--socket", path, "events", "-f"]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as following:
            assert following.stdout is not None
            assert following.stdout.readline()
            daemon.process.kill()
            _, said = following.communicate(timeout=PATIENCE)
    finally:
        daemon.process.kill()
        daemon.process.wait()
    assert following.returncode == 3
    reason = "it broke off in the middle of an answer"
    assert said.decode() == f"aiidpctl: cannot reach the daemon at {path}: {reason}\n"


async def until_quiet(server: WebServer, tasks: int) -> None:
    """Wait until no connection is left, and no task but those that there were."""
    await until(lambda: not server.connections and len(asyncio.all_tasks()) <= tasks)


async def test_a_thousand_bad_requests_leave_the_control_socket_serving(tmp_path: Path) -> None:
    async with control_daemon(tmp_path, limits=TIGHT, streams=8, heartbeat=0.1) as daemon:
        tasks = len(asyncio.all_tasks())

        kinds = await bombard([str(daemon.path)], daemon.path, "/v1/status", 1000)
        assert kinds.total() == 1000
        assert set(kinds) == {kind.__name__ for kind in HOSTILE}
        await until_quiet(daemon.server, tasks)
        assert daemon.bus.subscribers == 0
        assert await daemon.events("control.failed") == []
        with ControlClient(str(daemon.path)) as client:
            status = await asyncio.to_thread(client.get, "/v1/status")
        assert status["healthy"] is True


async def test_bad_requests_leave_the_metrics_sockets_serving(tmp_path: Path) -> None:
    gauges = {
        str(number): Gauge(f"aiidpd_test_{number}", "What fills a page.", registry=None)
        for number in range(200)
    }
    registry = build_registry(gauges)
    failures: list[Exception] = []
    unix, tcp = listen_unix(tmp_path / "metrics.sock", mode=0o666), listen_tcp("127.0.0.1", 0)
    port = tcp.getsockname()[1]

    app = metrics_app(registry)
    server = WebServer(
        app, [unix.socket, tcp], limits=TIGHT, on_failure=lambda _request, error: failures.append(error)
    )
    async with server:
        tasks = len(asyncio.all_tasks())
        kinds = await bombard([str(unix.path), str(port)], unix.path, "/metrics", 500)
        assert kinds.total() == 500
        await until_quiet(server, tasks)
    unix.close()
    assert failures == []
