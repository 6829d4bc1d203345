"""From the event that a container is unhealthy to the call that restarts it, beside two other healers.

``python -m bench.healing [ROUNDS]`` needs a Docker Engine and busybox-static. By turns, on the same
container:

- aiidpd: watcher and healer as the daemon has them, the drain off, evidence (500 lines of log and the
  inspect) written and flushed to the disk first;
- polling: docker-autoheal's loop as documented: each 5 s the unhealthy containers are listed and restarted,
  one after the other;
- event-driven: a restart at each event, with a backoff of 10, 20 and 40 s and 5 in 300 s, as
  Docker-Guardian's policy has it. It writes no evidence.

The event is timed where the Docker Engine's own stream brings it to a bystander, the calls at a proxy before
the engine's socket.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import aiohttp
import anyio

from aiidpd.components.containers.docker.actions import DockerActions
from aiidpd.components.containers.heal.protocols import HealSubject
from aiidpd.kernel.events import Scalar
from bench.harness import report
from tests.fakes.docker_engine import RealDocker, real_docker
from tests.fakes.docker_proxy import DockerProxy, docker_proxy
from tests.fakes.healing import Healing

ROUNDS = 15
TARGET_EVIDENCE_MS, TARGET_RESTART_MS = 100.0, 500.0
POLL = 5.0
BACKOFF, MOST, WINDOW = 10.0, 5, 300.0
_ACTS = ("/restart", "/stop", "/kill")


class TimedRequests(list[str]):
    """The request lines that came, and when."""

    def __init__(self) -> None:
        super().__init__()
        self.acts: list[float] = []

    def append(self, line: str) -> None:
        """Note the time of an act."""
        super().append(line)
        if line.startswith("POST") and any(act in line for act in _ACTS):
            self.acts.append(time.monotonic())


class DiskEvidence:
    """Writes the log and the inspect of a container to the disk."""

    def __init__(self, socket: Path, folder: Path) -> None:
        self._actions = DockerActions(socket)
        self._folder = folder
        self.began: list[float] = []

    async def collect(self, subject: HealSubject, evidence: Mapping[str, Scalar]) -> str:
        """Return the name of the file."""
        self.began.append(time.monotonic())
        log = await self._actions.logs(subject.container.id, lines=500)
        inspect = await self._actions.describe(subject.container.id)
        lines = () if log is None else log.lines
        text = b"\n".join((json.dumps([dict(evidence), inspect]).encode(), *lines))
        await anyio.to_thread.run_sync(self._write, text)
        return "incident"

    async def aclose(self) -> None:
        """Release what it holds."""
        await self._actions.aclose()

    def _write(self, data: bytes) -> None:
        with (self._folder / f"evidence-{len(self.began)}").open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())


def session(socket: Path) -> aiohttp.ClientSession:
    """Return a session on the engine's socket."""
    return aiohttp.ClientSession(
        connector=aiohttp.UnixConnector(path=str(socket)), timeout=aiohttp.ClientTimeout()
    )


@asynccontextmanager
async def polling(socket: Path, own: str) -> AsyncIterator[None]:
    """Run docker-autoheal's loop for the time of a block."""
    filters = quote(json.dumps({"health": ["unhealthy"], "name": [own]}))

    async def loop(docker: aiohttp.ClientSession) -> None:
        while True:
            async with docker.get(f"http://d/containers/json?filters={filters}") as answer:
                found = await answer.json()
            for each in found:
                async with docker.post(f"http://d/containers/{each['Id']}/restart?t=10") as done:
                    await done.read()
            await anyio.sleep(POLL)

    async with session(socket) as docker, anyio.create_task_group() as group:
        group.start_soon(loop, docker)
        yield
        group.cancel_scope.cancel()


@asynccontextmanager
async def event_driven(socket: Path, own: str) -> AsyncIterator[None]:
    """Restart at each event for the time of a block."""
    restarts: list[float] = []

    async def restart(docker: aiohttp.ClientSession, identity: str) -> None:
        now = time.monotonic()
        restarts[:] = [at for at in restarts if now - at < WINDOW]
        if len(restarts) >= MOST:
            return
        wait = BACKOFF * 2 ** (len(restarts) - 1) if restarts else 0.0
        restarts.append(now + wait)
        await anyio.sleep(wait)
        async with docker.post(f"http://d/containers/{identity}/restart?t=10") as done:
            await done.read()

    async with session(socket) as docker, anyio.create_task_group() as group:

        async def follow() -> None:
            async for identity in unhealthy(docker, own):
                group.start_soon(restart, docker, identity)

        group.start_soon(follow)
        yield
        group.cancel_scope.cancel()


