"""The whole way, on real parts: an engine hangs, is found by its progress, and is healed with evidence."""

from __future__ import annotations

import json
import threading
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from aiidpd.api.client import ControlClient, DaemonUnreachable
from tests.daemon import Daemon, running
from tests.fakes.llama_container import LlamaContainer, LlamaContainers
from tests.waiting import until

pytestmark = [
    pytest.mark.real("docker"),
    pytest.mark.real("llama"),
    pytest.mark.usefixtures("only_healer"),
    pytest.mark.timeout(900),  # others that heal come first
]


CHECKS = "aiidpd_engine_checks_total"


def get(daemon: Daemon, path: str, **query: object) -> dict[str, Any]:
    """Return a document of the daemon's API, an empty one while it can't be reached."""
    try:
        with ControlClient(str(daemon.folder / "run" / "control.sock")) as client:
            return client.get(path, **query)
    except DaemonUnreachable:
        return {}


def verdict(daemon: Daemon, name: str) -> str:
    """Return the verdict on the engine ``name``."""
    found = (each for each in get(daemon, "/v1/engines").get("engines", ()) if each["name"] == name)
    return next((str(each["verdict"]) for each in found), "")


def generate(one: LlamaContainer) -> None:
    """Have somebody generate again and again, until the server no longer answers."""
    body = json.dumps({"prompt": "a", "n_predict": 100_000, "ignore_eos": True, "stream": False}).encode()
    request = urllib.request.Request(f"{one.url}/completion", body, {"Content-Type": "application/json"})

    def work() -> None:
        with suppress(OSError):
            while True:
                with urllib.request.urlopen(request, timeout=300) as response:
                    response.read()

    threading.Thread(target=work, daemon=True).start()


def kinds(daemon: Daemon, about: str) -> list[str]:
    """Return the events about ``about`` in their order."""
    events = get(daemon, "/v1/events", limit=1000).get("events", ())
    return [each["kind"] for each in events if each["subject"] == about]


@pytest.fixture
def settings(llama_containers: LlamaContainers) -> dict[str, str]:
    return {
        "AIIDPD_CONTAINERS__ENGINE": "docker",
        "AIIDPD_CONTAINERS__HEAL__DRY_RUN": "false",
        "AIIDPD_CONTAINERS__SOCKET": str(llama_containers.docker.socket),
        "AIIDPD_ENGINES__INTERVAL": "1s",
        "AIIDPD_ENGINES__LIVENESS__MINIMUM_QUIET": "6s",
        "AIIDPD_ENGINES__LIVENESS__MAXIMUM_QUIET": "8s",
    }


def test_a_server_that_hangs_amid_a_generation_is_restarted_once_with_its_evidence_on_disk(
    llama_containers: LlamaContainers, settings: dict[str, str], tmp_path: Path
) -> None:
    one = llama_containers.run("hangs", labels=("aiidpd.heal=restart",))
    with running(tmp_path, settings) as daemon:

        def known() -> str:
            return f"{(tmp_path / 'log').read_text()[-3000:]}\n{get(daemon, '/v1/engines')}"

        until(lambda: verdict(daemon, one.name) == "idle", why=known)
        generate(one)
        until(lambda: verdict(daemon, one.name) == "working", why=known)
        started = one.started_at
        one.hang()
        until(lambda: verdict(daemon, one.name) == "hung", why=known)
        until(lambda: one.started_at != started, why=known)
        until(lambda: "container.heal_ended" in kinds(daemon, one.name), why=known)
        until(lambda: verdict(daemon, one.name) == "idle", why=known)
        [ended] = get(daemon, "/v1/events", kind="container.heal_ended")["events"]
        assert ended["evidence"]["outcome"] == "healed"
        told = kinds(daemon, one.name)
        assert told.count("engine.hung") == told.count("container.heal_evidence") == 1
        assert (
            told.index("engine.hung") < told.index("container.heal_evidence") < told.index("container.died")
        )
        assert 'alert="engine_hung"' not in daemon.exposition()
        incidents = [path for path in (tmp_path / "state" / "incidents").iterdir() if path.is_dir()]
        written = "".join(path.name for folder in incidents for path in folder.iterdir())
        assert f"log-{one.name}" in written
        assert f"inspect-{one.name}" in written


def test_without_a_label_a_hang_is_shown_and_nothing_is_done(
    llama_containers: LlamaContainers, settings: dict[str, str], tmp_path: Path
) -> None:
    one = llama_containers.run("shown")
    with running(tmp_path, settings) as daemon:

        def known() -> str:
            return f"{(tmp_path / 'log').read_text()[-3000:]}\n{get(daemon, '/v1/engines')}"

        until(lambda: verdict(daemon, one.name) == "idle", why=known)
        started = one.started_at
        generate(one)
        until(lambda: verdict(daemon, one.name) == "working", why=known)
        one.hang()
        until(lambda: verdict(daemon, one.name) == "hung", why=known)
        status = get(daemon, "/v1/status")
        assert not status["healthy"]
        assert ("engine_hung", one.name) in [(each["type"], each["subject"]) for each in status["conditions"]]
        until(lambda: "container.heal_advised" in kinds(daemon, one.name), why=known)
        assert one.started_at == started


def test_an_idle_engine_that_is_found_in_a_container_is_checked_by_one_token(
    llama_containers: LlamaContainers, settings: dict[str, str], tmp_path: Path
) -> None:
    one = llama_containers.run("checked", "--api-key", "a-key-of-its-own")
    with running(tmp_path, settings | {"AIIDPD_ENGINES__LIVENESS__CHECK_INTERVAL": "2s"}) as daemon:

        def checks() -> list[str]:
            return [line for line in daemon.exposition().splitlines() if line.startswith(CHECKS)]

        daemon.wait_for(CHECKS)
        assert [line for line in checks() if 'result="answered"' in line] == checks()
        assert verdict(daemon, one.name) == "idle"
