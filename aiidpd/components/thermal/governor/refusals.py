"""Refusals: settings that the driver did not take, and the state after one (pure)."""

from __future__ import annotations

import math
from dataclasses import replace

from aiidpd.components.thermal.commands import Command, SetPowerLimit
from aiidpd.components.thermal.faults import GpuFault
from aiidpd.components.thermal.governor.ladder import Actuator, Ladder, Step
from aiidpd.components.thermal.governor.state import GovernorState, Move, Refused

NO_PERMISSION = "NO_PERMISSION"
NO_JOURNAL = "NO_JOURNAL"
"""Our own name for a fault: the baseline could not be written down, so nothing was set."""

ABSENT = frozenset({"NOT_SUPPORTED", "FUNCTION_NOT_FOUND", "INVALID_ARGUMENT", "DEPRECATED"})
"""Errors of NVML for a setting that the card does not have."""

_REFUSALS = ABSENT | {
    NO_PERMISSION,
    NO_JOURNAL,
    "NOT_FOUND",
}  # answers after which nothing has changed for certain


def refused(
    state: GovernorState, move: Move, command: Command, fault: GpuFault, *, retry_at: float
) -> tuple[GovernorState, Refused]:
    """Return the state after the driver refused ``command`` of ``move`` with ``fault``.

    Without the right to set anything the governor goes on as a dry run. An actuator that the card does not
    have is left out from then on. Anything else (a hang, a lost GPU) leaves open what holds: it is set again
    at ``retry_at``. Commands after the refused one count as not sent.
    """
    gpu = state.gpus[move.uuid]
    actuator = Actuator.POWER if isinstance(command, SetPowerLimit) else Actuator.CLOCKS
    # What NVML answered is certain; a process that hung or died may have set it all the same.
    untouched = fault.name in _REFUSALS and not move.touched_before and command is move.commands[0]
    absent = fault.name in ABSENT and (untouched or actuator is Actuator.CLOCKS)
    without = gpu.without | {actuator} if absent else gpu.without
    # Up: the gentler level is still wanted. Down: the GPU is where it was.
    gpu = gpu._replace(without=without, level=min(move.before, move.after), retry_at=retry_at)
    if untouched:
        gpu = gpu._replace(ladder=(), level=0, applied=Step(), touched=False, clocks_touched=False)
    else:
        ladder = _without_clocks(gpu.ladder) if absent else gpu.ladder
        gpu = gpu._replace(ladder=ladder, level=min(gpu.level, len(ladder) - 1), applied=None)
    if absent:
        # The other actuator need not wait; and clocks that can't be locked need no unlocking.
        gpu = gpu._replace(retry_at=-math.inf, clocks_touched=False)
    denied = fault.name == NO_PERMISSION
    state = replace(state, permitted=state.permitted and not denied)
    return state.updated({move.uuid: gpu}), Refused(gpu.number, move.uuid, actuator, fault, absent or denied)


def _without_clocks(ladder: Ladder) -> Ladder:
    steps = (replace(step, clock_hertz=None) for step in ladder)
    return tuple(dict.fromkeys(steps))
