"""Conditions of the audit: findings that are critical, and a state file that can't be written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from aiidpd.components.audit.finding import Report
from aiidpd.components.audit.rule import Level
from aiidpd.kernel.conditions import Condition, Conditions
from aiidpd.kernel.events import Severity

SOURCE: Final = "audit"
CRITICAL: Final = "audit_critical"
STATE: Final = "audit_state"
_MOST: Final = 50


def update_conditions(conditions: Conditions, report: Report) -> None:
    """Have a condition for each critical finding of ``report`` that is not waived, and no others."""
    conditions.update((CRITICAL,), _critical(report), announce=False)  # its events are the audit's own


def update_state(conditions: Conditions, path: str, problem: str) -> None:
    """Have a condition while the state at ``path`` has a ``problem``."""
    if not problem:
        conditions.clear(STATE, path)
        return
    reason = f"findings of the audit don't outlive the daemon: {problem}"
    remedy = "see whether the disk is full or read-only"
    conditions.set(Condition(STATE, path, Severity.WARNING, reason, remedy, source=SOURCE))


def _critical(report: Report) -> Iterator[Condition]:
    grave = [each for each in report.findings if each.severity is Level.CRITICAL and each.waived is None]
    for each in grave[:_MOST]:
        yield Condition(
            CRITICAL,
            f"{each.subject}: {each.rule}: {each.what}"[:200],
            Severity.ERROR,
            f"{each.subject}: {each.what}",
            f"{each.remedy}; or waive it: [[audit.waivers]]",
            source=SOURCE,
            simulated=report.simulated,
        )
