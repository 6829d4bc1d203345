"""Images of made-up engines on the real Docker Engine, each with a behaviour of its own."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any, Final

from tests.fakes.busybox import root_archive
from tests.fakes.docker_engine import RealDocker
from tests.ports import free_port

_PROGRAM: Final = Path(__file__).with_name("tried_engine.py")
_PYTHON: Final = Path(sys.executable).resolve()
MOUNTS: Final = ("/usr:/usr:ro", "/usr/lib:/lib:ro", "/usr/lib64:/lib64:ro")


class EngineImages:
    """Makes images and containers of them; ``docker`` removes the containers, :meth:`clean` the images."""

    def __init__(self, docker: RealDocker) -> None:
        self.docker = docker
        self._made: dict[str, dict[str, Any]] = {}

    def image(self, tag: str, **how: Any) -> str:
        """Import an image whose engine behaves as ``how`` says; return its name."""
        name = f"{self.docker.image.partition(':')[0]}-engine:{self.docker.image.partition(':')[2]}-{tag}"
        if self._made.get(name) == how:
            return name
        archive = io.BytesIO(root_archive(Path(str(shutil.which("busybox")))))
        with tarfile.open(fileobj=archive, mode="a") as tar:
            tar.add(_PROGRAM, "engine/engine.py")
            data = json.dumps({"version": tag, **how}).encode()
            entry = tarfile.TarInfo("engine/engine.json")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
        command = ["docker", "import", "-c", f"ENV ENGINE_VERSION={tag}", "-c", "EXPOSE 8000"]
        command += ["-c", f'CMD ["{_PYTHON}", "/engine/engine.py"]', "-", name]
        subprocess.run(command, input=archive.getvalue(), check=True, capture_output=True)
        self._made[name] = how
        return name

    def run(
        self, text: str, image: str, *options: str, label: str = "aiidpd.upgrade=allow", host: bool = False
    ) -> tuple[str, int]:
        """Start a container of ``image``; return its name and the port of the host at which it serves."""
        name, port = self.docker.name(text), free_port()
        command = ["docker", "run", "-d", "--init", "--name", name, "--label", label]
        command += [part for mount in MOUNTS for part in ("-v", mount)]
        command += ["--stop-timeout", "1", "--network", "host"] if host else ["-p", f"127.0.0.1:{port}:8000"]
        command += [*options, image, *((str(_PYTHON), "/engine/engine.py", str(port)) if host else ())]
        subprocess.run(command, check=True, capture_output=True)
        return name, port

    def clean(self) -> None:
        """Remove the images."""
        if self._made:
            subprocess.run(["docker", "rmi", "-f", *self._made], check=False, capture_output=True)
