"""State of an engine from one reading to the next, and when the next is due (pure)."""

from __future__ import annotations

from dataclasses import replace

from aiidpd.contracts.engines import EngineState, Residency
from aiidpd.engines.figures import EngineFigures, EngineReading, NotKnown

_LONGEST_GAP = 300.0  # seconds: over more, a rate would be of another time
_AGAIN = 3600.0  # seconds until an engine that shows nothing is polled again
_SOONEST = 60.0  # seconds, after a probe, and of an engine that has no figures


def with_answer(
    before: EngineState,
    reading: EngineReading,
    at: float,
    now: float,
    *,
    includes_probe: bool,
) -> EngineState:
    """Return the state after ``reading`` at ``at`` (Unix seconds) and ``now`` (monotonic seconds)."""
    fresh = EngineState(
        before.name,
        before.model,
        before.simulated,
        engine=reading.engine or before.engine,
        container=before.container,
        url=before.url,
        residency=reading.residency,
        may_sleep=reading.may_sleep,
        model_bytes=reading.model_bytes,
        model_gpu_bytes=reading.model_gpu_bytes,
        version=reading.version,
        read_at=at,
        read=now,
        verdict=before.verdict,
        verdict_since=before.verdict_since,
        verdict_reason=before.verdict_reason,
    )
    answer = reading.figures
    if isinstance(answer, NotKnown):
        return replace(fresh, reason=answer.reason, lasting=answer.lasting)
    return replace(
        fresh,
        engine=answer.engine,
        requests_running=answer.requests_running,
        requests_waiting=answer.requests_waiting,
        steps=answer.steps,
        longest_prompt_tokens=answer.longest_prompt_tokens,
        generated_tokens=answer.generated_tokens,
        prompt_tokens=answer.prompt_tokens,
        generated_tokens_per_second=_rate(before, answer, now),
        uncounted_tokens=answer.uncounted_tokens,
        requests_finished=answer.requests_finished,
        requests_cut=answer.requests_cut,
        includes_probe=includes_probe,
        draft_tokens=answer.draft_tokens,
        accepted_tokens=answer.accepted_tokens,
        worked=_worked(before, answer, now) if reading.residency is Residency.LOADED else None,
    )


def _worked(before: EngineState, answer: EngineFigures, now: float) -> float | None:
    """Return the monotonic second of the last reading that shows work since the engine's start.

    A counter that fell is a start; work before the first reading is of a time that is not known.
    """
    counters = [
        (before.steps, answer.steps),
        (before.generated_tokens, answer.generated_tokens),
        (before.requests_finished, answer.requests_finished),
    ]
    known = [(was, now_is) for was, now_is in counters if was is not None and now_is is not None]
    if answer.requests_running or any(now_is > was for was, now_is in known):
        return now
    return None if any(now_is < was for was, now_is in known) else before.worked


def switched_off(before: EngineState, reason: str) -> EngineState:
    """Return the state of an engine that is not polled now, because ``reason``."""
    return EngineState(
        before.name,
        before.model,
        before.simulated,
        engine=before.engine,
        container=before.container,
        url=before.url,
        may_sleep=before.may_sleep,
        reason=reason,
        lasting=True,
        verdict=before.verdict,
        verdict_since=before.verdict_since,
        verdict_reason=before.verdict_reason,
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

    An engine is polled each ``interval`` (seconds) where it shows something, and once a minute where it says
    how its model is but has no figures. Where it shows nothing, once an hour, and after a probe that
    succeeded, for the server may have been started anew; but not more often than once a minute.
    """
    if state.read is None:
        return 0.0
    if not state.lasting:
        return state.read + interval
    if state.residency is not Residency.UNKNOWN:
        return state.read + max(interval, _SOONEST)
    again = state.read + _AGAIN
    if probed is not None and probed > state.read:
        again = min(again, probed)
    return max(again, state.read + _SOONEST)
