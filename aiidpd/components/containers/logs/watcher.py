"""Reads the newest lines of logs: storms, lost GPUs, and why a container died."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Final

from aiidpd.components.containers.actions import ContainerActions, LogTail
from aiidpd.components.containers.logs.conditions import TYPES, clip, lost_condition, storm_condition
from aiidpd.components.containers.logs.decide import died_without_gpu, step
from aiidpd.components.containers.logs.failures import GPU_LOST, says_gpu_is_lost
from aiidpd.components.containers.logs.lines import most_repeated, text_of, time_of
from aiidpd.components.containers.logs.named import Death, Deaths
from aiidpd.components.containers.logs.namer import FailureNamer, redacted
from aiidpd.components.containers.logs.state import LogReading, LogState, LostGpu
from aiidpd.components.containers.runtime import ContainerReading, RuntimeSnapshot
from aiidpd.components.containers.settings import LogSettings
from aiidpd.contracts.engines import EngineState, EnginesView, Verdict
from aiidpd.contracts.messages import Cure, HealRequested
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.conditions import Condition, Conditions
from aiidpd.kernel.errors import Unavailable
from aiidpd.kernel.inbox import Messages
from aiidpd.kernel.reading import Reading
from aiidpd.kernel.task import Heartbeat

_ENGINES: Final = re.compile(
    r"vllm|llama|sglang|text-generation-inference|ollama|tensorrt|triton|lmdeploy|tabby|aphrodite",
    re.IGNORECASE,
)
_WORKS: Final = frozenset({Verdict.WORKING, Verdict.SATURATED})
_WELL: Final = frozenset({*_WORKS, Verdict.IDLE, Verdict.SLEEPING, Verdict.PAUSED})  # nothing is healed there
_ALIVE: Final = frozenset({"running", "restarting", "paused"})
_MOST_CONTAINERS: Final = 64  # that are read in one pass
_FASTEST: Final = 1.0  # seconds between two passes
_HOLD: Final = 3.0  # readings for which a request to heal holds


@dataclass(frozen=True, slots=True)
class Rate:
    """Lines and bytes a second of a log, at its last reading."""

    lines: float
    bytes: float


@dataclass(slots=True)
class LogMemory:
    """Part of the watcher that outlives its runs, by container id.

    ``read_until`` is in Unix seconds; ``unreadable`` is why a log can't be read at all.
    """

    rates: dict[str, Rate] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    states: dict[str, LogState] = field(default_factory=dict)
    read_until: dict[str, float] = field(default_factory=dict)


class LogWatcher:
    """Reads logs each ``interval``, one after the other, and that of a container that died at once.

    ``deaths``, ``namer`` and ``memory`` outlive this object.
    """

    def __init__(
        self,
        actions: ContainerActions,
        settings: LogSettings,
        *,
        containers: Callable[[], Reading[RuntimeSnapshot] | None],
        engines: Callable[[], Reading[EnginesView] | None],
        deaths: Deaths,
        namer: FailureNamer,
        memory: LogMemory,
        conditions: Conditions,
        messages: Messages,
        clock: Clock,
    ) -> None:
        self._actions = actions
        self._settings = settings
        self._containers = containers
        self._engines = engines
        self._deaths = deaths
        self._namer = namer
        self._memory = memory
        self._conditions = conditions
        self._messages = messages
        self._clock = clock
        self._next = 0  # place of the container with which the next pass begins

    @property
    def simulated(self) -> bool:
        return self._actions.simulated

    async def run(self, heartbeat: Heartbeat) -> None:
        """Read until cancelled."""
        off = not self._settings.interval
        interval = max(_FASTEST, self._settings.interval)
        if off:
            self._memory.states.clear()
            self._memory.rates.clear()
            self._conditions.update(TYPES, ())
        due = self._clock.monotonic()
        try:
            while True:
                with heartbeat.working():
                    for death in self._deaths.take():
                        await self._died(death)
                        heartbeat.beat()
                    if self._clock.monotonic() >= due:
                        due = self._clock.monotonic() + interval
                        self._namer.name_start_errors(simulated=self.simulated)
                        if not off:
                            await self._read_all(heartbeat)
                await heartbeat.idle(self._deaths.arrived, max(0.0, due - self._clock.monotonic()))
        finally:
            await self._actions.aclose()

    # Readings

    async def _read_all(self, heartbeat: Heartbeat) -> None:
        reading = self._containers()
        if reading is None:
            return
        present = {each.id: each for each in reading.value.containers}
        self._forget(present.keys())
        for identity, state in self._memory.states.items():
            if state.lost is not None and present[identity].state not in _ALIVE:
                self._memory.states[identity] = replace(state, lost=None)  # it is down, and may stay so
        watched = [each for each in present.values() if self._watched(each)]
        for identity in self._memory.rates.keys() - {each.id for each in watched}:
            del self._memory.rates[identity]  # it does not run any more
        count = min(len(watched), _MOST_CONTAINERS)
        chosen = [watched[(self._next + place) % len(watched)] for place in range(count)]
        self._next += count
        unread: list[str] = []
        for container in chosen:
            try:
                await self._read(container)
            except Unavailable as error:
                unread.append(f"{container.name}: {error.reason}")
            heartbeat.beat()
        self._show(present)
        if unread and len(unread) == len(chosen):
            raise Unavailable(
                "read the logs of",
                "containers",
                reason="; ".join(unread[:3]),
                remedy="see `journalctl -u docker`",
            )

    async def _read(self, container: ContainerReading) -> None:
        now = self._clock.time()
        run = container.started_at or 0.0
        before = self._memory.read_until.get(container.id, now - max(_FASTEST, self._settings.interval))
        since = max(run, min(before, now))
        tail = await self._actions.logs(container.id, lines=self._settings.lines, since=since)
        if tail is None:
            return
        if tail.unreadable:
            self._memory.unreadable[container.id] = tail.unreadable
            return
        self._memory.unreadable.pop(container.id, None)
        self._memory.read_until[container.id] = now
        state = self._memory.states.get(container.id, LogState())
        reading = self._reading(container, tail, since, now)
        self._memory.rates[container.id] = Rate(reading.lines_per_second, reading.bytes_per_second)
        self._memory.states[container.id] = step(state, reading, self._settings)

    def _reading(self, container: ContainerReading, tail: LogTail, since: float, now: float) -> LogReading:
        # Of a log with more lines than were read the time is that since the oldest of them: to the present
        # and not to the newest, so that a burst in a quiet log is no storm.
        oldest = time_of(tail.lines[0]) if tail.full and tail.lines else None
        seconds = max(0.001, now - (since if oldest is None else max(oldest, since)))
        rate = len(tail.lines) / seconds
        repeated, share = "", 0.0
        if rate >= self._settings.storm_lines_per_second:
            line, count = most_repeated(map(text_of, tail.lines))
            repeated, share = redacted(container, line), count / len(tail.lines)
        lost = next((text for text in map(text_of, reversed(tail.lines)) if says_gpu_is_lost(text)), "")
        engine = self._engine(container.id)
        works = None if engine is None or engine.verdict is Verdict.UNKNOWN else engine.verdict in _WORKS
        return LogReading(
            run=container.started_at or 0.0,
            at=now,
            lines_per_second=rate,
            bytes_per_second=tail.received / seconds,
            repeated=repeated,
            share=share,
            lost=redacted(container, lost) if lost else "",
            works=works,
        )

    def _watched(self, container: ContainerReading) -> bool:
        if container.state != "running":
            return False
        return (
            container.gpu
            or _ENGINES.search(container.image[:500]) is not None
            or self._engine(container.id) is not None
        )

    def _engine(self, identity: str) -> EngineState | None:
        reading = self._engines()
        engines = reading.value.engines if reading is not None else ()
        return next((each for each in engines if each.container == identity), None)

    def _forget(self, present: AbstractSet[str]) -> None:
        memory = self._memory
        for known in (memory.rates, memory.unreadable, memory.states, memory.read_until):
            for identity in known.keys() - present:
                del known[identity]

    async def _died(self, death: Death) -> None:
        found = await self._namer.name(self._actions, death)
        if found is None or found.named.failure.name != GPU_LOST or not self._settings.interval:
            return
        state = self._memory.states.get(found.container, LogState())
        run = death.at if death.run is None else death.run
        self._memory.states[found.container] = died_without_gpu(state, run, death.at, found.line)

    # Conditions and requests

    def _show(self, present: dict[str, ContainerReading]) -> None:
        self._conditions.update(TYPES, self._found(present))
        for identity, state in self._memory.states.items():
            if state.lost is not None:
                self._request(present[identity], state.lost)

    def _found(self, present: dict[str, ContainerReading]) -> Iterator[Condition]:
        for identity, state in self._memory.states.items():
            container = present[identity]
            if state.storm is not None and container.running:
                yield storm_condition(container.name, state.storm)
            if state.lost is not None:
                yield lost_condition(container.name, state.lost)

    def _request(self, container: ContainerReading, lost: LostGpu) -> None:
        engine = self._engine(container.id)
        if engine is not None and engine.verdict in _WELL:
            return  # it serves, or would: a person decides
        self._messages.send(
            HealRequested(
                reason=f"it has lost its GPU: its log says {clip(lost.line)!r}",
                simulated=self.simulated,
                container=container.id,
                name=container.name,
                fault=TYPES[1],
                cure=Cure.RECREATE,
                hold_seconds=_HOLD * max(_FASTEST, self._settings.interval),
                evidence={"line": clip(lost.line), "said_at": lost.at},
            )
        )
