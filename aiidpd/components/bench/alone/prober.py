"""Sends a request while its engine serves nobody else, and closes its stream as soon as somebody comes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import anyio

from aiidpd.components.bench.alone.decide import (
    Proof,
    is_settled,
    others,
    others_words,
    pause,
    proof,
)
from aiidpd.contracts.engines import EngineReads, EngineState, EnginesView
from aiidpd.engines.target import ProbeRequest, Target, Timeline
from aiidpd.kernel.clock import Clock

_PATIENCE: Final = 5.0  # seconds for which one reading is waited for
_SETTLES: Final = (0.02, 0.05, 0.1, 0.2, 0.4)  # seconds before each further reading of counters that lag


class Busy(Exception):
    """Others are served, so that nothing was sent; the text says so."""


class Disturbed(Exception):
    """Others came while our request ran: it was ended, and says nothing."""


class Stopped(Exception):
    """End of a request that its caller wished."""


@dataclass(frozen=True, slots=True)
class Answered:
    """Answer to one request. ``before`` and ``after`` are the engine's state around it, None if not known."""

    timeline: Timeline
    before: EngineState | None
    after: EngineState | None
    proof: Proof


class AloneProber:
    """Sends requests one at a time.

    ``engines`` has the states of the engines as they were polled last, ``reads`` what reads one at once, each
    None where there is none. ``running`` has the endpoint that answers us right now.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        engines: Callable[[], EnginesView | None],
        reads: Callable[[], EngineReads | None],
        running: set[str],
    ) -> None:
        self._clock = clock
        self._engines = engines
        self._reads = reads
        self._running = running

    def polled(self, name: str) -> EngineState | None:
        """Return the state of the engine of the endpoint ``name`` as it was polled last."""
        view = self._engines()
        return view.engine(name) if view else None

    async def state(self, name: str) -> EngineState | None:
        """Return the state of that engine as it is now; as it was polled last where it can't be read."""
        polled, reads = self.polled(name), self._reads()
        if reads is None or polled is None or polled.simulated or self._silent(polled):
            return polled
        found: EngineState | None = None
        async with anyio.create_task_group() as group:

            async def give_up() -> None:
                await self._clock.sleep(_PATIENCE)
                group.cancel_scope.cancel()

            group.start_soon(give_up)
            found = await reads.read(name)
            group.cancel_scope.cancel()
        return found or polled

    async def send(
        self,
        target: Target,
        request: ProbeRequest,
        *,
        beside: Sequence[str] = (),
        stop: Callable[[], bool] = lambda: False,
        during: Callable[[], None] = lambda: None,
    ) -> Answered:
        """Return the answer of ``target`` to ``request``.

        Nobody else is to be served by its engine nor by those of the endpoints ``beside``. ``during`` is
        called again and again meanwhile, and ``stop`` for whether to end it. Raises :class:`Busy`,
        :class:`Disturbed`, :class:`Stopped`, and :class:`Unavailable` as the target does.
        """
        names = tuple(dict.fromkeys((target.name, *beside)))
        asked = self._clock.monotonic()
        before = await self.state(target.name)
        cost = self._clock.monotonic() - asked if self._reads() is not None and before is not None else None
        if count := sum(others(each) for each in (before, *map(self.polled, names[1:]))):
            raise Busy(others_words(count))
        timeline = await self._watched(target, request, names, every=pause(cost), stop=stop, during=during)
        after = await self._settled(target.name, before, timeline)
        ours = timeline.output_tokens
        return Answered(timeline, before, after, proof(before, after, ours))

    async def _watched(
        self,
        target: Target,
        request: ProbeRequest,
        names: tuple[str, ...],
        *,
        every: float,
        stop: Callable[[], bool],
        during: Callable[[], None],
    ) -> Timeline:
        began = self._clock.monotonic()
        found: Timeline | Exception | None = None
        came = 0

        async def watch(scope: anyio.CancelScope) -> None:
            nonlocal came
            while True:
                during()
                for name in names:
                    came = others(await self.state(name), began)
                    if came:
                        break
                if came or stop():
                    scope.cancel()
                    return
                await self._clock.sleep(every)

        with self._runs(target.name):
            async with anyio.create_task_group() as group:
                group.start_soon(watch, group.cancel_scope)
                try:
                    found = await target.probe(request)
                except Exception as error:  # noqa: BLE001 -- raised below, as it is and in no group
                    found = error
                group.cancel_scope.cancel()
        if isinstance(found, Exception):
            raise found
        if found is None:
            if came:
                raise Disturbed(f"{others_words(came)} since, and the request was ended for them")
            raise Stopped
        return found

    async def _settled(self, name: str, before: EngineState | None, timeline: Timeline) -> EngineState | None:
        """Return the engine's state after our request; None where nothing was read of it since its end."""
        if self._reads() is None or before is None:
            found = self.polled(name)
            return found if found is not None and (found.read or 0.0) >= timeline.ended else None
        after: EngineState | None = None
        for seconds in (0.0, *_SETTLES):
            await self._clock.sleep(seconds)
            after = await self.state(name)
            if after is None or (after.read or 0.0) < timeline.ended:
                return None
            if is_settled(before, after, timeline.output_tokens):
                break
        return after

    def _silent(self, polled: EngineState) -> bool:
        """Return whether a request for its page has been open for long: another would only wait behind it."""
        pending = polled.pending_since
        return pending is not None and self._clock.monotonic() - pending > _PATIENCE

    @contextmanager
    def _runs(self, name: str) -> Iterator[None]:
        self._running.add(name)
        try:
            yield
        finally:
            self._running.discard(name)
