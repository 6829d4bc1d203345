from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from aiidpd.gate.server import Manager, handed_over, user_ids
from tests.fakes.gate import (
    INFO_REQUEST,
    GateClient,
    ScriptedEngine,
    gate_in_thread,
    message,
    plain,
    running_gate,
)
from tests.unprivileged import as_nobody
from tests.waiting import PATIENCE


def test_users_are_found_and_root_is_always_one():
    assert user_ids(["root", 1234]) == {0, 1234}
    assert user_ids(["no-such-user-here"]) == {0}


def test_only_owner_and_group_reach_the_socket(engine: ScriptedEngine, tmp_path: Path):
    with gate_in_thread(engine.path, tmp_path) as gate:
        assert stat.S_IMODE(gate.socket.stat().st_mode) == 0o660


def test_the_one_too_many_is_turned_away_and_room_comes_back(engine: ScriptedEngine, tmp_path: Path):
    engine.answers["/info"] = plain(200, b"{}")
    with gate_in_thread(engine.path, tmp_path, connections=1) as gate:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(PATIENCE)
            client.connect(str(gate.socket))
            client.sendall(INFO_REQUEST)
            assert client.recv(65536)
            status, body = gate.get("/info")
            assert (status, message(body)) == (503, "aiidpd-gate: all of its connections are in use")
        while gate.get("/info")[0] != 200:
            pass


def test_whom_nothing_names_is_turned_away_and_logged(engine: ScriptedEngine, tmp_path: Path):
    def refused() -> None:
        assert GateClient(Path("gate.sock")).get("/info")[0] == 403

    with running_gate(engine.path, tmp_path, users=[]) as gate:
        if os.geteuid() == 0:
            gate.socket.chmod(0o666)
            assert as_nobody(refused, tmp_path) == ""
        else:
            assert gate.get("/info")[0] == 403
        assert "denied a connection" in gate.logged()
    assert engine.requests == []


def test_a_broken_configuration_lets_nobody_in(engine: ScriptedEngine, tmp_path: Path):
    with gate_in_thread(engine.path, tmp_path) as gate:
        gate.config.write_text("users = 1")
        assert gate.get("/info")[0] == 503
        assert engine.requests == []


def test_the_manager_hears_what_is_said_and_a_missing_one_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    Manager().say("READY=1")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "30000000")
        manager = Manager()
        manager.say("READY=1")
        assert listener.recv(100) == b"READY=1"
        assert manager.interval == 10.0
    (tmp_path / "notify").unlink()
    manager.say("WATCHDOG=1")


def test_a_socket_of_somebody_else_s_is_not_taken(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LISTEN_FDS", "1")
    monkeypatch.setenv("LISTEN_PID", str(os.getpid() + 1))
    assert handed_over() is None
