"""The watcher and the healer of a daemon in this process, on a runtime that a test chooses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio

from aiidpd.components.containers.actions import ContainerActions
from aiidpd.components.containers.docker.actions import DockerActions
from aiidpd.components.containers.docker.client import DockerRuntime
from aiidpd.components.containers.heal.book import HealBook
from aiidpd.components.containers.heal.controller import HealController, HealSources
from aiidpd.components.containers.heal.events import HealPublisher
from aiidpd.components.containers.heal.protocols import HealSubject, NotRecreated, Recovered, Recreated
from aiidpd.components.containers.heal.record import NAME, HealRecords
from aiidpd.components.containers.heal.recovery import Recovery
from aiidpd.components.containers.heal.run import HealTools
from aiidpd.components.containers.heal.state import Track
from aiidpd.components.containers.runtime import ContainerRuntime, RuntimeEvent, RuntimeSnapshot
from aiidpd.components.containers.settings import ContainersSettings, HealRule, HealSettings
from aiidpd.components.containers.worker import ContainersMemory, ContainersWorker
from aiidpd.contracts.engines import EngineState, EnginesView
from aiidpd.contracts.messages import HealRequested
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock import Clock, SystemClock
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.events import Event, Scalar
from aiidpd.kernel.inbox import Messages
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.publisher import Publisher
from aiidpd.platform.statefile import StateFile, StateUnreadable
from tests.heartbeat import heartbeat
from tests.tables import made
from tests.unit.components.containers.stopped import register
from tests.waiting import PATIENCE


class OwnRuntime(DockerRuntime):
    """The containers of one test: others on this machine are nobody's to heal here."""

    def __init__(self, socket: Path, own: str) -> None:
        super().__init__(socket, call_timeout=10.0)
        self._own = own

    async def containers(self, *, fresh: bool = False) -> RuntimeSnapshot:
        found = await super().containers(fresh=fresh)
        own = tuple(each for each in found.containers if each.name.startswith(self._own))
        stuck = tuple(each for each in found.unreadable if each[1].startswith(self._own))
        return replace(found, containers=own, unreadable=stuck)

    @asynccontextmanager
    async def events(self, since: float) -> AsyncIterator[AsyncIterator[RuntimeEvent]]:
        async with super().events(since) as stream:
            yield (event async for event in stream if event.name.startswith(self._own))


