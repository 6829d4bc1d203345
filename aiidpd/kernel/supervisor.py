"""Supervises every task: restarts one that ends, cancels one that hangs; none stops another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import anyio

from aiidpd.kernel.backoff import Backoff
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock import Clock, wait_for
from aiidpd.kernel.conditions import Condition, Conditions
from aiidpd.kernel.errors import Conflict, NotFound, describe
from aiidpd.kernel.events import Severity
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.task import Heartbeat, Task, WorkerState, WorkerStatus

SOURCE: Final = "supervisor"
CONDITION: Final = "worker"


class Ending(StrEnum):
    """Why a run of a worker ended."""

    FAILED = "failed"
    RETURNED = "returned"
    HUNG = "hung"
    REPLACED = "replaced"


@dataclass(slots=True)
class _Slot:
    """One worker's place: it stays while the worker objects in it come and go."""

    spec: Task
    status: WorkerStatus
    heartbeat: Heartbeat
    first_pass: anyio.Event = field(default_factory=anyio.Event)
    scope: anyio.CancelScope | None = None
    deadline: float = 0.0
    cancelled_for: Ending | None = None
    cancelled_at: float = 0.0
    hurry: anyio.Event = field(default_factory=anyio.Event)
    failures: int = 0


class Supervisor:
    """Runs each worker in a scope of its own.

    ``watchdog`` is called about once a ``tick`` (seconds) by the supervisor's own loop, unless a
    worker that was cancelled has not ended after ``grace`` seconds: then only a restart of the
    whole process helps, and the silence asks systemd for one. ``also`` is called each tick, whatever the
    workers do: one loop wakes the processor less often than three.
    """

    def __init__(
        self,
        specs: Sequence[Task],
        *,
        clock: Clock,
        bus: EventBus,
        conditions: Conditions,
        uniform: Callable[[], float],
        watchdog: Callable[[], None] = lambda: None,
        also: Callable[[], None] = lambda: None,
        backoff: Backoff | None = None,
        tick: float = 1.0,
        grace: float = 5.0,
    ) -> None:
        self._clock = clock
        self._publisher = Publisher(bus, clock, SOURCE)
        self._conditions = conditions
        self._uniform = uniform
        self._watchdog = watchdog
        self._also = also
        self._backoff = backoff or Backoff()
        self._tick = tick
        self._grace = grace
        self._seats = {spec.name: self._seat(spec) for spec in specs}

    def _seat(self, spec: Task) -> _Slot:
        status = WorkerStatus(spec.name)
        first_pass = anyio.Event()
        return _Slot(spec, status, Heartbeat(self._clock, status, first_pass), first_pass)

    @property
    def statuses(self) -> tuple[WorkerStatus, ...]:
        """One status a worker, in the order of the specs; live objects, to be read at once."""
        return tuple(seat.status for seat in self._seats.values())

    async def run(self) -> None:
        """Run all workers until cancelled."""
        try:
            async with anyio.create_task_group() as group:
                for seat in self._seats.values():
                    group.start_soon(self._keep, seat)
                group.start_soon(self._watch)
        finally:
            for seat in self._seats.values():
                seat.status.state = WorkerState.STOPPED

    async def first_passes(self, within: float) -> tuple[str, ...]:
        """Wait until each worker ended a first pass, at most ``within`` seconds; return who did not."""
        deadline = self._clock.monotonic() + within
        for seat in self._seats.values():
            await wait_for(self._clock, seat.first_pass, max(0.0, deadline - self._clock.monotonic()))
        return tuple(name for name, seat in self._seats.items() if not seat.first_pass.is_set())

    def replace(self, name: str) -> None:
        """Cancel worker ``name`` and build it anew at once (its configuration changed)."""
        seat = self._seats.get(name)
        if seat is None:
            raise NotFound("replace worker", name, reason="there is no such worker")
        if seat.status.state is WorkerState.WEDGED:
            raise Conflict("replace worker", name, reason="it was cancelled and did not end")
        seat.failures = 0
        self._cancel(seat, Ending.REPLACED)
        seat.hurry.set()

    async def _keep(self, seat: _Slot) -> None:
        while True:
            started = self._clock.monotonic()
            seat.cancelled_for = None
            ending, reason = await self._run_once(seat)
            if ending is Ending.REPLACED:
                self._publish(seat, "worker.replaced", "its configuration changed", Severity.INFO)
                continue
            seat.first_pass.set()  # readiness waits to know how a worker fares, not for it to fare well
            seat.failures = self._backoff.failures(seat.failures, self._clock.monotonic() - started)
            delay = self._backoff.delay(seat.failures, self._uniform())
            seat.status.restarts += 1
            seat.status.state = WorkerState.RESTARTING
            seat.status.reason = reason
            self._publish(
                seat, f"worker.{ending}", f"{reason}; starts again in {delay:.1f} s", Severity.ERROR
            )
            self._report(seat)
            seat.hurry = anyio.Event()
            await wait_for(self._clock, seat.hurry, delay)

    async def _run_once(self, seat: _Slot) -> tuple[Ending, str]:
        ending, reason = Ending.RETURNED, "it returned, and a worker never does"
        seat.status.state = WorkerState.STARTING
        seat.status.started_at = self._clock.time()
        seat.deadline = seat.spec.deadline()
        seat.heartbeat.beat()
        with anyio.CancelScope() as seat.scope:
            try:
                worker = seat.spec.make()
                seat.status.simulated = worker.simulated
                await worker.run(seat.heartbeat)
            except Exception as error:  # noqa: BLE001 -- whatever a worker's failure is, its peers run on
                ending, reason = Ending.FAILED, describe(error)
        seat.scope = None
        if seat.cancelled_for is not None:
            ending = seat.cancelled_for
            reason = f"no sign of life for {seat.deadline:g} s"
        return ending, reason

    async def _watch(self) -> None:
        while True:
            for seat in self._seats.values():
                self._examine(seat)
            if not any(seat.status.state is WorkerState.WEDGED for seat in self._seats.values()):
                self._watchdog()
            self._also()
            await self._clock.sleep(self._tick)

    def _examine(self, seat: _Slot) -> None:
        now = self._clock.monotonic()
        if seat.scope is not None and seat.cancelled_for is not None:
            if now - seat.cancelled_at > self._grace and seat.status.state is not WorkerState.WEDGED:
                seat.status.state = WorkerState.WEDGED
                seat.status.reason = f"was cancelled and did not end within {self._grace:g} s"
                self._publish(seat, "worker.wedged", seat.status.reason, Severity.ERROR)
        elif seat.scope is not None and now - seat.heartbeat.last > seat.deadline:
            self._cancel(seat, Ending.HUNG)
        self._report(seat)

    def _cancel(self, seat: _Slot, why: Ending) -> None:
        if seat.scope is not None:
            seat.cancelled_for = why
            seat.cancelled_at = self._clock.monotonic()
            seat.scope.cancel(why)

    def _report(self, seat: _Slot) -> None:
        state, name = seat.status.state, seat.spec.name
        if state is WorkerState.STARTING and seat.failures:
            return  # the first pass of the new run says whether what ended the last one is over
        if seat.status.up or state in (WorkerState.STARTING, WorkerState.STOPPED):
            self._conditions.clear(CONDITION, name)
            return
        severity = Severity.WARNING if state is WorkerState.DEGRADED else Severity.ERROR
        reason, simulated = f"{state}: {seat.status.reason}", seat.status.simulated
        self._conditions.set(Condition(CONDITION, name, severity, reason, source=SOURCE, simulated=simulated))

    def _publish(self, seat: _Slot, kind: str, reason: str, severity: Severity) -> None:
        self._publisher.marked(simulated=seat.status.simulated).event(
            kind,
            reason,
            about=seat.spec.name,
            severity=severity,
            restarts=seat.status.restarts,
            failures_in_a_row=seat.failures,
        )
