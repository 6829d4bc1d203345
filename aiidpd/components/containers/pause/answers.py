"""What became of what :mod:`.backing_off` wanted done (pure). Times are monotonic seconds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import inf
from types import MappingProxyType

from aiidpd.components.containers.pause.state import Held, Holding, Pause, PausePolicy, Phase, Said, Word


def resumed(state: Holding, left: Iterable[Pause], now: float, policy: PausePolicy) -> Holding:
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
        )
        for pause in left
    }
    return replace(state, held=MappingProxyType(held))


def not_written(state: Holding, identity: str, now: float, policy: PausePolicy) -> Holding:
    """Return the state where the pause of ``identity`` could not be written down: it is not begun."""
    return _without(state, identity, now + policy.retry)


def asking(state: Holding, identity: str, now: float, policy: PausePolicy) -> Holding:
    """Return the state while the engine is asked to pause ``identity``: from here on it may be paused."""
    held = replace(state.held[identity], phase=Phase.ASKED, asked=True, settled=now + policy.doubt)
    return _with(state, held)


def paused(state: Holding, identity: str, *, ours: bool) -> tuple[Holding, tuple[Said, ...]]:
    """Return the state after the engine's answer: this call has paused it, or (not ``ours``) has not."""
    held = state.held[identity]
    if not ours:
        return _without(state, identity), ()
    held = replace(held, phase=Phase.PAUSED, seen=True, settled=-inf)
    return _with(state, held), (Said(Word.PAUSED, held.pause, held.pause.reason),)


def unpaused(
    state: Holding, identity: str, now: float, policy: PausePolicy
) -> tuple[Holding, tuple[Said, ...]]:
    """Return the state after the engine's answer that ``identity`` is not paused (any more)."""
    held = state.held[identity]
    said = Said(Word.UNPAUSED, held.pause, held.over, now - held.since)
    return _without(state, identity, now + policy.rest), (said,)


def failed(
    state: Holding, identity: str, problem: str, now: float, policy: PausePolicy
) -> tuple[Holding, tuple[Said, ...]]:
    """Return the state after a call about ``identity`` failed with ``problem``; it may yet be carried out."""
    held = state.held[identity]
    releasing = held.phase is Phase.RELEASING
    word = Word.NOT_UNPAUSED if releasing else Word.NOT_PAUSED
    said = () if held.troubled else (Said(word, held.pause, problem),)
    held = replace(held, troubled=True)
    if not releasing:
        held = replace(held, pause=replace(held.pause, lost=True), settled=now + policy.doubt)
    return _with(state, held), said


def _with(state: Holding, held: Held) -> Holding:
    return replace(state, held=MappingProxyType({**state.held, held.pause.id: held}))


def _without(state: Holding, identity: str, rested: float | None = None) -> Holding:
    left = {key: held for key, held in state.held.items() if key != identity}
    rests = dict(state.rested) if rested is None else {**state.rested, identity: rested}
    return replace(state, held=MappingProxyType(left), rested=MappingProxyType(rests))
