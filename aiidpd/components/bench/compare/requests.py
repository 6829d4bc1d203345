"""One request of a comparison at a time: sent where nobody is served, dropped where somebody comes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Literal, TypeAlias

import anyio

from aiidpd.components.bench.compare.idle import NO_FIGURES, absent, others, unknown
from aiidpd.contracts.engines import EngineState, EnginesView
from aiidpd.engines.target import ProbeRequest, Target, Timeline
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.errors import Unavailable
from aiidpd.kernel.task import Heartbeat

Ended: TypeAlias = Literal["clear", "pairs", "budget", "busy", "absent", "failed", "cancelled", "read"]
MOST_WAITING: Final = 600.0
"""Seconds for which a comparison waits until nobody is served, all in all."""
_WATCH: Final = 0.25  # seconds between two looks at the engines during a request
_AGAIN: Final = 1.0  # seconds between two looks while somebody is served
_MOST_DISTURBED: Final = 20


class Stopped(Exception):
    """End of a comparison before its pairs are complete."""

    def __init__(self, ended: Ended, reason: str) -> None:
        self.ended = ended
        super().__init__(reason)


class Disturbed(Exception):
    """Somebody else was served during the request: it says nothing."""


class ComparisonControl:
    """Cancellation of the comparison that runs; it outlives the worker."""

    def __init__(self) -> None:
        self.running = False
        self.cancelled = False

    @contextmanager
    def runs(self) -> Iterator[None]:
        """Wrap the comparison that runs."""
        self.running, self.cancelled = True, False
        try:
            yield
        finally:
            self.running = self.cancelled = False

    def cancel(self) -> bool:
        """Cancel the comparison that runs, and return whether there is one."""
        self.cancelled = self.running
        return self.running


class Requests:
    """Sends the requests of one comparison of ``targets``, for at most ``budget`` seconds.

    ``running`` has the endpoint that is asked right now. Engines are seen as often as they are polled.
    """

    def __init__(
        self,
        targets: tuple[Target, Target],
        *,
        budget: float,
        clock: Clock,
        engines: Callable[[], EnginesView | None],
        running: set[str],
        control: ComparisonControl,
        heartbeat: Heartbeat,
        wake: bool,
    ) -> None:
        self._targets = targets
        self._clock = clock
        self._budget = budget
        self._engines = engines
        self._running = running
        self._control = control
        self._heartbeat = heartbeat
        self._wake = wake
        self._began = clock.monotonic()
        self._waited = 0.0
        self._disturbed = 0
        self.notes: dict[str, None] = {}

    async def send(self, target: Target, request: ProbeRequest) -> Timeline:
        """Return the answer; raises :class:`Unavailable`, :class:`Disturbed` and :class:`Stopped`."""
        await self._admitted()
        began = self._clock.monotonic()
        found: Timeline | Unavailable | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(self._watch, group.cancel_scope, began)
            self._running.add(target.name)
            try:
                found = await target.probe(request)
            except Unavailable as error:
                found = error
            finally:
                self._running.discard(target.name)
            group.cancel_scope.cancel()
        if isinstance(found, Unavailable):
            raise found
        if found is None:
            self._check()
            raise self._disturbance()
        if self._others(began):
            raise self._disturbance()
        return found

    def _disturbance(self) -> Disturbed | Stopped:
        self._disturbed += 1
        if self._disturbed > _MOST_DISTURBED:
            return Stopped("busy", f"{self._disturbed} requests were dropped because others were served")
        return Disturbed()

    async def _admitted(self) -> None:
        """Return once a request may be sent."""
        self._heartbeat.beat()
        self._check()
        while self._others():
            if self._waited >= MOST_WAITING:
                raise Stopped("busy", f"others were served for {MOST_WAITING:.0f} s while it waited")
            self._waited += _AGAIN
            await self._clock.sleep(_AGAIN)
            self._heartbeat.beat()
            self._check()

    def _check(self) -> None:
        if self._control.cancelled:
            raise Stopped("cancelled", "it was cancelled")
        if self._clock.monotonic() - self._began >= self._budget:
            raise Stopped("budget", f"its {self._budget / 60:.3g} minutes are over")
        for target, engine in zip(self._targets, self._states(), strict=True):
            if target.simulated:
                continue
            if unknown(engine):
                self.notes[f"{target.name}: {NO_FIGURES}"] = None
            if not self._wake and (reason := absent(engine)):
                raise Stopped("absent", f"{target.name}: {reason}, and a comparison loads none")

    async def _watch(self, scope: anyio.CancelScope, began: float) -> None:
        while not (self._control.cancelled or self._others(began)):
            await self._clock.sleep(_WATCH)
        scope.cancel()

    def _others(self, began: float | None = None) -> bool:
        return any(others(each, began) for each in self._states())

    def _states(self) -> tuple[EngineState | None, EngineState | None]:
        view = self._engines()
        first, second = (view.engine(each.name) if view else None for each in self._targets)
        return first, second
