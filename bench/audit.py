"""The audit of 10 and 500 containers, and how soon a change shows in the metrics.

The containers of the first part are the engine's JSON, each one with a few faults of its own; so what Docker
takes for its answers is not in them. The second part are ten containers on the Docker Engine of this machine,
from the list to the findings; beside it docker-bench-security, its section on containers alone, where
DOCKER_BENCH_FOLDER names its folder. The third is a daemon on that engine, from the end of `docker run` on.
"""

from __future__ import annotations

import copy
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio

from aiidpd.components.audit.evaluate import Auditor, Subjects
from aiidpd.components.audit.facts import Facts
from aiidpd.components.containers.docker import payload
from aiidpd.components.containers.docker.client import DockerRuntime
from aiidpd.contracts.inspections import EngineFacts, Inspection
from bench.harness import Subject, daemon, percentile, report

ROUNDS = 20
CHANGES = 15
LIMITS = {10: 0.1, 500: 1.0}
CHANGE_LIMIT = 1.0
SOCKET = Path("/var/run/docker.sock")
MARK = f"aiidpd-bench-audit-{os.getpid()}"
CONFIG = """
[gpu]
library = "off"
[audit]
listeners = false
[telemetry]
listen = ""
"""
ENGINE = EngineFacts(version="20.10.24", security_options=("name=seccomp,profile=default",))


def described(number: int) -> dict[str, Any]:
    """Return what an engine says of container ``number``, which has faults by its number."""
    host: dict[str, Any] = {
        "Privileged": number % 10 == 0,
        "CapDrop": ["ALL"] if number % 2 else None,
        "SecurityOpt": ["no-new-privileges:true"] if number % 3 else None,
        "Memory": 1 << 30 if number % 4 else 0,
        "PortBindings": {
            "8000/tcp": [{"HostIp": "" if number % 5 else "127.0.0.1", "HostPort": str(8000 + number)}]
        },
        "RestartPolicy": {"Name": "always", "MaximumRetryCount": 0},
        "LogConfig": {"Type": "json-file", "Config": {}},
        "NetworkMode": "bridge",
    }
    return {
        "Id": f"{number:064x}",
        "Name": f"/container-{number}",
        "Path": "vllm",
        "Args": ["serve", "--model", "m", *(["--trust-remote-code"] if number % 7 == 0 else [])],
        "State": {
            "Status": "running",
            "ExitCode": 0,
            "StartedAt": "2026-11-23T01:49:05Z",
            "FinishedAt": "0001-01-01T00:00:00Z",
        },
        "Config": {
            "Image": "vllm/vllm-openai:v0.11",
            "Env": [f"VARIABLE_{each}=value{each}" for each in range(30)],
            "Labels": {f"org.example.label.{each}": "value" for each in range(20)},
        },
        "HostConfig": host,
        "Mounts": [{"Type": "bind", "Source": "/srv/models", "Destination": "/models", "RW": False}],
    }


def judged(count: int) -> list[float]:
    """Return how long (seconds) parsing and judging ``count`` containers took, each time from nothing."""
    documents = [described(number) for number in range(count)]
    taken = []
    for _ in range(ROUNDS):
        given = copy.deepcopy(documents)
        began = time.perf_counter()
        containers = [_inspection(each) for each in given]
        Auditor().audit(Subjects(containers=containers, facts=Facts(engine=ENGINE)))
        taken.append(time.perf_counter() - began)
    return taken


def changed(count: int) -> list[float]:
    """Return how long one more audit took where one of ``count`` containers changed."""
    containers = [_inspection(described(number)) for number in range(count)]
    auditor, facts = Auditor(), Facts(engine=ENGINE)
    auditor.audit(Subjects(containers=containers, facts=facts))
    taken = []
    for number in range(ROUNDS):
        other = described(number)
        other["HostConfig"]["ReadonlyRootfs"] = True
        containers[number] = _inspection(other)
        began = time.perf_counter()
        auditor.audit(Subjects(containers=containers, facts=facts))
        taken.append(time.perf_counter() - began)
    return taken


