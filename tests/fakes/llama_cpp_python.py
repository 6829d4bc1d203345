"""A real server of llama-cpp-python: an engine of bad manners, on the libllama of the llama-server.

It counts no tokens in a stream, whatever is requested, and ends an answer where it stands when another
request arrives. Its own log has the truth.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.fakes.llama import find_server, make_model
from tests.ports import free_port
from tests.waiting import PATIENCE

HOW_TO_GET = (
    "run .ci/llama-cpp-python (a minute, once) and set AIIDPD_LLAMA_CPP_PYTHON to the path that it prints"
)
_TIMES = re.compile(
    r"prompt eval time = +(?P<prompt>[\d.]+) ms.*?"
    r" eval time = +(?P<decode>[\d.]+) ms / +(?P<runs>\d+) runs.*?"
    r"total time = +(?P<whole>[\d.]+) ms",
    re.DOTALL,
)


@dataclass(frozen=True)
class Logged:
    """Times of an answer in seconds, as libllama logged them. Each token but the first took a run."""

    prompt: float
    decode: float
    whole: float
    runs: int


def find_python() -> Path | None:
    """Return the Python that has llama-cpp-python: from AIIDPD_LLAMA_CPP_PYTHON."""
    named = os.environ.get("AIIDPD_LLAMA_CPP_PYTHON")
    return Path(named) if named and find_server() is not None else None


@dataclass
class PythonServer:
    """One that runs."""

    port: int
    log: Path

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def logged(self) -> list[Logged]:
        """Return the times of all answers until now."""
        return [
            Logged(
                float(each["prompt"]) / 1e3,
                float(each["decode"]) / 1e3,
                float(each["whole"]) / 1e3,
                int(each["runs"]),
            )
            for each in _TIMES.finditer(self.log.read_text(errors="replace"))
        ]


@contextlib.contextmanager
def running(folder: Path, **shape: int) -> Iterator[PythonServer]:
    """Make a model of ``shape`` in ``folder`` and serve it; :func:`find_python` must find one."""
    python, libraries = find_python(), find_server()
    if python is None or libraries is None:
        raise LookupError(HOW_TO_GET)
    make_model(folder / "tiny.gguf", **shape)
    server = PythonServer(free_port(), folder / "llama-cpp-python.log")
    command: list[str | Path] = [python, "-m", "llama_cpp.server", "--model", folder / "tiny.gguf"]
    command += ["--host", "127.0.0.1", "--port", str(server.port), "--n_ctx", "4096", "--n_threads", "1"]
    where = str(libraries.parent)
    environment = {**os.environ, "LLAMA_CPP_LIB_PATH": where, "LD_LIBRARY_PATH": where}
    environment.pop("PYTHONPATH", None)
    with (
        server.log.open("ab") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=environment) as process,
    ):
        try:
            _wait_for(server, process)
            yield server
        finally:
            process.kill()


def _wait_for(server: PythonServer, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 2 * PATIENCE  # it imports much
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{server.url}/v1/models", timeout=5).close()
            return
        time.sleep(0.05)
    raise RuntimeError(f"it did not come up:\n{server.log.read_text(errors='replace')[-2000:]}")
