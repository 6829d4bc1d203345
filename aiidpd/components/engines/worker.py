"""Looks at each engine in its period, beside the probes and without a word to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import anyio

from aiidpd.components.engines.state import EnginePolicy, EngineState, EnginesView, due
from aiidpd.contracts.probes import OwnProbes
from aiidpd.engines.figures import EngineSource
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.latest import Latest


@dataclass(frozen=True, slots=True)
class PolledEngine:
    """An endpoint whose engine is looked at."""

    name: str
    model: str
    simulated: bool
    source: EngineSource


class EnginePoller:
    """Keeps ``latest`` as the engines of ``asked`` tell it; a task for each, so that none waits for another.

    ``probed`` gives when a probe of an endpoint last succeeded (monotonic seconds), None where none did. The
    sources belong to the reader: it closes them when it ends, and takes away what is then no longer known.
    """

    def __init__(
        self,
        asked: Sequence[PolledEngine],
        policy: EnginePolicy,
        *,
        latest: Latest[EnginesView],
        probed: Callable[[str], float | None],
        own: OwnProbes,
        clock: Clock,
    ) -> None:
        self._asked = tuple(asked)
        self._policy = policy
        self._latest = latest
        self._probed = probed
        self._own = own
        self._clock = clock
        self._view = EnginesView(tuple(EngineState(each.name, each.model, each.simulated) for each in asked))

    async def run(self) -> None:
        """Look until cancelled."""
        self._latest.put(self._view)
        try:
            async with anyio.create_task_group() as group:
                for each in self._asked:
                    group.start_soon(self._follow, each)
        finally:
            self._latest.clear()
            for each in self._asked:
                await each.source.aclose()

    async def _follow(self, asked: PolledEngine) -> None:
        state = EngineState(asked.name, asked.model, asked.simulated)
        while True:
            wait = due(state, self._probed(asked.name), self._policy) - self._clock.monotonic()
            if wait > 0:
                # At most a period: a probe that succeeds meanwhile may bring the next look forward.
                await self._clock.sleep(min(wait, self._policy.interval))
                continue
            before = asked.name in self._own
            answer = await asked.source.read()
            ours = before or asked.name in self._own
            state = state.told(answer, self._clock.time(), self._clock.monotonic(), includes_probe=ours)
            self._view = self._view.put(state)
            self._latest.put(self._view)
