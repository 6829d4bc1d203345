"""A real llama-server in a container: found by its command line, polled, and left asleep."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from aiidpd.api.client import ControlClient, DaemonUnreachable
from tests.daemon import Daemon, running
from tests.fakes.llama_container import LlamaContainers
from tests.waiting import until

pytestmark = [pytest.mark.real("docker"), pytest.mark.real("llama")]


def engine(daemon: Daemon, name: str) -> dict[str, Any]:
    """Return what the daemon knows of the engine ``name``, nothing where it does not know it."""
    try:
        with ControlClient(str(daemon.folder / "run" / "control.sock")) as client:
            engines = client.get("/v1/engines")["engines"]
    except DaemonUnreachable:
        return {}
    return next((each for each in engines if each["name"] == name), {})


def test_engines_in_containers_come_and_go(llama_containers: LlamaContainers, tmp_path: Path) -> None:
    containers = llama_containers
    awake = containers.run("awake")
    sleeper = containers.run("sleeper", "--sleep-idle-seconds", "2")
    alone = containers.run("alone", labels=("aiidpd.engine=off",))
    wrong = containers.run("wrong", labels=("aiidpd.engine.port=eighty",))
    real = {"AIIDPD_CONTAINERS__ENGINE": "docker", "AIIDPD_ENGINES__INTERVAL": "1s"}
    real["AIIDPD_CONTAINERS__SOCKET"] = str(containers.docker.socket)
    with running(tmp_path, real) as daemon:

        def known() -> str:
            log = (tmp_path / "log").read_text()[-2000:]
            return f"{log}\n{engine(daemon, awake.name)}\n{engine(daemon, sleeper.name)}"

        until(lambda: engine(daemon, awake.name).get("requests_running") == 0, why=known)
        found = engine(daemon, awake.name)
        assert (found["engine"], found["residency"], found["may_sleep"]) == ("llama.cpp", "loaded", False)
        assert len(found["container"]) == 64
        until(lambda: engine(daemon, sleeper.name).get("residency") == "sleeping", why=known)
        assert engine(daemon, sleeper.name)["may_sleep"]
        assert engine(daemon, alone.name) == {}
        assert engine(daemon, wrong.name)["residency"] in ("unknown", "loading", "loaded")
        until(lambda: "engine_label_invalid" in daemon.exposition(), why=known)

        awake.act("pause")
        until(lambda: engine(daemon, awake.name).get("reason") == "its container is paused", why=known)
        awake.act("unpause")
        until(lambda: engine(daemon, awake.name).get("requests_running") == 0, why=known)
        awake.act("kill")
        until(lambda: engine(daemon, awake.name).get("reason") == "its container does not run", why=known)
        awake.act("start")
        until(lambda: engine(daemon, awake.name).get("requests_running") == 0, why=known)
        subprocess.run(["docker", "rm", "-f", awake.name], check=True, capture_output=True)
        until(lambda: not engine(daemon, awake.name), why=known)

        polls = engine(daemon, sleeper.name)["polls"]["requests"]
        until(lambda: engine(daemon, sleeper.name)["polls"]["requests"] >= polls + 3, why=known)
        assert sleeper.said("server is entering sleeping state") == 1
        assert sleeper.said("server is exiting sleeping state") == 0
