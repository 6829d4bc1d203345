"""Unpauses what a restore journal names, without a daemon."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from aiidpd.components.containers.pause.controller import PauseController, Pauses
from aiidpd.components.containers.pause.events import SOURCE, PausePublisher
from aiidpd.components.containers.pause.journal import PauseJournal
from aiidpd.components.containers.runtime import ContainerRuntime
from aiidpd.components.containers.settings import PauseSettings
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock import SystemClock
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.events import Event
from aiidpd.kernel.inbox import Inbox
from aiidpd.kernel.publisher import Publisher

_SETTLE: Final = 2.0  # seconds in which the engine may yet carry out a call of a daemon that was killed


async def unpause_all(
    engine: ContainerRuntime, journal: PauseJournal, *, within: float, report: Callable[[str], None]
) -> bool:
    """Unpause the containers of ``journal`` in ``within`` seconds, close ``engine``; return whether all run.

    What happens goes to ``report``, a line each. Those that can't be unpaused stay in the journal. Raises
    :class:`~aiidpd.platform.statefile.StateUnreadable`.
    """
    clock, bus = SystemClock(), EventBus()

    def show(event: Event) -> None:
        report(f"container {event.subject}: {event.reason}" if event.subject else event.reason)

    bus.attach(events=show)
    pauses = Pauses(clock, Inbox(1))
    publisher = PausePublisher(
        pauses.tally,
        Publisher(bus, clock, SOURCE),
        Conditions(clock, bus),
        clock,
        simulated=engine.simulated,
    )
    controller = PauseController(
        engine,
        journal,
        pauses=pauses,
        publisher=publisher,
        clock=clock,
        settings=PauseSettings(),
        settle=_SETTLE,
        closing=within,
    )
    return await controller.unpause_all()
