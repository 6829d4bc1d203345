"""Outcomes of the effects of :mod:`.decide`, applied to the state (pure). Times are monotonic seconds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import inf
from types import MappingProxyType

from aiidpd.components.containers.pause.state import (
    Held,
    Outcome,
    Pause,
    PausePolicy,
    PauseState,
    Phase,
    Report,
)


def resumed(state: PauseState, left: Iterable[Pause], now: float, policy: PausePolicy) -> PauseState:
    """Return the state of a worker that begins, where an earlier one has ``left`` these pauses behind."""
    why = "an earlier run of aiidpd left it paused"
    held = {
        pause.id: Held(
            pause,
            since=now,
            until=now,
            phase=Phase.RELEASING,
            asked=True,
            settled=now + policy.doubt,
            over=why,
            inherited=True,
        )
        for pause in left
    }
    return replace(state, held=MappingProxyType(held))


def not_written(state: PauseState, identity: str, now: float, policy: PausePolicy) -> PauseState:
    """Return the state where the pause of ``identity`` could not be written down: it is not begun."""
    return _without(state, identity, now + policy.retry)


def asking(state: PauseState, identity: str, now: float, policy: PausePolicy) -> PauseState:
    """Return the state while the engine is asked to pause ``identity``: from here on it may be paused."""
    held = replace(state.held[identity], phase=Phase.ASKED, asked=True, settled=now + policy.doubt)
    return _with(state, held)


def paused(state: PauseState, identity: str, *, ours: bool) -> tuple[PauseState, tuple[Report, ...]]:
    """Return the state after the engine's answer: this call has paused it, or (not ``ours``) has not."""
    held = state.held[identity]
    if not ours:
        return _without(state, identity), ()
    held = replace(held, phase=Phase.PAUSED, seen=True, settled=-inf)
    return _with(state, held), (Report(Outcome.PAUSED, held.pause, held.pause.reason),)


def unpaused(
    state: PauseState, identity: str, now: float, policy: PausePolicy
) -> tuple[PauseState, tuple[Report, ...]]:
    """Return the state after the engine's answer that ``identity`` is not paused (any more)."""
    held = state.held[identity]
    said = Report(Outcome.UNPAUSED, held.pause, held.over, held.lasted(now))
    return _without(state, identity, now + policy.rest), (said,)


def failed(
    state: PauseState, identity: str, problem: str, now: float, policy: PausePolicy
) -> tuple[PauseState, tuple[Report, ...]]:
    """Return the state after a call about ``identity`` failed with ``problem``; it may yet be carried out."""
    held = state.held[identity]
    releasing = held.phase is Phase.RELEASING
    word = Outcome.NOT_UNPAUSED if releasing else Outcome.NOT_PAUSED
    said = () if held.troubled else (Report(word, held.pause, problem),)
    held = replace(held, troubled=True)
    if not releasing:
        held = replace(held, pause=replace(held.pause, lost=True), settled=now + policy.doubt)
    return _with(state, held), said


def _with(state: PauseState, held: Held) -> PauseState:
    return replace(state, held=MappingProxyType({**state.held, held.pause.id: held}))


def _without(state: PauseState, identity: str, rested: float | None = None) -> PauseState:
    left = {key: held for key, held in state.held.items() if key != identity}
    rests = dict(state.rested) if rested is None else {**state.rested, identity: rested}
    return replace(state, held=MappingProxyType(left), rested=MappingProxyType(rests))
