"""A real llama-server in a container: found by its command line, polled, and left asleep."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aiidpd.api.client import ControlClient, DaemonUnreachable
from tests.daemon import Daemon, running
from tests.fakes import llama
from tests.fakes.docker_engine import RealDocker
from tests.ports import free_port
from tests.waiting import until

pytestmark = [pytest.mark.real("docker"), pytest.mark.real("llama")]

HOST_LIBRARIES = ("/usr/lib:/usr/lib:ro", "/usr/lib:/lib:ro", "/usr/lib64:/lib64:ro")


class Containers:
    """Containers of llama-server in the host's network, from the files of this machine."""

    def __init__(self, docker: RealDocker, folder: Path, server: Path) -> None:
        self.docker = docker
        self._server = server
        self._folder = folder
        llama.make_model(folder / "tiny.gguf")

    def run(self, text: str, *options: str, labels: tuple[str, ...] = ()) -> str:
        """Start one on a port of its own; return its name."""
        name = self.docker.name(text)
        mounts = (*HOST_LIBRARIES, f"{self._server.parent}:/llama:ro", f"{self._folder}:/models:ro")
        command = ["docker", "run", "-d", "--network", "host", "--name", name]
        command += [part for mount in mounts for part in ("-v", mount)]
        command += [part for label in labels for part in ("--label", label)]
        command += ["-e", "LD_LIBRARY_PATH=/llama", self.docker.image, "/llama/llama-server"]
        command += ["-m", "/models/tiny.gguf", "--host", "127.0.0.1", "--port", str(free_port())]
        command += ["--ctx-size", "2048", "--threads", "1", "--parallel", "1", "--metrics", *options]
        subprocess.run(command, check=True, capture_output=True)
        return name

    def act(self, action: str, name: str) -> None:
        """Do as a person does."""
        subprocess.run(["docker", action, name], check=True, capture_output=True)

    def said(self, name: str, text: str) -> int:
        """Return how often it said so."""
        done = subprocess.run(["docker", "logs", name], check=True, capture_output=True, text=True)
        return (done.stdout + done.stderr).count(text)


@pytest.fixture
def containers(docker: RealDocker, tmp_path: Path, missing: Callable[[str, str], None]) -> Containers:
    server = llama.find_server()
    if server is None:
        missing("llama-server", llama.HOW_TO_GET)
    folder = tmp_path / "models-of-containers"
    folder.mkdir()
    return Containers(docker, folder, Path(str(server)))


def engine(daemon: Daemon, name: str) -> dict[str, Any]:
    """Return what the daemon knows of the engine ``name``, nothing where it does not know it."""
    try:
        with ControlClient(str(daemon.folder / "run" / "control.sock")) as client:
            engines = client.get("/v1/engines")["engines"]
    except DaemonUnreachable:
        return {}
    return next((each for each in engines if each["name"] == name), {})


def test_engines_in_containers_come_and_go(containers: Containers, tmp_path: Path) -> None:
    awake = containers.run("awake")
    sleeper = containers.run("sleeper", "--sleep-idle-seconds", "2")
    alone = containers.run("alone", labels=("aiidpd.engine=off",))
    wrong = containers.run("wrong", labels=("aiidpd.engine.port=eighty",))
    real = {"AIIDPD_CONTAINERS__ENGINE": "docker", "AIIDPD_ENGINES__INTERVAL": "1s"}
    real["AIIDPD_CONTAINERS__SOCKET"] = str(containers.docker.socket)
    with running(tmp_path, real) as daemon:

        def known() -> str:
            log = (tmp_path / "log").read_text()[-2000:]
            return f"{log}\n{engine(daemon, awake)}\n{engine(daemon, sleeper)}"

        until(lambda: engine(daemon, awake).get("requests_running") == 0, why=known)
        found = engine(daemon, awake)
        assert (found["engine"], found["residency"], found["may_sleep"]) == ("llama.cpp", "loaded", False)
        assert len(found["container"]) == 64
        until(lambda: engine(daemon, sleeper).get("residency") == "sleeping", why=known)
        assert engine(daemon, sleeper)["may_sleep"]
        assert engine(daemon, alone) == {}
        assert engine(daemon, wrong)["residency"] in ("unknown", "loading", "loaded")
        until(lambda: "engine_label_invalid" in daemon.exposition(), why=known)

        containers.act("pause", awake)
        until(lambda: engine(daemon, awake).get("reason") == "its container is paused", why=known)
        containers.act("unpause", awake)
        until(lambda: engine(daemon, awake).get("requests_running") == 0, why=known)
        containers.act("kill", awake)
        until(lambda: engine(daemon, awake).get("reason") == "its container does not run", why=known)
        containers.act("start", awake)
        until(lambda: engine(daemon, awake).get("requests_running") == 0, why=known)
        subprocess.run(["docker", "rm", "-f", awake], check=True, capture_output=True)
        until(lambda: not engine(daemon, awake), why=known)

        polls = engine(daemon, sleeper)["polls"]["requests"]
        until(lambda: engine(daemon, sleeper)["polls"]["requests"] >= polls + 3, why=known)
        assert containers.said(sleeper, "server is entering sleeping state") == 1
        assert containers.said(sleeper, "server is exiting sleeping state") == 0