class FakeCollector:
    """Collects nothing, and notes for what and when."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.subjects: list[HealSubject] = []
        self.times: list[float] = []
        self.before: Callable[[HealSubject], Any] | None = None

    async def collect(self, subject: HealSubject, evidence: Mapping[str, Scalar]) -> str:
        del evidence
        self.times.append(self._clock.monotonic())
        self.subjects.append(subject)
        if self.before is not None:
            await self.before(subject)
        return f"incident-{len(self.subjects)}"


class FakeRecreator:
    """Creates nothing anew but what a test says; ``left`` is what each call of ``recover`` finds."""

    def __init__(self) -> None:
        self.left: list[Recovered | StateUnreadable] = []
        self.refusal: NotRecreated | None = NotRecreated("it has a secret", "use compose")
        self.made: Callable[[str], Any] | None = None

    async def check(self, identity: str) -> NotRecreated | None:
        del identity
        return self.refusal

    async def recreate(self, identity: str, *, grace: float) -> Recreated | NotRecreated:
        del grace
        if self.made is None:
            assert self.refusal is not None
            return self.refusal
        return Recreated(await self.made(identity), "inspect")

    @property
    def pending(self) -> bool:
        return bool(self.left)

    async def recover(self) -> tuple[Recovered, ...]:
        if not self.left:
            return ()
        found = self.left.pop(0)
        if isinstance(found, StateUnreadable):
            raise found
        return (found,)

    async def aclose(self) -> None:
        """Hold nothing."""


class Healing:
    """One daemon after the other, with the same state folder."""

    def __init__(
        self,
        folder: Path,
        socket: Path | None = None,
        own: str = "",
        clock: Clock | None = None,
        **heal: Any,
    ) -> None:
        self.folder, self.socket, self.own = folder, socket, own
        # By a rule and not by a label: another daemon on this machine would obey that one too.
        rules = (HealRule(container=f"{own}*", mode="restart"),) if own else ()
        self.clock = clock or SystemClock()
        at_once = {"cooldown": 0.0, "grace": 0.0, "drain": 0.0}
        self.settings = made(
            ContainersSettings,
            reconcile_interval=1.0,
            heal=made(HealSettings, **({"rules": rules, "stop_grace": 1.0} | at_once | heal)),
        )
        self.bus = EventBus()
        self.events: list[Event] = []
        self.bus.attach(events=self.events.append)
        self.publish = Publisher(self.bus, self.clock, "containers")
        self.collector = FakeCollector(self.clock)
        self.recreator = FakeRecreator()
        self.engines: tuple[EngineState, ...] = ()
        self.minute = 0
        self.backup = ""
        self.uniform = 0.5
        self.settle = 10.0
        self.runtime: Callable[[], ContainerRuntime] = self._docker
        self.actions: Callable[[], ContainerActions] = self._docker_actions
        self.path = folder / NAME
        self.anew()

    def anew(self) -> None:
        """Have the next daemon know only what is on the disk."""
        self.conditions = Conditions(self.clock, self.bus)
        self.messages = Messages(self.clock)
        self.book = HealBook(
            self.clock, self.messages.inbox(HealRequested), StateFile(self.path, HealRecords)
        )
        self.latest: Latest[RuntimeSnapshot] = Latest(self.clock, 60.0, changed=self.book.wake)
        self.memory = ContainersMemory()

    def _docker(self) -> ContainerRuntime:
        assert self.socket is not None
        return OwnRuntime(self.socket, self.own)

    def _docker_actions(self) -> ContainerActions:
        assert self.socket is not None
        return DockerActions(self.socket, call_timeout=10.0)

    def controller(self) -> HealController:
        runtime = self.runtime()
        publisher = HealPublisher(self.book.tally, self.publish, self.conditions, simulated=runtime.simulated)
        tools = HealTools(
            runtime,
            self.actions(),
            collector=self.collector,
            recreator=self.recreator,
            recovery=Recovery(self.recreator, publisher, self.clock),
            book=self.book,
            publisher=publisher,
            clock=self.clock,
            settings=self.settings.heal,
            engine=lambda identity: next((each for each in self.engines if each.container == identity), None),
            uniform=lambda: self.uniform,
            settle=self.settle,
        )
        sources = HealSources(
            self.latest,
            lambda: frozenset(
                each.id for each in self.memory.state.known.values() if not each.running and each.signal
            ),
            lambda: EnginesView(self.engines),
            lambda: self.backup,
            lambda: self.minute,
        )
        return HealController(tools, sources)

    def watcher(self) -> ContainersWorker:
        return ContainersWorker(
            self.runtime(),
            self.settings,
            latest=self.latest,
            publish=self.publish,
            conditions=self.conditions,
            stopped=register(self.folder, self.clock, self.conditions),
            clock=self.clock,
            memory=self.memory,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with anyio.create_task_group() as group:
            group.start_soon(self.watcher().run, heartbeat(self.clock))
            group.start_soon(self.controller().run, heartbeat(self.clock))
            yield
            group.cancel_scope.cancel()
        self.book.file.wait(PATIENCE)

    def track(self, name: str) -> Track | None:
        return next((each for each in self.book.state.tracks.values() if each.name == name), None)

    def said(self, kind: str, name: str = "") -> list[Event]:
        found = [each for each in self.events if each.kind == f"container.{kind}"]
        return [each for each in found if name in ("", each.subject)]

    async def until(self, holds: Callable[[], Any], seconds: float = PATIENCE) -> Any:
        with anyio.move_on_after(seconds):
            while not (found := holds()):  # noqa: ASYNC110 -- other tasks bring it about
                await anyio.sleep(0.01)
            return found
        told = "\n".join(f"{each.kind} {each.subject}: {each.reason}" for each in self.events)
        raise AssertionError(f"it did not come about in {seconds:g} s\n{told}\n{self.book.decisions}")

    async def event(self, kind: str, name: str = "", count: int = 1) -> Event:
        found: list[Event] = await self.until(
            lambda: len(self.said(kind, name)) >= count and self.said(kind, name)
        )
        return found[count - 1]
