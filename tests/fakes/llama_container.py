"""Real llama-servers in containers of the real Docker Engine, from the files of this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.fakes import llama
from tests.fakes.docker_engine import RealDocker
from tests.ports import free_port

HOST_LIBRARIES = ("/usr/lib:/usr/lib:ro", "/usr/lib:/lib:ro", "/usr/lib64:/lib64:ro")


@dataclass(frozen=True, slots=True)
class LlamaContainer:
    """One of them, in the host's network."""

    name: str
    port: int

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def id(self) -> str:
        """Full id of the container that has the name now."""
        return str(self._described("Id"))

    @property
    def pid(self) -> int:
        """Pid of the server, by the host's count; 0 while it does not run."""
        state = self._described("State")
        assert isinstance(state, dict)
        return int(state["Pid"])

    @property
    def started_at(self) -> str:
        """Docker's time of its last start."""
        state = self._described("State")
        assert isinstance(state, dict)
        return str(state["StartedAt"])

    def hang(self) -> None:
        """Stop the server without an end, as one that waits for ever: the kernel still accepts for it."""
        os.kill(self.pid, signal.SIGSTOP)

    def act(self, action: str) -> None:
        """Do as a person does: ``docker pause``, ``kill``, ``start``..."""
        subprocess.run(["docker", action, self.name], check=True, capture_output=True)

    def said(self, text: str) -> int:
        """Return how often it wrote ``text``."""
        done = subprocess.run(["docker", "logs", self.name], check=True, capture_output=True, text=True)
        return (done.stdout + done.stderr).count(text)

    def _described(self, key: str) -> object:
        done = subprocess.run(["docker", "inspect", self.name], check=True, capture_output=True)
        return json.loads(done.stdout)[0][key]


class LlamaContainers:
    """Makes them, of one tiny model in ``folder`` and the binary ``server``; ``docker`` removes them."""

    def __init__(self, docker: RealDocker, folder: Path, server: Path) -> None:
        self.docker = docker
        self._server = server
        self._folder = folder
        llama.make_model(folder / "tiny.gguf")

    def run(
        self, text: str, *options: str, labels: tuple[str, ...] = (), more_mounts: tuple[str, ...] = ()
    ) -> LlamaContainer:
        """Start one on a port of its own."""
        one = LlamaContainer(self.docker.name(text), free_port())
        mounts = (
            *HOST_LIBRARIES,
            *more_mounts,
            f"{self._server.parent}:/llama:ro",
            f"{self._folder}:/models:ro",
        )
        command = ["docker", "run", "-d", "--network", "host", "--name", one.name]
        command += [part for mount in mounts for part in ("-v", mount)]
        command += [part for label in labels for part in ("--label", label)]
        command += ["-e", "LD_LIBRARY_PATH=/llama", self.docker.image, "/llama/llama-server"]
        command += ["-m", "/models/tiny.gguf", "--host", "127.0.0.1", "--port", str(one.port)]
        command += ["--ctx-size", "2048", "--threads", "1", "--parallel", "1", "--metrics", *options]
        subprocess.run(command, check=True, capture_output=True)
        return one
