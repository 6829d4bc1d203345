"""Reads what the processes of containers use, at a pace that follows how much it matters."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from aiidpd.components.containers.runtime import ContainerReading, RuntimeSnapshot
from aiidpd.components.containers.settings import UsageSettings
from aiidpd.components.containers.usage import growth
from aiidpd.components.containers.usage.conditions import TYPES, growing, unkillable
from aiidpd.components.containers.usage.memory import UseMemory
from aiidpd.components.containers.usage.pace import CLOSE_SECONDS, due
from aiidpd.components.containers.usage.reader import Target, UseReader, UseReading
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.conditions import Condition, Conditions
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.task import Heartbeat
from aiidpd.platform.thread import ThreadProbe

NAME: Final = "containers.use"
DEADLINE: Final = 60.0
_PATIENCE: Final = 10.0
_ENDING: Final = ("removing", "dead")


class UseWorker:
    """Updates ``memory`` each two seconds with the use by the containers of ``latest``.

    ``engines`` returns the ids of the containers in which inference engines run, ``ending`` those that
    somebody stops or kills just now. The files are read in a thread. Where the containers are ``simulated``
    nothing is read.
    """

    def __init__(
        self,
        memory: UseMemory,
        latest: Latest[RuntimeSnapshot],
        settings: UsageSettings,
        *,
        conditions: Conditions,
        clock: Clock,
        engines: Callable[[], Collection[str]] = frozenset,
        ending: Callable[[], Collection[str]] = frozenset,
        reader: UseReader | None = None,
        simulated: bool = False,
    ) -> None:
        self._memory = memory
        self._latest = latest
        self._settings = settings
        self._conditions = conditions
        self._clock = clock
        self._engines = engines
        self._ending = ending
        self._reader = reader or UseReader()
        self._thread = ThreadProbe(clock, _PATIENCE)
        self._read: dict[str, float] = {}
        self.simulated = simulated

    async def run(self, heartbeat: Heartbeat) -> None:
        """Read until cancelled."""
        try:
            while True:
                with heartbeat.working():
                    await self._pass()
                await self._clock.sleep(CLOSE_SECONDS)
        finally:
            self._memory.latest.clear()
            self._conditions.update(TYPES, ())

    async def _pass(self) -> None:
        reading = self._latest.get()
        if reading is None or reading.value.simulated:
            self._memory.latest.clear()
            self._conditions.update(TYPES, ())
            return
        containers = {each.id: each for each in reading.value.containers}
        now = self._clock.monotonic()
        self._memory.machine_oom_kills.read(self._clock.time())
        found, left, available = await self._thread.call(
            lambda: self._collect(containers, now), "use of containers", "/sys/fs/cgroup"
        )
        self._read.update(dict.fromkeys(found, now))
        gone = {
            each for each in self._memory.readings if each not in left and not _running(containers.get(each))
        }
        self._memory.put(found, gone, now)
        for identity in gone:
            self._read.pop(identity, None)
        active = [*self._growing(containers, found, available, now), *self._unkillable(containers)]
        self._conditions.update(TYPES, active)

    def _collect(
        self, containers: dict[str, ContainerReading], now: float
    ) -> tuple[dict[str, UseReading], frozenset[str], int | None]:
        """Return what is due, which ended containers have processes left, and the host's memory. Blocks."""
        running = frozenset(identity for identity, each in containers.items() if _running(each))
        left = frozenset(self._reader.left(running))
        ending = frozenset(self._ending()) | left | self._memory.undying()
        ending |= {identity for identity, each in containers.items() if each.state in _ENDING}
        close = {*self._engines(), *ending, *(each.id for each in containers.values() if each.gpu)}
        targets = [
            Target(identity, _pid(containers.get(identity)), ending=identity in ending)
            for identity in due(self._read, (*running, *left), close, now)
        ]
        return self._reader.read(targets, now), left, self._reader.host_available_bytes()

    def _growing(
        self,
        containers: dict[str, ContainerReading],
        found: dict[str, UseReading],
        available: int | None,
        now: float,
    ) -> list[Condition]:
        for identity, reading in found.items():
            container, used = containers.get(identity), reading.use.memory_bytes
            if container is None or used is None:
                continue
            trend = self._memory.trends.get(identity)
            if trend is None or trend.run != container.started_at:
                age = self._clock.time() - container.started_at if container.started_at else 0.0
                trend = growth.begin(container.started_at, now, age)
            self._memory.trends[identity] = growth.step(trend, used, now)
        active = []
        for identity, trend in self._memory.trends.items():
            container, reading = containers.get(identity), self._memory.readings[identity]
            if container is None or reading.use.memory_bytes is None:
                continue
            exhausted = growth.exhaustion(
                trend,
                reading.use.memory_bytes,
                limit_bytes=reading.use.memory_limit_bytes,
                host_left_bytes=available,
                horizon_seconds=self._settings.memory_horizon,
            )
            self._memory.trends[identity] = growth.warned(trend, exhausted)
            if exhausted is not None:
                active.append(growing(container.name, exhausted, self._clock.time()))
        return active

    def _unkillable(self, containers: dict[str, ContainerReading]) -> list[Condition]:
        active = []
        for identity in self._memory.undying():
            found = self._memory.cannot_be_killed(identity)
            if found is not None:
                container = containers.get(identity)
                active.append(unkillable(container.name if container else identity[:12], found))
        return active


def _running(container: ContainerReading | None) -> bool:
    return container is not None and container.running


def _pid(container: ContainerReading | None) -> int | None:
    return container.pid if container is not None and container.running else None
