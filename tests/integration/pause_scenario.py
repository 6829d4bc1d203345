"""Kills daemons that pause a real container, one after the other, and looks each time at what is left.

A program, so that several run side by side: ``python -m tests.integration.pause_scenario FOLDER SOCKET VICTIM
BYSTANDER SEED ROUNDS``. It prints one JSON object. Each daemon is a real process (forked, so that it starts
in a moment) with the real pauser, lease and adapter on a real Docker Engine; who asks changes his mind at a
pace at which a kill hits every part of a pause. A person has paused the bystander; it is asked for as well.
"""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import random
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import anyio

from aiidpd.components.containers.docker.client import DockerRuntime
from aiidpd.components.containers.pause.controller import PauseController, Pauses
from aiidpd.components.containers.pause.events import PausePublisher
from aiidpd.components.containers.pause.journal import NAME, PauseJournal
from aiidpd.components.containers.pause.restore import unpause_all
from aiidpd.components.containers.settings import PauseSettings
from aiidpd.contracts.messages import BackOffEnded, BackOffMessage, BackOffRequested
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock import SystemClock
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.inbox import Messages
from aiidpd.kernel.publisher import Publisher
from tests.deck import deck
from tests.heartbeat import heartbeat
from tests.tables import made
from tests.waiting import PATIENCE, Stopwatch

SETTINGS = made(PauseSettings, longest=0.1, rest=0.01)
SETTLE = 2.0
WAYS = ("term", "kill, then the command", "kill, then the next start")
WEIGHTS = (2, 5, 5)  # of 12 rounds
PR_SET_PDEATHSIG = 1


async def daemon(docker: Path, lease: Path, names: tuple[str, ...], *, asked: bool) -> None:
    """Run until SIGTERM, and be ``asked`` to back off again and again."""
    clock, bus = SystemClock(), EventBus()
    messages = Messages(clock)
    pauses = Pauses(clock, messages.inbox(BackOffMessage))
    publisher = PausePublisher(
        pauses.tally, Publisher(bus, clock, "containers"), Conditions(clock, bus), clock, simulated=False
    )
    engine = DockerRuntime(docker, call_timeout=PATIENCE)
    pauser = PauseController(
        engine,
        PauseJournal(lease),
        pauses=pauses,
        publisher=publisher,
        clock=clock,
        settings=SETTINGS,
        settle=SETTLE,
        closing=PATIENCE,
    )

    async def ask() -> None:
        request = BackOffRequested(
            reason="it is hot", gpu="GPU", label="GPU 0", hold_seconds=60.0, containers=names
        )
        while True:
            messages.send(request)
            await anyio.sleep(random.uniform(0.02, 0.15))
            messages.send(BackOffEnded(reason="it is cool", gpu="GPU"))
            await anyio.sleep(random.uniform(0, 0.03))

    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        async with anyio.create_task_group() as group:
            group.start_soon(pauser.run, heartbeat(clock))
            if asked:
                group.start_soon(ask)
            async for _ in signals:
                group.cancel_scope.cancel()


class Lane:
    """One after the other, with a lease in ``folder``."""

    def __init__(self, folder: str, docker: str, victim: str, bystander: str, seed: str) -> None:
        self.lease = Path(folder) / NAME
        self.docker = Path(docker)
        self.victim, self.bystander = victim, bystander
        self.random = random.Random(int(seed))
        self.ways = deck(WAYS, WEIGHTS, self.random)
        self.seen: Counter[str] = Counter()
        self.wrong: list[str] = []

    def round(self) -> None:
        way = next(self.ways)
        pid = self.start(asked=True)
        self.until(self.lease.exists, "nothing was ever paused")
        if self.random.random() < 0.5:  # into a pause, however long each step takes here, or anywhere
            self.until(lambda: self.state(self.victim) == "paused", "the engine never paused it")
        else:
            time.sleep(self.random.uniform(0, 0.15))
        os.kill(pid, signal.SIGTERM if way == "term" else signal.SIGKILL)
        os.waitpid(pid, 0)
        self.seen[way] += 1
        self.seen["left paused"] += self.state(self.victim) == "paused"
        self.seen["left a lease"] += self.lease.exists()
        if way == "kill, then the command" and self.lease.exists():
            self.fork(lambda: anyio.run(self.command), wait=True)
        elif way == "kill, then the next start":
            successor = self.start(asked=False)
            self.until(lambda: not self.lease.exists(), "the next start let nothing go on")
            os.kill(successor, signal.SIGTERM)
            os.waitpid(successor, 0)
        self.judge(way)

    def judge(self, way: str) -> None:
        victim, bystander, left = self.state(self.victim), self.state(self.bystander), self.lease.exists()
        if (victim, bystander, left) == ("running", "paused", False):
            self.seen["right"] += 1
        else:
            self.wrong.append(f"{way}: {victim}, the other {bystander}, lease {left}")

    async def command(self) -> None:
        """Do what ``aiidpd restore-gpus`` does once it has read its configuration."""
        engine = DockerRuntime(self.docker, call_timeout=PATIENCE)
        await unpause_all(engine, PauseJournal(self.lease), within=PATIENCE, report=lambda _: None)

    def start(self, *, asked: bool) -> int:
        names = (self.victim, self.bystander)
        return self.fork(lambda: anyio.run(lambda: daemon(self.docker, self.lease, names, asked=asked)))

    def fork(self, run: Callable[[], object], *, wait: bool = False) -> int:
        pid = os.fork()
        if pid == 0:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # nothing outlives a lane that fails
            code = 70
            try:
                random.seed()
                run()
                code = 0
            finally:
                os._exit(code)
        if wait:
            os.waitpid(pid, 0)
        return pid

    def state(self, name: str) -> str:
        with socket.socket(socket.AF_UNIX) as connected:
            connected.connect(str(self.docker))
            connection = http.client.HTTPConnection("docker")
            connection.sock = connected
            connection.request("GET", f"/containers/{name}/json", headers={"Connection": "close"})
            return str(json.loads(connection.getresponse().read())["State"]["Status"])

    def until(self, done: Callable[[], bool], otherwise: str) -> None:
        waited = Stopwatch()
        while not done():
            if waited.seconds > PATIENCE:
                raise TimeoutError(otherwise)
            time.sleep(0.001)


def main(*arguments: str) -> None:
    *given, rounds = arguments
    lane = Lane(*given)
    for _ in range(int(rounds)):
        lane.round()
    sys.stdout.write(json.dumps({"seen": lane.seen, "wrong": lane.wrong}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