def _inspection(document: dict[str, Any]) -> Inspection:
    found = payload.reading(document).inspection
    if found is None:
        raise LookupError("the reading has no inspection")
    return found


def _docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout.strip()


@contextmanager
def ten() -> Iterator[str]:
    """Run ten containers with faults; yield the name of their image."""
    image = f"{MARK}:1"
    archive = subprocess.run(["tar", "-C", "/bin", "-c", "busybox"], check=True, capture_output=True).stdout
    subprocess.run(["docker", "import", "-", image], input=archive, check=True, capture_output=True)
    try:
        for number in range(10):
            options = ["--security-opt=no-new-privileges:false", "--restart=always", "--network=none"]
            _docker("run", "-d", "--name", f"{MARK}-{number}", *options, image, "/busybox", "sleep", "900")
        yield image
    finally:
        names = _docker("ps", "-aq", "--filter", f"name={MARK}").split()
        if names:
            _docker("rm", "-f", *names)
        _docker("rmi", "-f", image)


async def _read_and_judge() -> float:
    runtime = DockerRuntime(SOCKET)
    try:
        began = time.perf_counter()
        snapshot = await runtime.containers(fresh=True)
        found = [each.inspection for each in snapshot.containers if each.inspection is not None]
        Auditor().audit(Subjects(containers=found, facts=Facts(engine=ENGINE)))
        return time.perf_counter() - began
    finally:
        await runtime.aclose()


def docker_bench() -> float | None:
    """Return how long docker-bench-security took for its section on containers, None where it is not here."""
    folder = os.environ.get("DOCKER_BENCH_FOLDER")
    if folder is None:
        return None
    began = time.perf_counter()
    command = ["bash", "docker-bench-security.sh", "-b", "-c", "container_runtime", "-l", "/dev/null"]
    subprocess.run(command, cwd=folder, capture_output=True, check=False)
    return time.perf_counter() - began


def _metrics(subject: Subject) -> str:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(subject.metrics))
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        parts = []
        while part := client.recv(1 << 16):
            parts.append(part)
    return b"".join(parts).decode()


def change_to_metric(image: str) -> list[float]:
    """Return how long it took from `docker run` returning to a finding in the metrics."""
    taken = []
    with daemon(CONFIG) as subject:
        time.sleep(5)
        for number in range(CHANGES):
            name = f"{MARK}-change"
            options = ["--network=none", "--cap-add=SYS_PTRACE"]
            _docker("run", "-d", "--name", name, *options, image, "/busybox", "sleep", "900")
            began = time.perf_counter()
            while 'rule="cap-add-host"' not in _metrics(subject):
                if time.perf_counter() - began > 30:  # noqa: PLR2004 -- seconds after which something is wrong
                    raise TimeoutError(f"change {number} does not show")
                time.sleep(0.005)
            taken.append(time.perf_counter() - began)
            _docker("rm", "-f", name)
            while 'rule="cap-add-host"' in _metrics(subject):
                time.sleep(0.02)
    return taken


def main() -> None:
    """Print all figures."""
    figures: dict[str, tuple[float, float | None]] = {
        f"{count} containers, p50": (percentile(judged(count), 0.5), limit) for count, limit in LIMITS.items()
    }
    figures["one of 500 changed, p50"] = (percentile(changed(500), 0.5), LIMITS[10])
    if SOCKET.is_socket():
        with ten() as image:
            real = [anyio.run(_read_and_judge) for _ in range(ROUNDS)]
            figures["ten real ones, p50"] = (percentile(real, 0.5), LIMITS[10])
            other = docker_bench()
            if other is not None:
                figures["docker-bench-security"] = (other, None)
            shown = change_to_metric(image)
            figures["change to metric, p50"] = (percentile(shown, 0.5), CHANGE_LIMIT)
            figures["change to metric, worst"] = (max(shown), CHANGE_LIMIT)
    report("audit", "s", figures)


if __name__ == "__main__":
    main()
