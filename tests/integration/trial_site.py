"""A real container in whose place another image is tried, by the parts of a daemon that do so."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anyio

from aiidpd.components.containers.docker.actions import DockerActions
from aiidpd.components.containers.docker.gated import GatedActions
from aiidpd.components.containers.recreate.journal import NAME as RECREATIONS
from aiidpd.components.containers.recreate.journal import RecreationJournal
from aiidpd.components.containers.settings import UpgradeSettings
from aiidpd.components.containers.trial.book import ImageActions, TrialBook
from aiidpd.components.containers.trial.controller import TrialController
from aiidpd.components.containers.trial.events import TrialPublisher
from aiidpd.components.containers.trial.journal import NAME, TrialJournal
from aiidpd.components.containers.trial.opening import TrialTools
from aiidpd.components.containers.trial.state import ImageTrial
from aiidpd.contracts.messages import EmergencyStop
from aiidpd.contracts.trials import ImageTrialRequested, ImageTrialState, Wish
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock import SystemClock
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.events import Event
from aiidpd.kernel.inbox import Messages
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.task import Heartbeat, WorkerStatus
from tests.waiting import PATIENCE

HOLD: Final = 600.0  # seconds: a test takes a wish back on purpose
ACTS: Final = ("create", "stop", "rename", "start", "remove")


class TrialSite:
    """One process's part of trials of the container ``name``: its files lie in ``folder``.

    ``gated``: the socket is that of the gate.
    """

    def __init__(
        self,
        folder: Path,
        socket: Path,
        name: str,
        *,
        actions: ImageActions | None = None,
        settle: float = 0.2,
        late: float = 0.5,
        busy: Callable[[str], str] = lambda _: "",
        gated: bool = False,
    ) -> None:
        self.folder, self.socket, self.name = folder, socket, name
        self.clock = SystemClock()
        self.messages = Messages(self.clock)
        self.events: list[Event] = []
        bus = EventBus()
        bus.attach(events=self.events.append)
        self.conditions = Conditions(self.clock, bus)
        self.barred: list[ImageTrial] = []
        self.book = TrialBook(
            self.clock,
            self.messages.inbox(ImageTrialRequested),
            self.messages.inbox(EmergencyStop),
            TrialJournal(folder / NAME),
        )
        self.tools = TrialTools(
            actions or (GatedActions if gated else DockerActions)(socket, call_timeout=PATIENCE),
            RecreationJournal(folder / RECREATIONS),
            TrialPublisher(Publisher(bus, self.clock, "containers"), self.conditions),
            self.clock,
            UpgradeSettings(),
            busy=busy,
            stop_grace=lambda _: 1.0,
            barred=lambda entry, _: self.barred.append(entry),
            settle=settle,
            late=late,
        )
        self.controller = TrialController(self.book, self.tools)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the task for the time of a block."""
        async with anyio.create_task_group() as group:
            heartbeat = Heartbeat(self.clock, WorkerStatus("containers.trials"), anyio.Event())
            group.start_soon(self.controller.run, heartbeat)
            yield
            group.cancel_scope.cancel()

    def wish(self, wish: Wish, image: str, trial: str = "t1", hold: float = HOLD) -> None:
        """Send a wish, as whoever conducts the trial does."""
        self.messages.send(
            ImageTrialRequested(
                reason="a test", trial=trial, container=self.name, image=image, wish=wish, hold_seconds=hold
            )
        )

    async def until(
        self, holds: Callable[[ImageTrialState], object], trial: str = "t1", seconds: float = PATIENCE
    ) -> ImageTrialState:
        """Return the state of the trial once it is so."""
        with anyio.fail_after(seconds):
            while True:
                state = self.book.known(trial)
                if state is not None and holds(state):
                    return state
                await anyio.sleep(0.02)

    async def tried(self, image: str, wish: Wish = Wish.NEW) -> ImageTrialState:
        """Wish, and return the state once it is so."""
        self.wish(wish, image)

        def holds(state: ImageTrialState) -> bool:
            refused = state.plan is not None and bool(state.plan.refusal)
            return state.wish is wish or bool(state.ended) or refused

        return await self.until(holds)

    def kinds(self) -> list[str]:
        """Return what was published of trials."""
        return [each.kind for each in self.events if ".upgrade" in each.kind]


def inspected(name: str, socket: Path | None = None) -> dict[str, Any]:
    """Return the description of a container; empty where there is none."""
    where = ["-H", f"unix://{socket}"] if socket else []
    done = subprocess.run(["docker", *where, "inspect", name], capture_output=True, check=False)
    found = json.loads(done.stdout or "[]")
    if not found:
        return {}
    found[0].get("Mounts", []).sort(key=lambda each: each["Destination"])  # Docker lists them by chance
    return dict(found[0])


def names(name: str, socket: Path | None = None) -> list[str]:
    """Return the names of all containers that have ``name`` in theirs."""
    where = ["-H", f"unix://{socket}"] if socket else []
    command = ["docker", *where, "ps", "-a", "--filter", f"name={name}", "--format", "{{.Names}}"]
    return sorted(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def wrong(name: str, old: str, socket: Path | None = None) -> list[str]:
    """Return what is not as it must be where the container ``old`` (its id) is to serve as ``name``."""
    found = inspected(name, socket)
    if names(name, socket) != [name]:
        return [f"the containers are {names(name, socket)}"]
    if found["Id"] != old:
        return [f"{found['Id'][:12]} has the name instead of {old[:12]}"]
    return [] if found["State"]["Running"] else [f"it is {found['State']['Status']}"]
