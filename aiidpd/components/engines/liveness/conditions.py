"""Conditions of engines: hung, stalled, and what goes wrong in silence."""

from __future__ import annotations

from typing import Final

from aiidpd.components.engines.liveness.silent import CUT, GHOST, ON_CPU, Fault
from aiidpd.contracts.engines import Verdict
from aiidpd.kernel.conditions import Condition
from aiidpd.kernel.events import Severity

SOURCE: Final = "engines"
HUNG: Final = "engine_hung"
STALLED: Final = "engine_stalled"
TYPES: Final = (HUNG, STALLED, ON_CPU, GHOST, CUT)


def of_verdict(name: str, verdict: Verdict, reason: str, *, since: float, simulated: bool) -> Condition:
    """Return the condition of an engine that is hung, or else stalled."""
    if verdict is Verdict.HUNG:
        remedy = (
            "its container is healed where its label aiidpd.heal says so; else restart it, and see its log"
        )
        return Condition(
            HUNG, name, Severity.ERROR, reason, remedy, since=since, source=SOURCE, simulated=simulated
        )
    remedy = "nothing proves a hang, so nothing is done: see its log, and whether it answers"
    return Condition(
        STALLED, name, Severity.WARNING, reason, remedy, since=since, source=SOURCE, simulated=simulated
    )


def of_fault(name: str, fault: Fault, *, simulated: bool) -> Condition:
    """Return the condition of a silent fault."""
    parts = {"source": SOURCE, "simulated": simulated}
    if fault.type == ON_CPU:
        return Condition(ON_CPU, name, Severity.WARNING, fault.reason, fault.remedy, **parts)  # type: ignore[arg-type]
    if fault.type == GHOST:
        return Condition(GHOST, name, Severity.WARNING, fault.reason, fault.remedy, **parts)  # type: ignore[arg-type]
    return Condition(CUT, name, Severity.WARNING, fault.reason, fault.remedy, **parts)  # type: ignore[arg-type]
