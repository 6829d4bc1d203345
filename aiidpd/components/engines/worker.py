"""Polls each inference engine at its interval, beside the probes and without a request to its model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import anyio

from aiidpd.components.engines.state import due, with_answer
from aiidpd.contracts.engines import EngineState, EnginesView
from aiidpd.contracts.probes import ProbesView
from aiidpd.engines.figures import EngineSource
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.task import Heartbeat

_LONGEST_SLEEP = 5.0  # seconds: a probe that succeeds meanwhile may bring the next reading forward


@dataclass(frozen=True, slots=True)
class PolledEngine:
    """An engine that is polled, by the name of its endpoint."""

    name: str
    model: str
    simulated: bool
    source: EngineSource


class EnginePoller:
    """Updates ``latest`` with the figures of ``engines`` each ``interval`` (seconds).

    Each engine has a task of its own, so that none waits for another.

    ``probes`` gives the measurements of the same endpoints. ``on_state`` gets each state once, right after
    the engine was read. The sources belong to the poller: it closes them when it ends, and takes away what is
    then no longer known.
    """

    def __init__(
        self,
        engines: Sequence[PolledEngine],
        interval: float,
        *,
        latest: Latest[EnginesView],
        probes: Callable[[], ProbesView],
        clock: Clock,
        on_state: Callable[[EngineState], None] | None = None,
    ) -> None:
        self._engines = tuple(engines)
        self._interval = interval
        self._latest = latest
        self._probes = probes
        self._clock = clock
        self._on_state = on_state
        self._view = EnginesView(
            tuple(EngineState(each.name, each.model, each.simulated) for each in engines)
        )

    @property
    def simulated(self) -> bool:
        """True where any engine is made up."""
        return any(each.simulated for each in self._engines)

    async def run(self, heartbeat: Heartbeat) -> None:
        """Poll until cancelled."""
        if self._engines:
            self._latest.put(self._view)
        with heartbeat.working():
            pass  # each engine's own state reports how its readings fare
        try:
            async with anyio.create_task_group() as group:
                for each in self._engines:
                    group.start_soon(self._poll, each, heartbeat)
                if not self._engines:
                    await heartbeat.idle(anyio.Event())
        finally:
            self._latest.clear()
            for each in self._engines:
                await each.source.aclose()

    async def _poll(self, engine: PolledEngine, heartbeat: Heartbeat) -> None:
        state = EngineState(engine.name, engine.model, engine.simulated)
        while True:
            heartbeat.beat()
            wait = due(state, self._probed(engine.name), self._interval) - self._clock.monotonic()
            if wait > 0:
                await self._clock.sleep(min(wait, self._interval, _LONGEST_SLEEP))
                continue
            before = engine.name in self._probes().running
            answer = await engine.source.read()
            ours = before or engine.name in self._probes().running
            state = with_answer(
                state, answer, self._clock.time(), self._clock.monotonic(), includes_probe=ours
            )
            self._view = self._view.put(state)
            self._latest.put(self._view)
            if self._on_state is not None:
                self._on_state(state)

    def _probed(self, name: str) -> float | None:
        """Return when the endpoint's last probe ended, where that succeeded."""
        for each in self._probes().endpoints:
            if each.name == name and not each.error:
                return each.probed
        return None
