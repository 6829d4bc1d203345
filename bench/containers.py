"""The watcher of containers on 500 of them: time of a reading, CPU share, memory.

The engine is made up, on a Unix socket: it answers as Docker does, with entries of the usual size, from its
own process. Neither what Docker itself takes for its answers is in the figures, nor what 500 engines cost.
"""

from __future__ import annotations

import http.server
import json
import multiprocessing
import os
import socketserver
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio

from aiidpd.components.containers.docker.client import DockerRuntime
from bench.harness import cpu_seconds, daemon, percentile, processes, pss_bytes, report

CONTAINERS = 500
SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 95.0
ROUNDS = 10
RECONCILE_LIMIT = 1.0
CPU_LIMIT = 1.0
MEMORY_LIMIT = 10.0
MEBIBYTE = 1 << 20
CONFIG = """
[gpu]
library = "off"
[containers]
engine = "{engine}"
socket = "{socket}"
[engines]
containers = false
[telemetry]
listen = ""
"""


def identity(number: int) -> str:
    """Return the id of container ``number``."""
    return f"{number:064x}"


LABELS = {f"com.docker.compose.{each}": "chat" * 4 for each in ("project", "service", "config-hash")}
LABELS |= {f"org.example.label.{number}": "value" * 4 for number in range(10)}


def listed(number: int) -> dict[str, object]:
    """Return an entry of the list, as Docker 20.10 writes it."""
    return {
        "Id": identity(number),
        "Names": [f"/container-{number}"],
        "Image": "vllm/vllm-openai:latest",
        "ImageID": "sha256:" + "a" * 64,
        "Command": "python3 -m vllm.entrypoints.openai.api_server",
        "Created": 1_700_000_000,
        "Ports": [{"IP": "127.0.0.1", "PrivatePort": 8000, "PublicPort": 8000 + number, "Type": "tcp"}],
        "Labels": LABELS,
        "State": "running",
        "Status": "Up 3 weeks (healthy)",
        "HostConfig": {"NetworkMode": "bridge"},
        "NetworkSettings": {"Networks": {"bridge": {"EndpointID": "b" * 64, "IPAddress": "172.17.0.2"}}},
        "Mounts": [],
    }


def described(number: int, started: str) -> dict[str, object]:
    """Return a description of the usual size."""
    state = {"Status": "running", "Running": True, "OOMKilled": False, "ExitCode": 0, "Pid": 1000 + number}
    state |= {"StartedAt": started, "FinishedAt": "0001-01-01T00:00:00Z", "Error": ""}
    state["Health"] = {"Status": "healthy", "FailingStreak": 0, "Log": []}
    return {
        "Id": identity(number),
        "Name": f"/container-{number}",
        "RestartCount": 0,
        "Path": "python3",
        "Args": ["-m", "vllm.entrypoints.openai.api_server", "--model", "/models/one"],
        "State": state,
        "Config": {
            "Image": "vllm/vllm-openai:latest",
            "Labels": LABELS,
            "Env": [f"VARIABLE_{each}=a value of the usual length" for each in range(30)],
            "ExposedPorts": {"8000/tcp": {}},
        },
        "HostConfig": {"RestartPolicy": {"Name": "always"}, "NetworkMode": "bridge", "Binds": ["/a:/b"] * 5},
        "NetworkSettings": {"Networks": {"bridge": {"IPAddress": "172.17.0.2"}}, "Ports": {}},
        "Mounts": [{"Type": "bind", "Source": "/a", "Destination": "/b"}] * 5,
    }


