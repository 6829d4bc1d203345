"""Polls each inference engine at its own pace, beside the probes, with one request at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import anyio
import anyio.abc

from aiidpd.components.engines.discovery import FoundEngine
from aiidpd.components.engines.fresh import FreshReads
from aiidpd.components.engines.pace import next_interval
from aiidpd.components.engines.polls import Polls
from aiidpd.components.engines.state import due, switched_off, with_answer
from aiidpd.contracts.engines import EngineState, EnginesView
from aiidpd.contracts.probes import ProbesView
from aiidpd.engines.figures import EngineReading, EngineSource, NotKnown
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.errors import Misconfigured
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.task import Heartbeat

_LONGEST_SLEEP = 5.0  # seconds: a probe that succeeds meanwhile may bring the next reading forward
_FOLLOW = 1.0  # seconds between two searches for engines that came or went


@dataclass(slots=True)
class _Polled:
    """An engine and the task that polls it. ``ended`` is set once that has closed its connections."""

    engine: FoundEngine
    state: EngineState
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    ended: anyio.Event = field(default_factory=anyio.Event)
    source: EngineSource | None = None
    counted: tuple[int, float, int] = (0, 0.0, 0)
    """Load of the source that is among the polls."""


class EnginePoller:
    """Updates ``latest`` with what the engines of ``find`` report, at most each ``interval`` (seconds).

    ``find`` is called again and again: engines come and go. Each has a task of its own, so that none waits
    for another, but those at one address take turns, for they are one server. A request is waited for as long
    as it takes, and cut off when its engine is gone or the poller ends.

    ``source`` makes what an engine is read through. ``probes`` gives the measurements of the same endpoints.
    ``on_state`` gets each state once, right after the engine was read; ``on_found`` the engines whenever
    others are found. ``fresh`` has further readings made at once, of which nothing but their caller and the
    load learns. What is no longer known when the poller ends is taken away.
    """

    def __init__(
        self,
        find: Callable[[], Sequence[FoundEngine]],
        source: Callable[[FoundEngine], EngineSource],
        interval: float,
        *,
        latest: Latest[EnginesView],
        probes: Callable[[], ProbesView],
        clock: Clock,
        polls: Polls | None = None,
        on_state: Callable[[EngineState], None] | None = None,
        on_found: Callable[[Sequence[FoundEngine]], None] | None = None,
        fresh: FreshReads | None = None,
    ) -> None:
        self._fresh = fresh or FreshReads()
        self._find = find
        self._source = source
        self._interval = interval
        self._latest = latest
        self._probes = probes
        self._clock = clock
        self._polls = polls or Polls()
        self._on_state = on_state
        self._on_found = on_found
        self._found: tuple[FoundEngine, ...] = ()
        self._polled: dict[str, _Polled] = {}
        self._turns: dict[tuple[str, int], anyio.Lock] = {}

    @property
    def simulated(self) -> bool:
        """True where any engine is made up."""
        return any(each.simulated for each in self._find())

    async def run(self, heartbeat: Heartbeat) -> None:
        """Poll until cancelled."""
        with heartbeat.working():
            pass  # each engine's own state reports how its readings fare
        try:
            async with anyio.create_task_group() as group:
                with self._fresh.carried_out(self._read_fresh, group):
                    await self._work(group, heartbeat)
        finally:
            self._latest.clear()

    async def _work(self, group: anyio.abc.TaskGroup, heartbeat: Heartbeat) -> None:
        while True:
            heartbeat.beat()
            self._follow(group)
            self._publish()
            await self._clock.sleep(_FOLLOW)

    def _follow(self, group: anyio.abc.TaskGroup) -> None:
        """Begin to poll the engines that came or changed, and end it for those that went."""
        found = tuple(self._find())
        if found == self._found and self._polled:
            return
        names = {each.name for each in found}
        for name in self._polled.keys() - names:
            self._polled.pop(name).scope.cancel()
        for engine in found:
            before = self._polled.get(engine.name)
            if before is not None and before.engine.polled_alike == engine.polled_alike:
                before.engine = engine
                continue
            if before is not None:
                before.scope.cancel()
            polled = _Polled(engine, _fresh(engine))
            self._polled[engine.name] = polled
            group.start_soon(self._poll, polled, before.ended if before else None)
        addresses = {each.address for each in found}
        self._turns = {at: lock for at, lock in self._turns.items() if at in addresses}
        self._polls.forget(names)
        self._found = found
        if self._on_found is not None:
            self._on_found(found)

    def _publish(self) -> None:
        """Show the states, each with since when a request of ours has been open."""
        states = []
        for engine in self._found:
            polled = self._polled[engine.name]
            pending = polled.source.load.pending_since if polled.source else None
            if polled.state.pending_since != pending:
                polled.state = replace(polled.state, pending_since=pending)
            states.append(polled.state)
        view = EnginesView(tuple(states))
        reading = self._latest.get()
        if reading is None or reading.value != view:
            self._latest.put(view)

    async def _poll(self, polled: _Polled, before: anyio.Event | None) -> None:
        try:
            with polled.scope:
                if before is not None:
                    await before.wait()
                await self._poll_on(polled)
        finally:
            if polled.source is not None:
                with anyio.CancelScope(shield=True):
                    await polled.source.aclose()
            polled.ended.set()

    async def _poll_on(self, polled: _Polled) -> None:
        interval = self._interval
        while True:
            engine = polled.engine
            if engine.off:
                state = switched_off(polled.state, engine.off)
                if state != replace(polled.state, pending_since=None):
                    polled.state = state
                    self._publish()
                await self._clock.sleep(_FOLLOW)
                continue
            wait = due(polled.state, self._probed(engine.name), interval) - self._clock.monotonic()
            if wait > 0:
                await self._clock.sleep(min(wait, interval, _LONGEST_SLEEP))
                continue
            reading, ours, seconds = await self._read(polled)
            self._count(polled)
            interval = next_interval(self._interval, interval, seconds, busy=reading.busy)
            self._polls.of(engine.name).interval = interval
            polled.state = with_answer(
                polled.state, reading, self._clock.time(), self._clock.monotonic(), includes_probe=ours
            )
            self._publish()
            if self._on_state is not None:
                self._on_state(polled.state)

    async def _read(self, polled: _Polled) -> tuple[EngineReading, bool, float]:
        """Return the reading, whether a probe of ours ran meanwhile, and the seconds that it took."""
        engine = polled.engine
        if polled.source is None:
            try:
                polled.source = self._source(engine)
            except Misconfigured as error:
                return EngineReading(NotKnown(str(error), lasting=True)), False, 0.0
        source = polled.source
        async with self._turn(engine):
            running = engine.name in self._probes().running
            before = source.load.seconds
            reading = await source.read()
            ours = running or engine.name in self._probes().running
            return reading, ours, source.load.seconds - before

    def _turn(self, engine: FoundEngine) -> anyio.Lock:
        return self._turns.setdefault(engine.address or (engine.name, 0), anyio.Lock())

    def _count(self, polled: _Polled) -> None:
        """Add the load of the readings since the last poll, those that were made at once among them."""
        if polled.source is not None:
            load = polled.source.load
            self._polls.of(polled.engine.name).add(self._clock.monotonic(), polled.counted, load)
            polled.counted = (load.requests, load.seconds, load.bytes)

    async def _read_fresh(self, name: str, waited_for: Callable[[], bool]) -> EngineState | None:
        """Return the state of the engine ``name`` as it is now, where somebody still waits for it."""
        polled = self._polled.get(name)
        if polled is None or polled.engine.off or polled.source is None:
            return polled.state if polled is not None else None
        source = polled.source
        async with self._turn(polled.engine):
            if not waited_for() or polled.ended.is_set():
                return None
            running = name in self._probes().running
            reading = await source.read()
            ours = running or name in self._probes().running
        now = self._clock.monotonic()
        return with_answer(polled.state, reading, self._clock.time(), now, includes_probe=ours)

    def _probed(self, name: str) -> float | None:
        """Return when the endpoint's last probe ended, where that succeeded."""
        for each in self._probes().endpoints:
            if each.name == name and not each.error:
                return each.probed
        return None


def _fresh(engine: FoundEngine) -> EngineState:
    return EngineState(
        engine.name,
        engine.model,
        engine.simulated,
        engine=engine.profile,
        container=engine.container,
        url=engine.url,
        may_sleep=bool(engine.may_sleep),
    )
