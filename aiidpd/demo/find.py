"""Finds the parts of this machine that the daemon can watch; for what it lacks, why."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import anyio.to_thread

from aiidpd.components.containers.docker.client import DockerRuntime
from aiidpd.components.thermal.driver.client import NvmlLibrary
from aiidpd.kernel.errors import Unavailable

DOCKER_SOCKETS = (Path("/run/docker.sock"), Path("/var/run/docker.sock"))
# Where vLLM, llama.cpp, LM Studio and Ollama listen unless they are configured otherwise.
ENDPOINTS = tuple(f"http://127.0.0.1:{port}" for port in (8000, 8001, 8002, 8080, 1234, 11434))
METRICS_PORT = 9753
_PATIENCE = 1.0  # seconds for one check


@dataclass(frozen=True, slots=True)
class Served:
    """An inference server that answers, and the first model that it serves."""

    url: str
    model: str


@dataclass(frozen=True, slots=True)
class Found:
    """Parts that are there; ``no_*`` is why a part is not, and is empty where it is."""

    no_gpu: str
    docker: Path | None
    no_docker: str
    served: Served | None
    metrics_port: int

    @property
    def no_endpoint(self) -> str:
        """Why no endpoint is measured."""
        return "" if self.served else f"no OpenAI-compatible server answers at {', '.join(ENDPOINTS)}"


async def find() -> Found:
    """Search for every part; takes a second or two."""
    no_gpu = await _no_gpu()
    docker, no_docker = await _docker(DOCKER_SOCKETS)
    return Found(no_gpu, docker, no_docker, await anyio.to_thread.run_sync(served), free_port(METRICS_PORT))


async def _no_gpu() -> str:
    library = NvmlLibrary()
    try:
        await library.read()
    except Unavailable as error:
        return str(error)
    finally:
        await library.aclose()
    return ""


async def _docker(candidates: Iterable[Path]) -> tuple[Path | None, str]:
    reason = ""
    for path in candidates:
        engine = DockerRuntime(path, call_timeout=_PATIENCE)
        try:
            await engine.containers()
        except Unavailable as error:
            reason = reason or str(error)
        else:
            return path, ""
        finally:
            await engine.aclose()
    return None, reason


def served(candidates: Iterable[str] = ENDPOINTS, patience: float = _PATIENCE) -> Served | None:
    """Return the first of ``candidates`` (base URLs) that lists a model; blocks for ``patience`` s each."""
    opener = build_opener(ProxyHandler({}))  # a proxy of the environment is no server of this machine
    for url in candidates:
        try:
            with opener.open(f"{url}/v1/models", timeout=patience) as answer:
                models = json.load(answer)["data"]
                return Served(url, str(models[0]["id"]))
        except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError):
            continue  # nobody there, or somebody else
    return None


def free_port(wanted: int) -> int:
    """Return ``wanted`` if this machine has it free on loopback, else another that is."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
