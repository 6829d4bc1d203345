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
    """Ending of a worker's run."""

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
    whole process helps, and the silence makes systemd do that. ``also`` is called each tick, whatever the
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
        self._slots = {spec.name: self._slot(spec) for spec in specs}

    def _slot(self, spec: Task) -> _Slot:
        status = WorkerStatus(spec.name)
        first_pass = anyio.Event()
        return _Slot(spec, status, Heartbeat(self._clock, status, first_pass), first_pass)

    @property
    def statuses(self) -> tuple[WorkerStatus, ...]:
        """One status a worker, in the order of the specs; live objects, to be read at once."""
        return tuple(slot.status for slot in self._slots.values())

    async def run(self) -> None:
        """Run all workers until cancelled."""
        try:
            async with anyio.create_task_group() as group:
                for slot in self._slots.values():
                    group.start_soon(self._supervise, slot)
                group.start_soon(self._watch)
        finally:
            for slot in self._slots.values():
                slot.status.state = WorkerState.STOPPED

    async def first_passes(self, within: float) -> tuple[str, ...]:
        """Wait until each worker ended a first pass, at most ``within`` seconds; return who did not."""
        deadline = self._clock.monotonic() + within
        for slot in self._slots.values():
            await wait_for(self._clock, slot.first_pass, max(0.0, deadline - self._clock.monotonic()))
        return tuple(name for name, slot in self._slots.items() if not slot.first_pass.is_set())

    def replace(self, name: str) -> None:
        """Cancel worker ``name`` and build it anew at once (its configuration changed)."""
        slot = self._slots.get(name)
        if slot is None:
            raise NotFound("replace worker", name, reason="there is no such worker")
        if slot.status.state is WorkerState.WEDGED:
            raise Conflict("replace worker", name, reason="it was cancelled and did not end")
        slot.failures = 0
        self._cancel(slot, Ending.REPLACED)
        slot.hurry.set()

    async def _supervise(self, slot: _Slot) -> None:
        while True:
            started = self._clock.monotonic()
            slot.cancelled_for = None
            ending, reason = await self._run_once(slot)
            if ending is Ending.REPLACED:
                self._publish(slot, "worker.replaced", "its configuration changed", Severity.INFO)
                continue
            slot.first_pass.set()  # readiness waits to know how a worker fares, not for it to fare well
            slot.failures = self._backoff.failures(slot.failures, self._clock.monotonic() - started)
            delay = self._backoff.delay(slot.failures, self._uniform())
            slot.status.restarts += 1
            slot.status.state = WorkerState.RESTARTING
            slot.status.reason = reason
            self._publish(
                slot, f"worker.{ending}", f"{reason}; starts again in {delay:.1f} s", Severity.ERROR
            )
            self._report(slot)
            slot.hurry = anyio.Event()
            await wait_for(self._clock, slot.hurry, delay)

    async def _run_once(self, slot: _Slot) -> tuple[Ending, str]:
        ending, reason = Ending.RETURNED, "it returned, and a worker never does"
        slot.status.state = WorkerState.STARTING
        slot.status.started_at = self._clock.time()
        slot.deadline = slot.spec.deadline()
        slot.heartbeat.beat()
        with anyio.CancelScope() as slot.scope:
            try:
                worker = slot.spec.make()
                slot.status.simulated = worker.simulated
                await worker.run(slot.heartbeat)
            except Exception as error:  # noqa: BLE001 -- whatever a worker's failure is, its peers run on
                ending, reason = Ending.FAILED, describe(error)
        slot.scope = None
        if slot.cancelled_for is not None:
            ending = slot.cancelled_for
            reason = f"no sign of life for {slot.deadline:g} s"
        return ending, reason

    async def _watch(self) -> None:
        while True:
            for slot in self._slots.values():
                self._examine(slot)
            if not any(slot.status.state is WorkerState.WEDGED for slot in self._slots.values()):
                self._watchdog()
            self._also()
            await self._clock.sleep(self._tick)

    def _examine(self, slot: _Slot) -> None:
        now = self._clock.monotonic()
        if slot.scope is not None and slot.cancelled_for is not None:
            if now - slot.cancelled_at > self._grace and slot.status.state is not WorkerState.WEDGED:
                slot.status.state = WorkerState.WEDGED
                slot.status.reason = f"was cancelled and did not end within {self._grace:g} s"
                self._publish(slot, "worker.wedged", slot.status.reason, Severity.ERROR)
        elif slot.scope is not None and now - slot.heartbeat.last > slot.deadline:
            self._cancel(slot, Ending.HUNG)
        self._report(slot)

    def _cancel(self, slot: _Slot, why: Ending) -> None:
        if slot.scope is not None:
            slot.cancelled_for = why
            slot.cancelled_at = self._clock.monotonic()
            slot.scope.cancel(why)

    def _report(self, slot: _Slot) -> None:
        state, name = slot.status.state, slot.spec.name
        if state is WorkerState.STARTING and slot.failures:
            return  # the first pass of the new run shows whether what ended the last one is over
        if slot.status.up or state in (WorkerState.STARTING, WorkerState.STOPPED):
            self._conditions.clear(CONDITION, name)
            return
        severity = Severity.WARNING if state is WorkerState.DEGRADED else Severity.ERROR
        reason, simulated = f"{state}: {slot.status.reason}", slot.status.simulated
        self._conditions.set(Condition(CONDITION, name, severity, reason, source=SOURCE, simulated=simulated))

    def _publish(self, slot: _Slot, kind: str, reason: str, severity: Severity) -> None:
        self._publisher.marked(simulated=slot.status.simulated).event(
            kind,
            reason,
            about=slot.spec.name,
            severity=severity,
            restarts=slot.status.restarts,
            failures_in_a_row=slot.failures,
        )
