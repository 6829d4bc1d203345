"""One request of a comparison at a time: sent where nobody is served, dropped where somebody comes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal, TypeAlias

from aiidpd.components.bench.alone.decide import NO_FIGURES, absent, others, unknown
from aiidpd.components.bench.alone.prober import AloneProber, Busy, Disturbed
from aiidpd.components.bench.alone.prober import Stopped as RequestStopped
from aiidpd.contracts.engines import EngineState
from aiidpd.engines.target import ProbeRequest, Target, Timeline
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.task import Heartbeat

Ended: TypeAlias = Literal["clear", "pairs", "budget", "busy", "absent", "failed", "cancelled", "read"]
MOST_WAITING: Final = 600.0
"""Seconds for which a comparison waits until nobody is served, all in all."""
_AGAIN: Final = 1.0  # seconds between two looks while somebody is served
_MOST_DISTURBED: Final = 20


class Stopped(Exception):
    """End of a comparison before its pairs are complete."""

    def __init__(self, ended: Ended, reason: str) -> None:
        self.ended = ended
        super().__init__(reason)


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
    """Sends the requests of one comparison of ``targets`` by ``prober``, for at most ``budget`` seconds."""

    def __init__(
        self,
        targets: tuple[Target, Target],
        *,
        budget: float,
        clock: Clock,
        prober: AloneProber,
        control: ComparisonControl,
        heartbeat: Heartbeat,
        wake: bool,
    ) -> None:
        self._targets = targets
        self._clock = clock
        self._budget = budget
        self._prober = prober
        self._control = control
        self._heartbeat = heartbeat
        self._wake = wake
        self._began = clock.monotonic()
        self._waited = 0.0
        self._disturbed = 0
        self.notes: dict[str, None] = {}

    async def send(self, target: Target, request: ProbeRequest) -> Timeline:
        """Return the answer; raises :class:`Unavailable`, :class:`Disturbed` and :class:`Stopped`."""
        while True:
            await self._admitted()
            try:
                answered = await self._prober.send(
                    target,
                    request,
                    beside=[each.name for each in self._targets],
                    stop=lambda: self._control.cancelled,
                )
            except Busy:
                await self._wait()
                continue
            except Disturbed as error:
                raise self._disturbance(str(error)) from None
            except RequestStopped:
                raise Stopped("cancelled", "it was cancelled") from None
            if answered.proof.alone is False:
                raise self._disturbance(answered.proof.reason)
            return answered.timeline

    def _disturbance(self, reason: str) -> Disturbed | Stopped:
        self._disturbed += 1
        if self._disturbed > _MOST_DISTURBED:
            return Stopped("busy", f"{self._disturbed} requests were dropped because others were served")
        return Disturbed(reason)

    async def _admitted(self) -> None:
        """Return once a request may be sent."""
        self._heartbeat.beat()
        self._check()
        while any(map(others, self._states())):
            await self._wait()

    async def _wait(self) -> None:
        """Wait a moment for those who are served to be gone."""
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

    def _states(self) -> tuple[EngineState | None, EngineState | None]:
        first, second = (self._prober.polled(each.name) for each in self._targets)
        return first, second
