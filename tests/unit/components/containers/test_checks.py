from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from aiidpd.components.containers.checks import checks, engine, permission
from aiidpd.components.containers.settings import ContainersSettings
from aiidpd.contracts.checks import Outcome, Surroundings
from tests.tables import made
from tests.unprivileged import as_nobody

ME = Surroundings(os.geteuid(), frozenset(os.getgroups()), "me")
VERSION = {"Version": "28.1.0", "ApiVersion": "1.49", "Components": [{"Name": "Engine"}]}
INFO = {"CgroupDriver": "systemd", "CgroupVersion": "2", "DockerRootDir": "/nonexistent", "Warnings": None}


@contextmanager
def answering(path: Path, answers: dict[str, Any], status: int = 200) -> Iterator[Path]:
    """Serve ``answers`` by path on a socket, as an engine would; what is no object is sent as it is."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    target = connection.recv(4096).split()[1].decode()
                    answer = answers.get(target)
                    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                    head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n"
                    connection.sendall(head.encode() + body)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield path
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def told(path: Path, **how: bool) -> list[tuple[Outcome, str]]:
    return [(each.outcome, each.found) for each in engine(path, **how)]


def test_an_engine_that_is_well(tmp_path: Path):
    with answering(tmp_path / "s", {"/version": VERSION, "/info": INFO}) as path:
        assert told(path) == [(Outcome.OK, "Docker 28.1.0, API 1.49, systemd control groups v2")]
        assert [each.outcome for each in permission(path, ME)] == [Outcome.OK]


def test_an_old_one_one_that_warns_and_podman(tmp_path: Path):
    old = VERSION | {"Version": "20.10.24+dfsg1"}
    warns = INFO | {"Warnings": ["no swap limit\x1b[31m"], "DockerRootDir": str(tmp_path)}
    with answering(tmp_path / "a", {"/version": old, "/info": warns}) as path:
        found = told(path)
        assert [outcome for outcome, _ in found[:2]] == [Outcome.WARNING] * 2
        assert "reached by neighbours" in found[0][1]
        assert str(tmp_path) in found[2][1]
    podman = VERSION | {"Version": "4.3.1", "Components": [{"Name": "Podman Engine"}, 7]}
    with answering(tmp_path / "b", {"/version": podman, "/info": INFO}) as path:
        assert told(path)[0][1].startswith("Podman 4.3.1")


@pytest.mark.parametrize("answer", [b"no JSON", b"[]", b"", b"{", None, 7])
def test_nonsense_fails_in_words(answer: object, tmp_path: Path):
    with answering(tmp_path / "s", {"/version": answer, "/info": INFO}) as path:
        assert [outcome for outcome, _ in told(path)] == [Outcome.FAILED]
    with answering(tmp_path / "t", {"/version": VERSION, "/info": INFO}, status=500) as path:
        [(outcome, found)] = told(path)
        assert (outcome, "answers 500" in found) == (Outcome.FAILED, True)


def test_odd_values_are_shown_and_break_nothing(tmp_path: Path):
    odd: dict[str, Any] = {"Version": ["x"] * 100, "Components": {"a": 1}, "ApiVersion": None}
    with answering(
        tmp_path / "s", {"/version": odd, "/info": {"Warnings": 7, "DockerRootDir": ["/"]}}
    ) as path:
        assert [outcome for outcome, _ in told(path)] == [Outcome.OK]


def test_no_engine_at_all(tmp_path: Path):
    assert [outcome for outcome, _ in told(tmp_path / "none", needed=True)] == [Outcome.FAILED]
    assert list(permission(tmp_path / "none", ME)) == []
    (tmp_path / "file").touch()
    assert [each.outcome for each in permission(tmp_path / "file", ME)] == [Outcome.FAILED]
    assert [outcome for outcome, _ in told(tmp_path / "file")] == [Outcome.FAILED]


def test_a_socket_that_the_daemons_user_may_not_use(tmp_path: Path):
    with answering(tmp_path / "s", {}) as path:
        path.chmod(0o660)
        stranger = Surroundings(os.geteuid() + 1, frozenset({path.stat().st_gid + 1}), "aiidpd")
        [found] = permission(path, stranger)
        assert found.outcome is Outcome.FAILED
        assert "SupplementaryGroups=docker" in found.cure
        assert [
            each.outcome for each in permission(path, Surroundings(9, frozenset({path.stat().st_gid})))
        ] == [Outcome.OK]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can close a socket to itself")
def test_a_socket_that_whoever_calls_may_not_use_is_a_warning(tmp_path: Path):
    def expect(call: Callable[[], list[tuple[Outcome, str]]]) -> None:
        outcomes = [outcome for outcome, _ in call()]
        assert outcomes == [Outcome.WARNING], outcomes

    with answering(tmp_path / "s", {}) as path:
        path.chmod(0o600)
        assert as_nobody(lambda: expect(lambda: told(Path("s"))), tmp_path) == ""


def test_switched_off_or_simulated_no_engine_is_asked():
    for kind, outcome in (("off", Outcome.OK), ("simulated", Outcome.WARNING)):
        [check] = checks(made(ContainersSettings, engine=kind), ME)
        assert [each.outcome for each in check.run()] == [outcome]


def test_a_machine_without_docker_is_well_and_one_whose_docker_does_not_run_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    program = tmp_path / "dockerd"
    monkeypatch.setattr("aiidpd.components.containers.checks._PROGRAMS", (str(program),))
    assert [outcome for outcome, _ in told(tmp_path / "none")] == [Outcome.OK]
    program.touch(0o755)
    [(outcome, found)] = told(tmp_path / "none")
    assert (outcome, str(program) in found) == (Outcome.FAILED, True)


def test_a_gate_without_an_engine_is_a_machine_without_docker(tmp_path: Path):
    answer = {"message": "aiidpd-gate: there is no engine at /run/docker.sock"}
    with answering(tmp_path / "s", {"/version": answer}, status=503) as path:
        [(outcome, found)] = told(path, needed=True)
        assert (outcome, "there is no engine at /run/docker.sock" in found) == (Outcome.FAILED, True)


def test_whom_the_gate_does_not_serve_learns_that(tmp_path: Path):
    with answering(tmp_path / "s", {"/version": {"message": "aiidpd-gate: user 7"}}, status=403) as path:
        [(outcome, found)] = told(path)
        assert (outcome, "may not use" in found) == (Outcome.WARNING, True)
