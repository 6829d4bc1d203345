"""Conditions of engines: hung, stalled, and what goes wrong in silence."""

from __future__ import annotations

from typing import Final

from aiidpd.components.engines.liveness.silent import Fault, FaultKind
from aiidpd.contracts.engines import Verdict
from aiidpd.kernel.conditions import Condition
from aiidpd.kernel.events import Severity

SOURCE: Final = "engines"
HUNG: Final = "engine_hung"
STALLED: Final = "engine_stalled"
ON_CPU: Final = "engine_on_cpu"
GHOST_LOAD: Final = "engine_ghost_load"
ANSWERS_CUT: Final = "engine_answers_cut"
VERDICTS: Final = (HUNG, STALLED)
SILENT: Final = (ON_CPU, GHOST_LOAD, ANSWERS_CUT)


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
    match fault.kind:
        case FaultKind.ON_CPU:
            return _warning(ON_CPU, name, fault, simulated=simulated)
        case FaultKind.GHOST_LOAD:
            return _warning(GHOST_LOAD, name, fault, simulated=simulated)
        case FaultKind.ANSWERS_CUT:
            return _warning(ANSWERS_CUT, name, fault, simulated=simulated)


def _warning(type_: str, name: str, fault: Fault, *, simulated: bool) -> Condition:
    return Condition(
        type_, name, Severity.WARNING, fault.reason, fault.remedy, source=SOURCE, simulated=simulated
    )