async def unhealthy(docker: aiohttp.ClientSession, own: str) -> AsyncIterator[str]:
    """Yield the id of each container of ours that becomes unhealthy."""
    filters = quote(json.dumps({"event": ["health_status: unhealthy", "health_status"]}))
    async with docker.get(f"http://d/events?filters={filters}", read_bufsize=2**20) as answer:
        while line := await answer.content.readline():
            event = json.loads(line)
            name = event["Actor"]["Attributes"].get("name", "")
            if event["Action"].endswith("unhealthy") and name.startswith(own):
                yield str(event["Actor"]["ID"])


class Bench:
    """One container that gets sick again and again, and healers by turns."""

    def __init__(self, docker: RealDocker, proxy: DockerProxy, folder: Path) -> None:
        self.docker, self.proxy, self.folder = docker, proxy, folder
        self.requests = TimedRequests()
        proxy.requests = self.requests
        self.name = docker.name("bench")
        self.events: list[float] = []
        self.evidence_ms: list[float] = []

    async def status(self) -> str:
        """Return what the health check says."""
        return await self.docker.docker("inspect", "-f", "{{.State.Health.Status}}", self.name)

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait for something that other tasks bring about."""
        with anyio.fail_after(60):
            while not holds():  # noqa: ASYNC110 -- other tasks bring it about
                await anyio.sleep(0.005)

    async def well(self) -> None:
        """Wait until the container is healthy."""
        with anyio.fail_after(60):
            while await self.status() != "healthy":  # noqa: ASYNC110 -- as above
                await anyio.sleep(0.1)

    async def sicken(self) -> float:
        """Have the health check fail; return the milliseconds from the event to the restart call."""
        self.events.clear()
        self.requests.acts.clear()
        await anyio.sleep(random.uniform(0, POLL))
        await self.docker.docker("exec", self.name, "touch", "/sick")
        await self.until(lambda: self.events and self.requests.acts)
        return (self.requests.acts[0] - self.events[0]) * 1000

    async def ours(self) -> float:
        """Measure aiidpd."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        healing = Healing(folder, self.proxy.socket, self.docker.name(""), stop_grace=10.0)
        evidence = DiskEvidence(self.proxy.socket, folder)
        healing.collector = evidence  # type: ignore[assignment]  # the stand-in of tests has more
        async with healing.running():
            await self.until(lambda: healing.book.observed is not None)
            took = await self.sicken()
            self.evidence_ms.append((evidence.began[0] - self.events[0]) * 1000)
            await self.until(lambda: healing.said("heal_ended"))
        await evidence.aclose()
        return took

    async def other(self, healer: Callable[[Path, str], object]) -> float:
        """Measure another healer."""
        context = healer(self.proxy.socket, self.docker.name(""))
        async with context:  # type: ignore[attr-defined]
            await anyio.sleep(0.3)
            took = await self.sicken()
            await self.well()
        return took

    async def watch(self) -> None:
        """Note when the engine says that it is unhealthy."""
        async with session(self.docker.socket) as docker:
            async for _ in unhealthy(docker, self.name):
                self.events.append(time.monotonic())


def percentile(values: list[float], share: float) -> float:
    """Return the value below which ``share`` of ``values`` lie (the nearest that was measured)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * len(ordered)))]


async def measure(docker: RealDocker, rounds: int) -> None:
    """Measure all by turns and print what was found."""
    found: dict[str, list[float]] = {"aiidpd": [], "polling": [], "event_driven": []}
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        async with docker_proxy(docker.socket, folder / "docker.sock") as proxy:
            bench = Bench(docker, proxy, folder)
            await docker.run(
                "bench", "--health-cmd", "test ! -e /sick", "--health-interval", "0.5s",
                "--health-retries", "2",
                command=("sh", "-c", "rm -f /sick; sleep 3600"),
            )  # fmt: skip
            async with anyio.create_task_group() as group:
                group.start_soon(bench.watch)
                for number in range(rounds):
                    turns = ["aiidpd", "polling", "event_driven"]
                    random.shuffle(turns)
                    for name in turns:
                        await bench.well()
                        others = {"polling": polling, "event_driven": event_driven}
                        took = await (bench.other(others[name]) if name in others else bench.ours())
                        found[name].append(took)
                    latest = {key: round(values[-1], 1) for key, values in found.items()}
                    print(f"round {number + 1}: {latest}", flush=True)
                group.cancel_scope.cancel()
    figures: dict[str, tuple[float, float | None]] = {
        "evidence_p50": (statistics.median(bench.evidence_ms), None),
        "evidence_p99": (percentile(bench.evidence_ms, 0.99), TARGET_EVIDENCE_MS),
    }
    for name, values in found.items():
        target = TARGET_RESTART_MS if name == "aiidpd" else None
        figures[f"{name}_p50"] = statistics.median(values), None
        figures[f"{name}_p99"] = percentile(values, 0.99), target
    report("healing", "ms", figures)


def main() -> None:
    """Measure."""

    def missing(part: str, how: str) -> None:
        sys.exit(f"no {part} here: {how}")

    with real_docker(missing) as docker:
        anyio.run(measure, docker, int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)


if __name__ == "__main__":
    main()
