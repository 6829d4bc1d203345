"""Kills governing daemons, one after the other, and looks each time at what is left on the GPU.

A program, so that several run side by side:
``python -m tests.integration.governor_scenario FOLDER LIBRARY ROUNDS SEED``. It prints one JSON
object. Each daemon is a real process (forked, so that it starts in a moment) with the real supervisor,
thermal worker, NVML child and lease; only the library under pynvml is a fake.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import anyio

from aiidpd.components.thermal.driver.client import NvmlLibrary
from aiidpd.components.thermal.governor import tuning
from aiidpd.components.thermal.governor.controller import GovernorController
from aiidpd.components.thermal.governor.journal import NAME, RestoreJournal
from aiidpd.components.thermal.governor.state import Tally
from aiidpd.components.thermal.gpu import GpuSnapshot
from aiidpd.components.thermal.settings import GovernorMode, GovernorSettings, GpuSettings
from aiidpd.components.thermal.signals.checked import CheckedSnapshot
from aiidpd.components.thermal.worker import ThermalWorker
from aiidpd.daemon.restore import gpus_back
from aiidpd.kernel.backoff import Backoff
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock import SystemClock
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.inbox import Messages
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.supervisor import Supervisor
from aiidpd.kernel.task import Task
from tests.deck import deck
from tests.fakes.nvml import FakeNvml, shape
from tests.tables import made
from tests.waiting import PATIENCE, Stopwatch

# Everything at a pace at which a kill hits a change more often than a rest.
SETTINGS = made(GovernorSettings, mode=GovernorMode.ON, recovery=0.02)
PACE = {
    "DWELL": 0.01,
    "URGENT_DWELL": 0.01,
    "WINDOW": 0.05,
    "RECOVERY_CAP": 0.02,
    "RETRY": 0.05,
    "SETTLE": 0.2,
    "MOST_STEPS": 2,
}
WAYS = ("term", "kill, then the command", "kill, then the next start", "child", "crash", "replace")
WEIGHTS = (4, 4, 4, 2, 2, 2)  # of 18 rounds
PR_SET_CHILD_SUBREAPER = 36
PR_SET_PDEATHSIG = 1
RESTORES_WITHIN = 2.0  # what a daemon has not put back by then it leaves to the command
CALL_TIMEOUT = 10  # a slow machine is no driver that hangs


class Flags:
    """What signals ask of a daemon that runs."""

    def __init__(self) -> None:
        self.crash = False
        self.mode = SETTINGS.mode

    def on_snapshot(self, snapshot: CheckedSnapshot) -> None:
        """End the worker's run where a signal asked for it."""
        del snapshot
        if self.crash:
            self.crash = False
            raise RuntimeError("a bug")


async def daemon(folder: Path, mode: GovernorMode) -> None:
    """Run until SIGTERM; SIGUSR1 crashes the worker, SIGHUP replaces it with one whose governor is off."""
    clock, bus, flags, tally = SystemClock(), EventBus(), Flags(), Tally()
    flags.mode = mode
    conditions = Conditions(clock, bus)
    publish = Publisher(bus, clock, "thermal")

    def build() -> ThermalWorker:
        library = NvmlLibrary(call_timeout=CALL_TIMEOUT)
        governor = GovernorController(
            library,
            SETTINGS.model_copy(update={"mode": flags.mode}),
            RestoreJournal(folder / NAME),
            latest=Latest(clock, 1.0),
            tally=tally,
            publish=publish,
            messages=Messages(clock),
            conditions=conditions,
            clock=clock,
        )
        settings = made(GpuSettings, interval=0.02)
        latest: Latest[GpuSnapshot] = Latest(clock, 1.0)
        return ThermalWorker(
            library,
            settings,
            latest,
            publish,
            clock,
            listeners=[flags],
            governor=governor,
            retry_interval=0.02,
        )

    supervisor = Supervisor(
        [Task("thermal", build, lambda: 30.0)],
        clock=clock,
        bus=bus,
        conditions=conditions,
        uniform=random.random,
        backoff=Backoff(initial=0.02, cap=0.05),
    )
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1) as signals:
        async with anyio.create_task_group() as group:
            group.start_soon(supervisor.run)
            async for number in signals:
                if number == signal.SIGTERM:
                    group.cancel_scope.cancel()
                    return
                if number == signal.SIGUSR1:
                    flags.crash = True
                else:
                    flags.mode = GovernorMode.OFF
                    supervisor.replace("thermal")


