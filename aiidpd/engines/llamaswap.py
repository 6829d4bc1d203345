"""llama-swap, a router that starts and ends the engines behind it (pure).

Sources, in mostlygeek/llama-swap: ``handleRunning`` in ``internal/server/api.go``, which lists the
processes that are not stopped and starts none; their states in ``internal/process/process.go``; the flag
in ``llama-swap.go``. What is below /upstream/MODEL/ starts that model: nothing there is ever requested, so
that there are no figures. Any request for a model may start it in the place of another.
"""

from __future__ import annotations

from typing import Final

from aiidpd.contracts.engines import Residency
from aiidpd.engines.figures import EngineReading, NotKnown
from aiidpd.engines.profile import (
    EngineProfile,
    Facts,
    Memory,
    Option,
    PageRequest,
    Poll,
    always,
    as_list,
    as_mapping,
)
from aiidpd.engines.serving import may_sleep

NAME: Final = "llama-swap"
RUNNING: Final = "/running"
NO_FIGURES: Final = "llama-swap has no figures of the engines behind it"


def poll(facts: Facts, memory: Memory, _now: float) -> Poll:
    """Request which processes run."""
    may = may_sleep(facts, memory, inferred=True)
    reply = yield PageRequest(RUNNING)
    if not reply.good:
        return EngineReading(reply.not_known(), NAME, may_sleep=may, busy=reply.busy), memory
    states = {
        each.get("state")
        for each in as_list(as_mapping(reply.document).get("running"))
        if not facts.model or facts.model in (each.get("model"), each.get("name"))
    }
    residency = Residency.UNLOADED
    if "ready" in states:
        residency = Residency.LOADED
    elif "starting" in states:
        residency = Residency.LOADING
    return EngineReading(NotKnown(NO_FIGURES, lasting=False), NAME, residency, may), memory


PROFILE: Final = EngineProfile(
    NAME,
    images=(r"(.*/)?mostlygeek/llama-swap",),
    programs=("llama-swap",),
    port=8080,
    poll=poll,
    owner="llama-swap",
    address=Option(("--listen", "-listen")),
    sleeps=always,
)
