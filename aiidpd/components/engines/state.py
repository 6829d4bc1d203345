"""State of an engine from one reading to the next, and when the next is due (pure)."""

from __future__ import annotations

from dataclasses import replace

from aiidpd.contracts.engines import EngineState
from aiidpd.engines.figures import EngineFigures, NotKnown

_LONGEST_GAP = 300.0  # seconds: over more, a rate would be of another time
_AGAIN = 3600.0  # seconds until an engine without figures is polled again
_SOONEST = 60.0  # seconds, after a probe


def with_answer(
    before: EngineState,
    answer: EngineFigures | NotKnown,
    at: float,
    now: float,
    *,
    includes_probe: bool,
) -> EngineState:
    """Return the state after ``answer`` at ``at`` (Unix seconds) and ``now`` (monotonic seconds)."""
    fresh = EngineState(before.name, before.model, before.simulated, read_at=at, read=now)
    if isinstance(answer, NotKnown):
        return replace(fresh, reason=answer.reason, lasting=answer.lasting)
    return replace(
        fresh,
        engine=answer.engine,
        requests_running=answer.requests_running,
        requests_waiting=answer.requests_waiting,
        generated_tokens=answer.generated_tokens,
        prompt_tokens=answer.prompt_tokens,
        generated_tokens_per_second=_rate(before, answer, now),
        uncounted_tokens=answer.uncounted_tokens,
        includes_probe=includes_probe,
    )


def _rate(state: EngineState, answer: EngineFigures, now: float) -> float | None:
    """Return the tokens per second since the reading before; None where that is not known.

    A counter that fell is a restart: how much it had counted before that is not known.
    """
    before, after = state.generated_tokens, answer.generated_tokens
    if before is None or after is None or state.read is None or after < before:
        return None
    elapsed = now - state.read
    return (after - before) / elapsed if 0 < elapsed <= _LONGEST_GAP else None


def due(state: EngineState, probed: float | None, interval: float) -> float:
    """Return the monotonic second of the next reading; ``probed`` is that of the last good probe.

    An engine is polled each ``interval`` (seconds) where it shows its figures. Where it has none, once an
    hour, and after a probe that succeeded, for the server may have been started anew; but not more often than
    once a minute.
    """
    if state.read is None:
        return 0.0
    if not state.lasting:
        return state.read + interval
    again = state.read + _AGAIN
    if probed is not None and probed > state.read:
        again = min(again, probed)
    return max(again, state.read + _SOONEST)
