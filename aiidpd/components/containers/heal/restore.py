"""Starts what a heal has stopped that was cut short, without a daemon."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import anyio

from aiidpd.components.containers.actions import ContainerActions, Refused
from aiidpd.components.containers.heal.record import HealRecords
from aiidpd.components.containers.heal.state import Heal, HealPhase
from aiidpd.components.containers.runtime import ContainerRuntime
from aiidpd.contracts.messages import Cure
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.errors import Unavailable

_AGAIN: Final = 0.5  # seconds


def to_start(found: HealRecords | None) -> tuple[Heal, ...]:
    """Return the heals that may have stopped a container; one that creates it anew has its own journal."""
    heals = [] if found is None else [each.heal for each in found.containers if each.heal is not None]
    return tuple(heal for heal in heals if heal.phase is HealPhase.ACTING and heal.cure is not Cure.RECREATE)


async def start_all(
    heals: Iterable[Heal],
    runtime: ContainerRuntime,
    actions: ContainerActions,
    clock: Clock,
    *,
    within: float,
    report: Callable[[str], None],
) -> bool:
    """Start those that do not run, and close the adapters; return whether all run that can.

    One of which another run has begun is none of ours any more, and the runtime may be about to start one
    that runs yet. Lines about what happens go to ``report``.
    """
    left = {heal.id: heal for heal in heals}
    problems: dict[str, str] = {}
    refused = False
    try:
        with anyio.move_on_after(within):
            while left:
                for heal in tuple(left.values()):
                    try:
                        if await _start(heal, runtime, actions):
                            report(f"container {heal.name}: its heal was cut short: it runs again")
                        del left[heal.id]
                    except Refused as error:
                        del left[heal.id]
                        refused = True
                        report(f"cannot start container {heal.name}: {error.reason}")
                    except Unavailable as error:
                        problems[heal.id] = error.reason
                if left:
                    await clock.sleep(_AGAIN)
    finally:
        with anyio.CancelScope(shield=True):
            await runtime.aclose()
            await actions.aclose()
    for heal in left.values():
        problem = problems.get(heal.id) or f"it took longer than {within:g} s"
        report(f"cannot finish the heal of container {heal.name}: {problem}; the next daemon does")
    return not left and not refused


async def _start(heal: Heal, runtime: ContainerRuntime, actions: ContainerActions) -> bool:
    """Start the container where the heal has stopped it; return whether that was called for."""
    reading = await runtime.container(heal.id)
    if reading is None or reading.running or reading.state == "restarting":
        return False
    return reading.started_at == heal.started_at and await actions.start(heal.id)
