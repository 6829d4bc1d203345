"""Lets go on what a lease names, without a daemon."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from aiidpd.components.containers.pause.controller import PauseController
from aiidpd.components.containers.pause.events import PausePublisher
from aiidpd.components.containers.pause.journal import PauseJournal
from aiidpd.components.containers.pause.memory import PauseMemory
from aiidpd.components.containers.pause.state import PausePolicy
from aiidpd.components.containers.runtime import ContainerRuntime
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock import SystemClock
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.events import Event
from aiidpd.kernel.inbox import Inbox

_DOUBT: Final = 2.0  # seconds in which the engine may yet carry out a call of a daemon that was killed


async def put_back(
    engine: ContainerRuntime, lease: PauseJournal, *, within: float, say: Callable[[str], None]
) -> bool:
    """Have the containers of ``lease`` go on within seconds, and close ``engine``; return whether all do.

    What happens is told through ``say``, a line each. What does not go on stays in the lease. Raises
    :class:`~aiidpd.components.containers.pause.journal.JournalUnusable`.
    """
    clock, bus = SystemClock(), EventBus()

    def tell(event: Event) -> None:
        say(f"container {event.subject}: {event.reason}" if event.subject else event.reason)

    bus.attach(events=tell)
    memory = PauseMemory(clock, Inbox(1))
    teller = PausePublisher(memory, bus, Conditions(clock, bus), clock, simulated=engine.simulated)
    policy = PausePolicy(doubt=_DOUBT, closing=within)
    controller = PauseController(engine, lease, memory=memory, teller=teller, clock=clock, policy=policy)
    return await controller.put_back()
