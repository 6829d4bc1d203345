"""Obeys :class:`EmergencyStop`: stops the containers that it names, and says how to start them again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import anyio

from aiidpd.components.containers.runtime import ContainerRuntime
from aiidpd.contracts.messages import EmergencyStop
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.errors import Unavailable
from aiidpd.kernel.events import Event, Scalar, Severity
from aiidpd.kernel.inbox import Inbox
from aiidpd.kernel.task import Heartbeat

SOURCE: Final = "containers"
STOPPED: Final = "container.emergency_stopped"
FAILED: Final = "container.emergency_failed"


@dataclass(frozen=True, slots=True)
class StopPolicy:
    """Seconds: ``grace`` to end without being killed, ``retry`` between two tries, ``give_up`` in all."""

    grace: float = 10.0
    retry: float = 2.0
    give_up: float = 600.0


class EmergencyStopper:
    """Carries out the orders of ``inbox`` through a ``runtime`` of its own: a slow reading holds nothing up.

    A runtime that does not answer is called again until it does. One event a container says what was stopped
    and how to start it, or why it could not be.
    """

    def __init__(
        self,
        runtime: ContainerRuntime,
        inbox: Inbox[EmergencyStop],
        bus: EventBus,
        clock: Clock,
        policy: StopPolicy | None = None,
    ) -> None:
        self._runtime = runtime
        self._inbox = inbox
        self._bus = bus
        self._clock = clock
        self._policy = policy or StopPolicy()

    @property
    def simulated(self) -> bool:
        """Whether the containers are made up."""
        return self._runtime.simulated

    async def run(self, heartbeat: Heartbeat) -> None:
        """Obey until cancelled; an order that was cut short is carried out by the next run."""
        with heartbeat.working():
            pass  # it waits: there is nothing that could fail yet
        try:
            while True:
                await heartbeat.idle(self._inbox.arrived)
                order = self._inbox.first()
                if order is None:
                    continue
                with heartbeat.working():
                    async with anyio.create_task_group() as group:
                        for name in order.containers:
                            group.start_soon(self._stop, name, order, heartbeat)
                self._inbox.done(order)
        finally:
            with anyio.CancelScope(shield=True):
                await self._runtime.aclose()

    async def _stop(self, name: str, order: EmergencyStop, heartbeat: Heartbeat) -> None:
        began = self._clock.monotonic()
        complained = False
        while True:
            heartbeat.beat()
            try:
                await self._try(name, order)
            except Unavailable as error:
                if not complained:
                    complained = True
                    self._failed(name, order, f"{error}; it is tried again every {self._policy.retry:g} s")
            else:
                return
            if self._clock.monotonic() - began >= self._policy.give_up:
                self._failed(name, order, f"not stopped in {self._policy.give_up:g} s; it is no longer tried")
                return
            await self._clock.sleep(self._policy.retry)

    async def _try(self, name: str, order: EmergencyStop) -> None:
        identity = await self._find(name)
        if identity is None:
            self._failed(name, order, "there is no container of this name: correct gpu.emergency_stop")
            return
        began = self._clock.monotonic()
        ran = await self._runtime.stop(identity, self._policy.grace)
        took = self._clock.monotonic() - began
        start = f"docker start {name}"
        if ran:
            reason = f"stopped within {took:.1f} s, because {order.reason}; to start it again: {start}"
        else:
            reason = f"it did not run, so there was nothing to stop; to start it: {start}"
        self._publish(STOPPED, name, order, reason, id=identity[:12], ran=ran, remedy=start)

    async def _find(self, name: str) -> str | None:
        """Return the id of the container of just this name: the engine would take part of an id too."""
        snapshot = await self._runtime.containers()
        known = [(each.id, each.name) for each in snapshot.containers]
        return next((key for key, called in [*known, *snapshot.unreadable] if called == name), None)

    def _failed(self, name: str, order: EmergencyStop, reason: str) -> None:
        self._publish(FAILED, name, order, f"cannot stop it: {reason}", remedy=f"docker stop {name}")

    def _publish(self, kind: str, name: str, order: EmergencyStop, reason: str, **evidence: Scalar) -> None:
        self._bus.publish(
            Event(
                time=self._clock.time(),
                source=SOURCE,
                kind=kind,
                reason=reason,
                subject=name,
                severity=Severity.ERROR,
                evidence={"gpu": order.gpu, "emergency": order.event_id, **evidence},
                simulated=self._runtime.simulated,
            )
        )
