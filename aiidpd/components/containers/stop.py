"""Obeys :class:`EmergencyStop`: stops the containers that it names, and publishes how to start them again."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import anyio

from aiidpd.components.containers.runtime import ContainerReading, ContainerRuntime
from aiidpd.components.containers.stopped import StoppedContainer, StoppedContainers
from aiidpd.contracts.messages import EmergencyStop
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.errors import Unavailable
from aiidpd.kernel.events import Scalar, Severity
from aiidpd.kernel.inbox import Inbox
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.task import Heartbeat

STOPPED: Final = "container.emergency_stopped"
FAILED: Final = "container.emergency_failed"
_READ_WITHIN: Final = 0.25  # seconds


@dataclass(frozen=True, slots=True)
class StopPolicy:
    """Seconds: ``grace`` from the message to the kill, ``retry`` between two tries, ``give_up`` in all."""

    grace: float = 2.0
    retry: float = 2.0
    give_up: float = 600.0


class EmergencyStopper:
    """Obeys the messages of ``inbox`` through a ``runtime`` of its own: a slow reading holds nothing up.

    A runtime that does not answer is called again until it does. One event a container has what was stopped
    and how to start it, or why it could not be. What was stopped is in ``stopped`` until it runs again.
    """

    def __init__(
        self,
        runtime: ContainerRuntime,
        inbox: Inbox[EmergencyStop],
        *,
        stopped: StoppedContainers,
        publish: Publisher,
        clock: Clock,
        policy: StopPolicy | None = None,
    ) -> None:
        self._runtime = runtime
        self._inbox = inbox
        self._stopped = stopped
        self._publisher = publish.marked(simulated=runtime.simulated)
        self._clock = clock
        self._policy = policy or StopPolicy()

    @property
    def simulated(self) -> bool:
        """True where the containers are made up."""
        return self._runtime.simulated

    async def run(self, heartbeat: Heartbeat) -> None:
        """Obey until cancelled; a message that was cut short is obeyed by the next run."""
        with heartbeat.working():
            pass  # it waits: there is nothing that could fail yet
        try:
            while True:
                await heartbeat.idle(self._inbox.arrived)
                message = self._inbox.first()
                if message is None:
                    continue
                with heartbeat.working():
                    async with anyio.create_task_group() as group:
                        for name in message.containers:
                            group.start_soon(self._stop, name, message, heartbeat)
                self._inbox.done(message)
        finally:
            with anyio.CancelScope(shield=True):
                await self._runtime.aclose()

    async def _stop(self, name: str, message: EmergencyStop, heartbeat: Heartbeat) -> None:
        began = self._clock.monotonic()
        complained = False
        with self._stopped.stopping(name, simulated=self.simulated):
            while True:
                heartbeat.beat()
                try:
                    await self._try(name, message, began + self._policy.grace)
                except Unavailable as error:
                    if not complained:
                        complained = True
                        again = f"it is tried again every {self._policy.retry:g} s"
                        self._failed(name, message, f"{error}; {again}")
                else:
                    return
                if self._clock.monotonic() - began >= self._policy.give_up:
                    tried = f"not stopped in {self._policy.give_up:g} s; it is no longer tried"
                    self._failed(name, message, tried)
                    return
                await self._clock.sleep(self._policy.retry)

    async def _try(self, name: str, message: EmergencyStop, deadline: float) -> None:
        """Stop it; it is killed at monotonic second ``deadline`` at the latest."""
        began = self._clock.monotonic()
        identity = await self._runtime.find(name)
        if identity is None:
            self._failed(name, message, "there is no container of this name: correct gpu.emergency_stop")
            return
        reading = await self._read(identity)
        if reading is None or reading.running:
            # Before the call: its answer may be lost, and the daemon may be killed while it waits for it.
            self._stopped.add(
                StoppedContainer(
                    identity,
                    name,
                    None if reading is None else reading.started_at,
                    self._clock.time(),
                    message.gpu,
                    message.reason,
                ),
                simulated=self.simulated,
            )
        grace = min(max(0.0, deadline - self._clock.monotonic()), self._policy.grace)
        ran = await self._runtime.stop(identity, grace)
        took = self._clock.monotonic() - began
        start = f"docker start {name}"
        if ran:
            reason = f"stopped within {took:.1f} s, because {message.reason}; to start it again: {start}"
        else:
            reason = f"it did not run, so there was nothing to stop; to start it: {start}"
        self._publish(STOPPED, name, message, reason, id=identity[:12], ran=ran, remedy=start)

    async def _read(self, identity: str) -> ContainerReading | None:
        """Return a reading of it, None where there is none at once: nothing waits for one that is stuck."""
        with anyio.move_on_after(_READ_WITHIN), suppress(Unavailable):
            return await self._runtime.container(identity)
        return None

    def _failed(self, name: str, message: EmergencyStop, reason: str) -> None:
        self._publish(FAILED, name, message, f"cannot stop it: {reason}", remedy=f"docker stop {name}")

    def _publish(self, kind: str, name: str, message: EmergencyStop, reason: str, **evidence: Scalar) -> None:
        self._publisher.event(
            kind,
            reason,
            about=name,
            severity=Severity.ERROR,
            gpu=message.gpu,
            emergency=message.event_id,
            **evidence,
        )
