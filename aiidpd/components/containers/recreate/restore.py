"""Recovers re-creations that were cut short, without a daemon."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import anyio

from aiidpd.components.containers.recreate.controller import ContainerRecreator
from aiidpd.components.containers.recreate.journal import RecreationJournal
from aiidpd.kernel.clock import Clock

_AGAIN: Final = 0.5  # seconds


async def recover_all(
    recreator: ContainerRecreator,
    journal: RecreationJournal,
    clock: Clock,
    *,
    within: float,
    report: Callable[[str], None],
) -> bool:
    """Recover whatever is left in ``journal``, and close ``recreator``; return whether nothing is left.

    What is not finished ``within`` seconds stays in the journal. An old container that runs is not stopped:
    in the time that is left its successor might not come up. It may be stopping yet, so it is waited for.
    Lines about what happens go to ``report``. Raises :class:`~aiidpd.platform.statefile.StateUnreadable`.
    """
    problems: dict[str, str] = {}
    reported: set[str] = set()
    try:
        with anyio.move_on_after(within):
            while True:
                for each in await recreator.recover(stops=False):
                    line = f"container {each.name}: {each.words}"
                    problems[each.name] = each.problem
                    if not each.pending and line not in reported:
                        reported.add(line)
                        report(line)
                if not recreator.pending:
                    return True
                await clock.sleep(_AGAIN)
    finally:
        await recreator.aclose()
    for entry in journal.active:
        problem = problems.get(entry.name) or f"it took longer than {within:g} s"
        report(
            f"container {entry.name}: its re-creation is not finished: {problem}; the next daemon finishes it"
        )
    return False
