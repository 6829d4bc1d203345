"""Verdict on an engine that loads its model (pure).

A cold start is slow for many good reasons. It is stalled where nothing moves for longer than this engine's
loads ever took, and hung only after ``load_timeout``, by idle witnesses, and if the engine itself says that
it loads or was reached before: one that never answered may listen elsewhere.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from aiidpd.components.engines.liveness import words
from aiidpd.components.engines.liveness.history import idle_levels
from aiidpd.components.engines.liveness.observation import Observation
from aiidpd.components.engines.liveness.progress import run_began
from aiidpd.components.engines.liveness.state import Decision, LivenessState
from aiidpd.components.engines.liveness.witnesses import Activity, over
from aiidpd.components.engines.settings import LivenessSettings
from aiidpd.contracts.engines import Residency, Verdict
from aiidpd.kernel.events import Scalar

RECENT_SECONDS: Final = 12.0
"""An answer of no greater age says what is so now."""
_SHORTEST_STALL: Final = 60.0
_SHORTEST_TIMEOUT: Final = 600.0
_TIMES_USUAL: Final = 5.0
"""A load that does nothing at all is not waited for longer than so many usual ones."""


def with_loading(state: LivenessState, seen: Observation) -> LivenessState:
    """Return the state with when the present load began: with the container, or with the next request."""
    if not _loads(state, seen):
        return state if state.loading_since is None else replace(state, loading_since=None)
    if state.loading_since is not None:
        return state
    began = run_began(seen)
    first = not state.answered and began != float("-inf")
    return replace(state, loading_since=began if first else seen.now)


def _loads(state: LivenessState, seen: Observation) -> bool:
    """Return whether the engine says that it loads, or has been read but not answered since its start."""
    engine = seen.engine
    if engine.residency is Residency.LOADING:
        return True
    read = engine.read is not None or engine.pending_since is not None
    unknown = engine.residency is Residency.UNKNOWN
    return seen.container is not None and not state.answered and unknown and read


def _recent(seen: Observation, quiet: float) -> bool:
    """Return whether the engine's last word on its load is of now, or it has given none for as long."""
    engine = seen.engine
    if engine.pending_since is not None:
        return seen.now - engine.pending_since >= quiet
    return engine.read is not None and seen.now - engine.read <= RECENT_SECONDS


def loading(state: LivenessState, seen: Observation, settings: LivenessSettings) -> Decision | None:
    """Return the verdict on an engine that loads; None for one that does not, as far as is known."""
    if state.loading_since is None:
        return None
    says_so = seen.engine.residency is Residency.LOADING
    took = seen.now - state.loading_since
    still = seen.now - state.moved
    usual = state.history.load_seconds
    timeout = settings.load_timeout
    if usual is not None:
        timeout = min(timeout, max(_SHORTEST_TIMEOUT, _TIMES_USUAL * usual))
    loads = f"it has loaded for {words.seconds(took)}"
    evidence: dict[str, Scalar] = {"loading_seconds": round(took, 1), "still_seconds": round(still, 1)}
    if took > timeout:
        window = over(state.witnesses, settings.maximum_quiet, idle_levels(state.history), seen.now)
        idle = window.activity is Activity.IDLE and still >= settings.maximum_quiet
        hung = idle and _recent(seen, settings.maximum_quiet) and (says_so or usual is not None)
        if hung or took > settings.load_timeout:
            reason = words.sentence([loads, words.witnesses(window, seen)])
            verdict = Verdict.HUNG if hung else Verdict.STALLED
            return Decision(verdict, reason, condition=True, evidence=evidence)
    if still > max(_SHORTEST_STALL, min(usual or timeout, timeout)):
        longer = "longer than a whole load took before"
        reason = f"{loads} and did nothing for {words.seconds(still)}: {longer}"
        return Decision(Verdict.STALLED, reason, evidence=evidence)
    return Decision(Verdict.LOADING, loads)
