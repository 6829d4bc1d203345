"""Kernel, program, ports and disks, as the doctor finds them."""

from __future__ import annotations

import os
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import metadata
from pathlib import Path

import pytest

from aiidpd.contracts.checks import Outcome
from aiidpd.daemon.checks import libraries
from aiidpd.daemon.checks.kernel import control_groups, kernel
from aiidpd.daemon.checks.ports import port
from aiidpd.platform.reach import reaches
from aiidpd.platform.space import room


def tree(root: Path, *names: str, mounts: str = "") -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (root / "proc/self").mkdir(parents=True, exist_ok=True)
    (root / "proc/self/mounts").write_text(mounts)
    return root


def test_control_groups_of_each_kind(tmp_path: Path):
    assert control_groups(tree(tmp_path / "a", "sys/fs/cgroup/cgroup.controllers")) == "control groups v2"
    assert "hybrid" in control_groups(tree(tmp_path / "b", "sys/fs/cgroup/unified/x"))
    assert control_groups(tree(tmp_path / "c", "sys/fs/cgroup/memory/x")) == "control groups v1"
    assert control_groups(tree(tmp_path / "d")) == "no control groups in sight"


def test_pressure_and_hidden_processes(tmp_path: Path):
    root = tree(tmp_path, "proc/pressure/cpu", mounts="proc /proc proc rw,hidepid=2 0 0\n")
    assert [each.outcome for each in kernel(root)] == [Outcome.OK, Outcome.WARNING]
    assert "hidepid=2" in list(kernel(root))[1].found
    (root / "proc/pressure/cpu").unlink()
    (root / "proc/self/mounts").write_text("proc /proc proc rw,nosuid 0 0\nbroken\n")
    assert "PSI" in list(kernel(root))[1].found
    (root / "proc/self/mounts").unlink()
    assert len(list(kernel(root))) == 2


def close_one(listener: socket.socket) -> None:
    listener.accept()[0].close()


def test_a_port_is_free_ours_or_of_another():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        threading.Thread(target=close_one, args=(taken,), daemon=True).start()
        [found] = port("127.0.0.1", number)
        assert (found.outcome, "another program" in found.found) == (Outcome.FAILED, True)
    assert [each.outcome for each in port("127.0.0.1", number)] == [Outcome.OK]
    assert [each.outcome for each in port("192.0.2.1", number)] == [Outcome.FAILED]


def test_a_port_that_a_daemon_serves_is_well():
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'aiidpd_build_info{version="1"} 1\n')

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        [found] = port("127.0.0.1", server.server_port)
    assert (found.outcome, "running aiidpd" in found.found) == (Outcome.OK, True)


def test_an_endpoint_listens_or_not():
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        assert [each.outcome for each in reaches(url, "it")] == [Outcome.OK]
    [found] = reaches(url, "the endpoint local")
    assert (found.outcome, "connection refused" in found.found) == (Outcome.WARNING, True)
    assert [each.outcome for each in reaches("http://no-such-host.invalid", "it")] == [Outcome.WARNING]


def test_room_on_a_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fields = [4096, 4096, 1000, 500, 100, 1000, 900, 900, 0, 255]
    for free, files, flag, outcomes in (
        (100, 900, 0, [Outcome.OK]),
        (10, 900, 0, [Outcome.WARNING]),
        (1, 900, 0, [Outcome.FAILED]),
        (100, 3, 0, [Outcome.OK, Outcome.WARNING]),
        (100, 900, os.ST_RDONLY, [Outcome.OK, Outcome.FAILED]),
    ):
        given = [*fields[:4], free, fields[5], files, files, flag, 255]
        monkeypatch.setattr(os, "statvfs", lambda _path, given=given: os.statvfs_result(given))
        found = list(room(tmp_path, little=50 * 4096, least=5 * 4096, what="it"))
        assert [each.outcome for each in found] == outcomes, given


def test_libraries_that_are_missing_or_of_another_version(monkeypatch: pytest.MonkeyPatch):
    have = {"anyio": "4.16.1", "httpx": "0.29.0", "aiohttp": ""}
    needs = ["anyio<5,>=4.16", "httpx>=0.28,<0.29", "aiohttp>=3.14", 'model-signing>=1 ; extra == "signing"']

    def version(name: str) -> str:
        if not have[name]:
            raise metadata.PackageNotFoundError(name)
        return have[name]

    monkeypatch.setattr(metadata, "requires", lambda _name: needs)
    monkeypatch.setattr(metadata, "version", version)
    found = [(each.outcome, each.found) for each in libraries._program()]
    assert [outcome for outcome, _ in found] == [Outcome.FAILED] * 2
    assert "httpx is 0.29.0" in found[0][1]
    assert "aiohttp is not installed" in found[1][1]
    assert libraries.versions() == have
    have |= {"httpx": "0.28.1", "aiohttp": "3.20.0rc1"}
    assert [each.outcome for each in libraries._program()] == [Outcome.OK]