class Lane:
    """One after the other, in ``folder``."""

    def __init__(self, folder: Path, library: Path, seed: int) -> None:
        self.folder = folder
        self.random = random.Random(seed)
        self.ways = deck(WAYS, WEIGHTS, self.random)
        self.fake = FakeNvml(folder, library)
        os.environ.update(self.fake.env)
        self.lease = folder / NAME
        self.seen: Counter[str] = Counter()
        self.wrong: list[str] = []
        # Orphans (the NVML child of a daemon that was killed) become ours, so that their end can be awaited.
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)

    def round(self) -> None:
        watts = self.random.randint(270, 300)
        self.install(watts, hot=True)
        way = next(self.ways)
        pid = self.fork(lambda: anyio.run(daemon, self.folder, GovernorMode.ON))
        self.wait_for_a_moment(watts)
        self.seen[way] += 1
        self.seen["hit a changed GPU"] += self.changed(watts)
        {
            "term": self.term,
            "kill, then the command": self.kill_and_command,
            "kill, then the next start": self.kill_and_start,
            "child": self.child,
            "crash": self.crash,
            "replace": self.replace,
        }[way](pid)
        self.judge(way, watts)

    def term(self, pid: int) -> None:
        since = Stopwatch()
        os.kill(pid, signal.SIGTERM)
        self.reap(pid)
        # Before it listened to signals it had changed nothing; after, it put all back by itself, but for what
        # a busy machine did not let it do in its time.
        if since.seconds > RESTORES_WITHIN and self.lease.exists():
            self.seen["left to the command"] += 1
            self.reap(self.fork(self.command))

    def kill_and_command(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        self.reap(pid)
        self.reap(self.fork(self.command))

    def kill_and_start(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        self.reap(pid)
        if not self.lease.exists():
            return
        if self.random.random() < 0.5:
            self.install_cool()
            successor = self.fork(lambda: anyio.run(daemon, self.folder, GovernorMode.ON))
            self.until(lambda: not self.lease.exists(), "the next start restored nothing")
        else:  # still hot: it restores, and governs from the same baseline
            self.fake.set({"0.margin": 0})
            successor = self.fork(lambda: anyio.run(daemon, self.folder, GovernorMode.ON))
            mark = f'"pid": {successor}'.encode()
            self.until(lambda: mark in self.leased(), "the next start did not govern")
        self.term(successor)

    def child(self, pid: int) -> None:
        for nvml in children(pid):
            with suppress(ProcessLookupError):
                os.kill(nvml, signal.SIGKILL)
        time.sleep(self.random.uniform(0, 0.05))
        self.random.choice((self.term, self.kill_and_command))(pid)

    def crash(self, pid: int) -> None:
        self.signal_a_listener(pid, signal.SIGUSR1)
        time.sleep(self.random.uniform(0, 0.05))
        self.random.choice((self.term, self.kill_and_command))(pid)

    def replace(self, pid: int) -> None:
        if self.signal_a_listener(pid, signal.SIGHUP):
            self.until(lambda: not self.lease.exists(), "turned off, it restored nothing")
        self.term(pid)

    def signal_a_listener(self, pid: int, number: signal.Signals) -> bool:
        """Send ``number`` where the daemon governs already, and so listens."""
        if not self.lease.exists():
            return False
        os.kill(pid, number)
        return True

    def leased(self) -> bytes:
        try:
            return self.lease.read_bytes()
        except FileNotFoundError:
            return b""

    def command(self) -> None:
        """Do what ``aiidpd restore-gpus`` does once it has read its configuration."""
        if self.lease.exists():
            anyio.run(gpus_back, RestoreJournal(self.lease), CALL_TIMEOUT, lambda _: None)

    def wait_for_a_moment(self, watts: int) -> None:
        if self.random.random() < 0.1:  # some in the middle of a start
            time.sleep(self.random.uniform(0, 0.2))
            return
        self.until(self.lease.exists, "it never governed")
        time.sleep(self.random.uniform(0, 0.1))
        if self.random.random() < 0.3:  # and some on the way up again
            self.install(watts, hot=False)
            time.sleep(self.random.uniform(0, 0.2))

    def install(self, watts: int, *, hot: bool) -> None:
        limits = dict.fromkeys(("power_limit_milliwatts", "field__190", "field__192"), watts * 1000)
        lines = shape("rtx_5070_ti", margin=0 if hot else 60, **limits)
        if hot:
            self.fake.install(lines)
        else:
            self.fake.set(lines)

    def install_cool(self) -> None:
        self.fake.set({"0.margin": 60})

    def limit(self, watts: int) -> float:
        return float(self.fake.was_set("0.power_limit_milliwatts") or watts * 1000) / 1000

    def clocks(self) -> str:
        return self.fake.was_set("0.locked_clocks_megahertz") or ""

    def changed(self, watts: int) -> bool:
        return self.limit(watts) != watts or self.clocks() != ""

    def judge(self, way: str, watts: int) -> None:
        found, clocks, left = self.limit(watts), self.clocks(), self.lease.exists()
        if found == watts and not clocks and not left:
            self.seen["restored"] += 1
        else:
            lease = self.lease.read_text() if left else "none"
            self.wrong.append(f"{way}: {found} W instead of {watts} W, clocks {clocks!r}, lease {lease}")
            self.lease.unlink(missing_ok=True)

    def until(self, done: Callable[[], bool], otherwise: str) -> None:
        waited = Stopwatch()
        while not done():
            if waited.seconds > PATIENCE:
                raise TimeoutError(otherwise)
            time.sleep(0.002)

    def fork(self, run: Callable[[], object]) -> int:
        pid = os.fork()
        if pid == 0:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # nothing outlives a lane that fails
            code = 70
            try:
                run()
                code = 0
            finally:
                os._exit(code)
        return pid

    def reap(self, pid: int) -> None:
        """Wait for ``pid``, and then for the orphans that it left: as systemd does before ExecStopPost=."""
        waited = Stopwatch()
        while True:
            try:
                done, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if done == 0:
                if waited.seconds > PATIENCE:
                    raise TimeoutError(f"process {pid} or what it left does not end")
                time.sleep(0.002)


def children(pid: int) -> list[int]:
    """The processes that ``pid`` started."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def main(folder: str, library: str, rounds: str, seed: str) -> None:
    lane = Lane(Path(folder), Path(library), int(seed))
    for _ in range(int(rounds)):
        lane.round()
    sys.stdout.write(json.dumps({"rounds": int(rounds), "seen": lane.seen, "wrong": lane.wrong}) + "\n")


if __name__ == "__main__":
    for constant, value in PACE.items():
        setattr(tuning, constant, value)
    main(*sys.argv[1:])
