"""Restarts by the daemon, by systemd and by a person."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from aiidpd.api.client import ControlClient, ControlError, DaemonUnreachable
from aiidpd.components.secrets.problem import SecretsError
from aiidpd.components.secrets.registry import Format, KeyEntry
from aiidpd.components.secrets.restarts import RealRestarts
from tests.daemon import Daemon, running
from tests.waiting import until

ENTRY = KeyEntry("A", Format.LLAMACPP, 256, 0.0, 0, 0)
CONTAINER = "SIMULATED-vllm-openai-0"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    rule = f'\n[[containers.heal.rules]]\ncontainer = "{CONTAINER}"\nmode = "restart"\n'
    with running(tmp_path_factory.mktemp("secrets"), more=rule) as daemon:
        daemon.wait_for("aiidpd_container_heal_budget_left")
        yield daemon


class Make:
    """Makes restarts by the socket of a daemon, and closes their clients."""

    def __init__(self) -> None:
        self.clients: list[ControlClient] = []

    def __call__(
        self, socket: Path, said: list[str], *, by_hand: bool = False, patient: bool = False
    ) -> RealRestarts:
        self.clients.append(ControlClient(str(socket)))
        if patient:
            return RealRestarts(self.clients[-1], said.append, by_hand=by_hand)
        now = [0.0]

        def sleep(seconds: float) -> None:
            now[0] += seconds

        return RealRestarts(self.clients[-1], said.append, by_hand=by_hand, sleep=sleep, clock=lambda: now[0])


@pytest.fixture
def restarts() -> Iterator[Make]:
    make = Make()
    yield make
    for client in make.clients:
        client.close()


def test_a_container_is_restarted_by_a_heal(restarts: Make, daemon: Daemon) -> None:
    said: list[str] = []
    own = restarts(daemon.folder / "run/control.sock", said)
    own.engine(replace(ENTRY, engine=f"container:{CONTAINER}"))
    own.user(ENTRY, "daemon")
    assert said[0] == f"aiidpd restarts container {CONTAINER}, the server"
    assert len(said) > 2, "how far it is"
    with ControlClient(str(daemon.folder / "run/control.sock")) as client:
        healing = client.get("/v1/healing")["containers"]
        kinds = [event["kind"] for event in client.get("/v1/events", limit=200)["events"]]
    (one,) = [each for each in healing if each["name"] == CONTAINER]
    assert one["last"]["outcome"] == "healed"
    assert "config.reloaded" in kinds


def test_a_heal_that_goes_on_already_is_waited_for(daemon: Daemon, restarts: Make) -> None:
    said: list[str] = []
    own = restarts(daemon.folder / "run/control.sock", said, patient=True)
    with ControlClient(str(daemon.folder / "run/control.sock")) as client:
        client.post("/v1/healing/heals", {"container": CONTAINER})
    until(lambda: own.engine(replace(ENTRY, engine=f"container:{CONTAINER}")))
    assert f"{CONTAINER} is being healed already: this waits for the end of that" in said
    own.user(ENTRY, f"container:{CONTAINER}")


def test_one_whose_policy_allows_none_is_not(restarts: Make, daemon: Daemon) -> None:
    own = restarts(daemon.folder / "run/control.sock", [])
    for name, words in (
        (
            "SIMULATED-text-embeddings-2",
            "its healing policy is notify .*label it aiidpd.heal=restart.*--restart-yourself",
        ),
        ("nobody", "knows no container of this name"),
    ):
        with pytest.raises(SecretsError, match=words):
            own.engine(replace(ENTRY, engine=f"container:{name}"))


def test_one_that_heals_nothing_now_is_tried_again_for_a_while(tmp_path: Path, restarts: Make) -> None:
    said: list[str] = []
    with running(tmp_path, {"AIIDPD_CONTAINERS__ENGINE": "off"}) as daemon:
        daemon.wait_for("aiidpd_worker_up")
        with pytest.raises(SecretsError, match=r"cannot restart container a: .*; see `aiidpctl status`"):
            restarts(tmp_path / "run/control.sock", said).engine(replace(ENTRY, engine="container:a"))
    assert sum("tried again" in line for line in said) >= 30


def test_a_daemon_that_is_not_there_is_tried_again_for_a_while(restarts: Make, tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(ControlError, match=r"is aiidpd running.*--restart-yourself") as raised:
        restarts(tmp_path / "none.sock", said).engine(replace(ENTRY, engine="container:a"))
    assert raised.value.exit_code == DaemonUnreachable.exit_code
    assert said.count("aiidpd does not answer; tried again") >= 30


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("exit 0", ""),
        ("echo 'Unit a.service not found.' >&2; exit 5", "Unit a.service not found"),
        ("exit 1", "ended with 1"),
    ],
)
def test_a_unit_is_restarted_by_systemctl(
    restarts: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, words: str
) -> None:
    program = tmp_path / "systemctl"
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/called\n{script}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    own = restarts(tmp_path / "none.sock", [])
    if words:
        with pytest.raises(SecretsError, match=words):
            own.user(ENTRY, "unit:a.service")
    else:
        own.user(ENTRY, "unit:a.service")
    assert (tmp_path / "called").read_text() == "restart -- a.service\n"


def test_a_machine_without_systemd_says_so(
    restarts: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SecretsError, match="there is no systemctl"):
        restarts(tmp_path / "none.sock", []).engine(replace(ENTRY, engine="unit:a.service"))


def test_a_person_is_told_what_to_do(restarts: Make, tmp_path: Path) -> None:
    said: list[str] = []
    own = restarts(tmp_path / "none.sock", said, by_hand=True)
    for engine in ("container:a", "unit:a.service", ""):
        own.engine(replace(ENTRY, engine=engine))
    assert ["docker restart a" in said[0], "systemctl restart a.service" in said[1], "A.keys" in said[2]] == [
        True
    ] * 3


def test_what_nobody_knows_the_way_to_restart_is_named(restarts: Make, tmp_path: Path) -> None:
    with pytest.raises(SecretsError, match="it is not known what runs it"):
        restarts(tmp_path / "none.sock", []).engine(ENTRY)


def test_status_starts_without_any_of_this() -> None:
    code = "import sys; from aiidpd.cli.main import parser; parser(['status']); "
    code += "print('aiidpd.components.secrets.cli' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"
