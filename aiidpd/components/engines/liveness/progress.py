"""Progress of an engine by its own page: what an answer changes of what is known (pure)."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from aiidpd.components.engines.liveness.history import with_gap, with_start
from aiidpd.components.engines.liveness.observation import Observation
from aiidpd.components.engines.liveness.state import LivenessState
from aiidpd.contracts.engines import Residency

POLL_SLACK_SECONDS: Final = 5.0
"""By so much a step may have been earlier than the answer that shows it."""
_RESIDENT: Final = (Residency.LOADED, Residency.SLEEPING, Residency.UNLOADED)


def answers(seen: Observation) -> bool:
    """Return whether the engine's page answered when it was last read, in this run of the container."""
    engine = seen.engine
    if engine.read is None or engine.read < run_began(seen):
        return False
    return not engine.reason or engine.lasting or engine.residency in _RESIDENT


def run_began(seen: Observation) -> float:
    """Return the monotonic second at which this run of the container began."""
    started = seen.container.started_at if seen.container is not None else None
    if started is None or seen.time < started:  # the wall clock was set back
        return float("-inf")
    return seen.now - (seen.time - started)


def observe(state: LivenessState, seen: Observation) -> LivenessState:
    """Return the state after what the page of the engine shows."""
    engine = seen.engine
    if not answers(seen):
        failing = state.failing_since
        return replace(state, failing_since=seen.now if failing is None else failing)
    state = replace(state, failing_since=None, answered=True)
    if engine.reason or engine.read is None or engine.read == state.read:
        return state
    read = engine.read
    if _restarted(state, seen):
        state = LivenessState(
            history=state.history,
            run=state.run,
            began=seen.now,
            observed=state.observed,
            watched_since=state.watched_since,
            answered=True,
            moved=seen.now,
            decayed=state.decayed,
        )
    before = state.read
    stepped = _stepped(state, seen)
    busy = bool(state.running) and bool(engine.requests_running)
    history = state.history
    whole = state.stepped is not None and state.stepped >= state.watched_since  # it was watched throughout
    if stepped and busy and state.stepped is not None and whole and not state.tainted:
        history = with_gap(history, state.prompt_tokens, read - state.stepped)
    still = state.still_since
    if stepped:
        still = max(still, before if before is not None else read, read - POLL_SLACK_SECONDS)
    elif not _owes(seen) or (engine.requests_running and not state.running):
        still = read
    idle = not _owes(seen) and not stepped
    prompt = engine.longest_prompt_tokens
    return replace(
        state,
        history=history,
        read=read,
        running=engine.requests_running,
        waiting=engine.requests_waiting,
        steps=engine.steps,
        tokens=engine.generated_tokens,
        stepped=read if stepped or not busy else state.stepped,
        progressed=read if stepped else state.progressed,
        still_since=still,
        prompt_tokens=prompt if stepped or prompt is not None else state.prompt_tokens,
        tainted=state.tainted and not stepped and busy,
        idle_since=(state.idle_since or seen.now) if idle else None,
    )


def phases(state: LivenessState, seen: Observation) -> LivenessState:
    """Return the state after what is to be seen of a start that was observed from its beginning."""
    start, container = state.start, seen.container
    if start is None or container is None or container.started_at is None:
        return state
    since = seen.time - container.started_at
    if start.answered_seconds is None and answers(seen):
        start = replace(start, answered_seconds=since)
    loaded = seen.engine.residency is Residency.LOADED or (
        seen.engine.residency is Residency.UNKNOWN and answers(seen)
    )
    if start.loaded_seconds is None and loaded:
        start = replace(start, loaded_seconds=since)
    if start.first_step_seconds is None and state.steps and start.loaded_seconds is not None:
        start = replace(start, first_step_seconds=since)
    if start == state.start:
        return state
    done = start.first_step_seconds is not None
    return replace(state, history=with_start(state.history, start), start=None if done else start)


def _owes(seen: Observation) -> bool:
    """Return whether requests run or wait."""
    return bool(seen.engine.requests_running or seen.engine.requests_waiting)


def _stepped(state: LivenessState, seen: Observation) -> bool:
    engine = seen.engine
    pairs = ((state.steps, engine.steps), (state.tokens, engine.generated_tokens))
    return any(before is not None and after is not None and after > before for before, after in pairs)


def _restarted(state: LivenessState, seen: Observation) -> bool:
    engine = seen.engine
    pairs = ((state.steps, engine.steps), (state.tokens, engine.generated_tokens))
    return any(before is not None and after is not None and after < before for before, after in pairs)
