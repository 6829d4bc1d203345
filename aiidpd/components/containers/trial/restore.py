"""Ends trials that a daemon has left, without a daemon: the old containers get their places back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import anyio

from aiidpd.components.containers.recreate.journal import RecreationJournal
from aiidpd.components.containers.settings import UpgradeSettings
from aiidpd.components.containers.trial.book import ImageActions, TrialBook
from aiidpd.components.containers.trial.controller import TrialController
from aiidpd.components.containers.trial.events import TrialPublisher
from aiidpd.components.containers.trial.journal import TrialJournal
from aiidpd.components.containers.trial.opening import TrialTools
from aiidpd.components.containers.trial.state import ImageTrial
from aiidpd.contracts.messages import EmergencyStop
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.inbox import Inbox
from aiidpd.kernel.publisher import Publisher

_AGAIN: Final = 0.2  # seconds
_SETTLE: Final = 0.5


async def end_all(
    actions: ImageActions,
    journal: TrialJournal,
    recreations: RecreationJournal,
    clock: Clock,
    *,
    within: float,
    report: Callable[[str], None],
) -> bool:
    """End whatever is left in ``journal``, and close ``actions``; return whether nothing is left.

    What is not over ``within`` seconds stays in the journal, for the next daemon. Lines about what happens
    go to ``report``.
    """
    bus = EventBus()
    book = TrialBook(clock, Inbox(1), Inbox(1), journal)
    tools = TrialTools(
        actions,
        recreations,
        TrialPublisher(Publisher(bus, clock, "containers"), Conditions(clock, bus)),
        clock,
        UpgradeSettings(),
        busy=lambda _: "",
        stop_grace=lambda _: 0.0,
        barred=_nothing,
        settle=_SETTLE,
    )
    controller = TrialController(book, tools)
    left: tuple[ImageTrial, ...] = ()
    try:
        with anyio.move_on_after(within):
            await controller.load()
            left = journal.active
            while journal.active:
                if not await controller.step():
                    await clock.sleep(_AGAIN)
    finally:
        with anyio.CancelScope(shield=True):
            await actions.aclose()
    if book.problem:
        report(book.problem)
        return False
    for entry in left:
        state = book.state(entry)
        end = f"its trial of {entry.image} has ended: {state.ended}" if state.ended else ""
        open_ = f"its trial of {entry.image} is not over: {state.problem or 'it takes longer'}"
        report(f"container {entry.name}: {end or f'{open_}; the next daemon ends it'}")
    return not journal.active


def _nothing(_entry: ImageTrial, _message: EmergencyStop) -> None:
    """Note nothing: no emergency is heard of without a daemon."""