class Engine(http.server.BaseHTTPRequestHandler):
    """Answers what the watcher calls."""

    protocol_version = "HTTP/1.1"
    answers: dict[str, bytes]

    def do_GET(self) -> None:
        """Answer from what was made before; the stream of events stays open."""
        path = self.path.split("?")[0]
        if path.startswith("/v1."):
            path = "/" + path.split("/", 2)[2]
        if path == "/events":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            if "until=" in self.path:
                self.wfile.write(b"0\r\n\r\n")
                return
            time.sleep(3600)
            return
        body = self.answers.get(path, b"{}")
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """A thread for each connection."""

    daemon_threads = True
    request_queue_size = 128

    def get_request(self) -> tuple[object, object]:  # type: ignore[override]
        """Return a connection with an address of the form that http.server expects."""
        connection, _ = super().get_request()
        return connection, ("client", 0)


def serve(path: str, number: int) -> None:
    """Serve ``number`` containers at the socket ``path`` until killed."""
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 23 * 86400))
    answers = {
        "/version": json.dumps({"Version": "made up", "ApiVersion": "1.41"}).encode(),
        "/containers/json": json.dumps([listed(each) for each in range(number)]).encode(),
    }
    for each in range(number):
        answers[f"/containers/{identity(each)}/json"] = json.dumps(described(each, started)).encode()
    Engine.answers = answers
    Server(path, Engine).serve_forever()


async def reconcile(socket: str) -> tuple[float, list[float], float]:
    """Return the seconds of a first reading, of readings when nothing changed, and of a read of events."""
    runtime = DockerRuntime(socket)
    began = time.monotonic()
    assert len((await runtime.containers(fresh=True)).containers) == CONTAINERS
    first = time.monotonic() - began
    quiet = []
    for _ in range(ROUNDS):
        began = time.monotonic()
        await runtime.containers()
        quiet.append(time.monotonic() - began)
    before = time.process_time()
    for _ in range(100):
        await runtime.recall(time.time() - 3, time.time() - 1)
    canary = (time.process_time() - before) / 100
    await runtime.aclose()
    return first, quiet, canary


def cost(socket: str, engine: str = "docker") -> tuple[float, float]:
    """Return CPU in % of a core and memory in MiB of a daemon that watches ``engine``."""
    with daemon(CONFIG.format(socket=socket, engine=engine)) as subject:
        time.sleep(10)
        pids = processes(subject.pid)
        before, began = cpu_seconds(pids), time.monotonic()
        time.sleep(SECONDS)
        share = 100 * (cpu_seconds(pids) - before) / (time.monotonic() - began)
        return share, sum(map(pss_bytes, pids)) / MEBIBYTE


@contextmanager
def serving(number: int) -> Iterator[str]:
    """Yield the socket of an engine with ``number`` containers."""
    with tempfile.TemporaryDirectory() as folder:
        socket = str(Path(folder) / "d.sock")
        server = multiprocessing.Process(target=serve, args=(socket, number), daemon=True)
        server.start()
        try:
            while not os.path.exists(socket):  # noqa: PTH110
                time.sleep(0.05)
            yield socket
        finally:
            server.kill()


def main() -> None:
    """Measure the readings in this process, and the whole in a daemon.

    What the containers cost is measured beside a daemon that watches an engine without any; CPU also beside
    one that watches no engine.
    """
    with serving(CONTAINERS) as socket:
        first, quiet, canary = anyio.run(reconcile, socket)
        cpu, memory = cost(socket)
        cpu_off, memory_off = cost(socket, "off")
    with serving(0) as socket:
        _, memory_empty = cost(socket)
    report(
        "containers",
        "s",
        {
            "first_reading": (first, RECONCILE_LIMIT),
            "reading_p50": (percentile(quiet, 0.5), RECONCILE_LIMIT),
            "reading_max": (max(quiet), RECONCILE_LIMIT),
            "look_at_events_cpu": (canary, None),
        },
    )
    report("containers", "% of a core", {"cpu_share": (cpu - cpu_off, CPU_LIMIT), "of_all": (cpu, None)})
    report(
        "containers",
        "MiB",
        {
            "memory": (memory - memory_empty, MEMORY_LIMIT),
            "of_the_client": (memory_empty - memory_off, None),
            "of_all": (memory, None),
        },
    )


if __name__ == "__main__":
    main()
