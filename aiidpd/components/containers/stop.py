"""Obeys ``gpu.emergency``: stops the containers that it names, and tells how to start them again."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

import anyio

from aiidpd.components.containers.runtime import ContainerRuntime
from aiidpd.contracts.messages import EMERGENCY, named
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.errors import Unavailable
from aiidpd.kernel.events import Event, Scalar, Severity

SOURCE: Final = "containers"
STOPPED: Final = "container.emergency_stopped"
FAILED: Final = "container.emergency_failed"
_WAITING = 16


@dataclass(frozen=True, slots=True)
class StopPolicy:
    """Seconds: ``grace`` to end without being killed, ``retry`` between two tries, ``give_up`` in all."""

    grace: float = 10.0
    retry: float = 2.0
    give_up: float = 600.0


@dataclass(frozen=True, slots=True)
class StopOrder:
    """The containers to stop, by name, and the event that asks for it."""

    names: tuple[str, ...]
    event: Event


class StopOrders:
    """The orders that wait; outlives the worker, so that none is lost while one is replaced."""

    def __init__(self, bus: EventBus) -> None:
        self.waiting: deque[StopOrder] = deque(maxlen=_WAITING)
        self.arrived = anyio.Event()
        bus.attach(events=self._heard)

    def _heard(self, event: Event) -> None:
        if event.kind == EMERGENCY:
            self.waiting.append(StopOrder(named(event), event))
            self.arrived.set()

    async def next(self) -> StopOrder:
        """Return the oldest order; it waits on until :meth:`done`."""
        while not self.waiting:
            self.arrived = anyio.Event()
            await self.arrived.wait()
        return self.waiting[0]

    def done(self, order: StopOrder) -> None:
        """Take ``order`` away."""
        if order in self.waiting:
            self.waiting.remove(order)


class EmergencyStopper:
    """Carries out orders through an ``engine`` of its own, which it closes: a slow reading holds nothing up.

    An engine that does not answer is asked again until it does. Each container is told of once: what was
    stopped and how to start it, or why it could not be. ``run`` never returns.
    """

    def __init__(
        self,
        engine: ContainerRuntime,
        orders: StopOrders,
        bus: EventBus,
        clock: Clock,
        policy: StopPolicy | None = None,
    ) -> None:
        self._engine = engine
        self._orders = orders
        self._bus = bus
        self._clock = clock
        self._policy = policy or StopPolicy()

    async def run(self) -> None:
        """Obey until cancelled; an order that was cut short is carried out by the next run."""
        try:
            while True:
                order = await self._orders.next()
                async with anyio.create_task_group() as group:
                    for name in order.names:
                        group.start_soon(self._stop, name, order)
                self._orders.done(order)
        finally:
            with anyio.CancelScope(shield=True):
                await self._engine.aclose()

    async def _stop(self, name: str, order: StopOrder) -> None:
        began = self._clock.monotonic()
        complained = False
        while True:
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

    async def _try(self, name: str, order: StopOrder) -> None:
        identity = await self._find(name)
        if identity is None:
            self._failed(name, order, "there is no container of this name: correct gpu.emergency_stop")
            return
        began = self._clock.monotonic()
        ran = await self._engine.stop(identity, self._policy.grace)
        took = self._clock.monotonic() - began
        start = f"docker start {name}"
        if ran:
            reason = f"stopped within {took:.1f} s, because {order.event.reason}; to start it again: {start}"
        else:
            reason = f"it did not run, so there was nothing to stop; to start it: {start}"
        self._publish(STOPPED, name, order, reason, id=identity[:12], ran=ran, remedy=start)

    async def _find(self, name: str) -> str | None:
        """Return the id of the container of just this name: the engine would take part of an id too."""
        snapshot = await self._engine.containers()
        known = [(each.id, each.name) for each in snapshot.containers]
        return next((key for key, called in [*known, *snapshot.unreadable] if called == name), None)

    def _failed(self, name: str, order: StopOrder, reason: str) -> None:
        self._publish(FAILED, name, order, f"cannot stop it: {reason}", remedy=f"docker stop {name}")

    def _publish(self, kind: str, name: str, order: StopOrder, reason: str, **evidence: Scalar) -> None:
        self._bus.publish(
            Event(
                time=self._clock.time(),
                source=SOURCE,
                kind=kind,
                reason=reason,
                subject=name,
                severity=Severity.ERROR,
                evidence={"gpu": order.event.subject, "emergency": order.event.id, **evidence},
                simulated=self._engine.simulated,
            )
        )
