"""Condition of a file of claims that can't be read."""

from __future__ import annotations

from typing import Final

from aiidpd.kernel.conditions import Condition, Conditions
from aiidpd.kernel.events import Severity

UNREADABLE: Final = "claims_unreadable"
SOURCE: Final = "physics"


def update_file(conditions: Conditions, path: str, problem: str) -> None:
    """Set the condition that the claims at ``path`` have a ``problem``, or clear it."""
    if not problem:
        conditions.clear(UNREADABLE, path)
        return
    remedy = "mend it, see that aiidpctl physics claims reads it, and restart the daemon"
    conditions.set(Condition(UNREADABLE, path, Severity.WARNING, problem, remedy, source=SOURCE))
