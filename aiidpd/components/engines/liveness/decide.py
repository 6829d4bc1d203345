"""Verdict on an engine's liveness, by its progress and with its evidence (pure).

Hung is only what makes no step although it has something to do, while all witnesses are known and idle for
longer than this engine's own history allows. Whatever is busy or not known is stalled at most, and nothing
is done about that.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from aiidpd.components.engines.liveness import words
from aiidpd.components.engines.liveness.history import (
    ColdStart,
    EngineHistory,
    allowed_seconds,
    decayed,
    idle_levels,
    stall_seconds,
    with_idle,
)
from aiidpd.components.engines.liveness.loading import RECENT_SECONDS, loading, with_loading
from aiidpd.components.engines.liveness.observation import Observation
from aiidpd.components.engines.liveness.progress import answers, observe, phases
from aiidpd.components.engines.liveness.state import Decision, LivenessState, Outcome
from aiidpd.components.engines.liveness.witnesses import (
    LONGEST_GAP_SECONDS,
    Activity,
    Window,
    Witnesses,
    add,
    last,
    over,
)
from aiidpd.components.engines.settings import LivenessSettings
from aiidpd.contracts.engines import Residency, Verdict

UNKNOWN_STALL_SECONDS: Final = 60.0
"""Standstill with witnesses that are not known, before it is remarkable."""
BUSY_STALL_SECONDS: Final = 300.0
"""The same with busy witnesses: a long prefill looks so."""
_ANSWERING_SECONDS: Final = 5.0
"""A page that has not answered for so long does not answer just now."""
_OLD_SECONDS: Final = 120.0
_YOUNG_SECONDS: Final = 60.0
"""Age of a container up to which its start counts as observed from its beginning."""
_HOUR: Final = 3600.0
_IDLE_WINDOW: Final = 20.0
"""Window in which the idle levels of the witnesses are learned."""


def begin(history: EngineHistory, seen: Observation) -> LivenessState:
    """Return the state of an engine that is first observed. A start is timed if it is observed whole."""
    container = seen.container
    run = container.started_at if container is not None else None
    begins = not answers(seen) or seen.engine.residency is Residency.LOADING
    watched = run is not None and begins and seen.time - run < _YOUNG_SECONDS
    return LivenessState(
        history=history,
        run=run,
        began=seen.now,
        observed=seen.now,
        watched_since=seen.now,
        still_since=seen.now,
        start=ColdStart(run) if watched and run is not None else None,
        moved=seen.now,
        decayed=seen.now,
        verdict_since=seen.time,
    )


def step(
    state: LivenessState, seen: Observation, settings: LivenessSettings
) -> tuple[LivenessState, Outcome]:
    """Return the state after an observation, and the verdict with when it began."""
    before = state
    state = _watched(_same_run(state, seen), seen)
    suspended = _suspended(seen)
    if suspended is None:
        longest = max(settings.maximum_quiet, _IDLE_WINDOW)
        state = replace(state, witnesses=add(state.witnesses, seen, longest))
        state = _moved(with_loading(phases(observe(state, seen), seen), seen), seen)
        decision = _decide(state, seen, settings)
        state = _learned(state, seen)
    else:
        decision = suspended
        state = replace(
            state, witnesses=Witnesses(), still_since=seen.now, tainted=True, idle_since=None, moved=seen.now
        )
    if decision.verdict is Verdict.HUNG:
        state = replace(state, tainted=True)
    changed = decision.verdict is not before.verdict
    since = seen.time if changed else before.verdict_since
    state = replace(state, verdict=decision.verdict, verdict_since=since)
    return state, Outcome(decision, since, changed, before.verdict)


def _same_run(state: LivenessState, seen: Observation) -> LivenessState:
    """Return the state, begun anew where this is another run of the container."""
    run = seen.container.started_at if seen.container is not None else None
    if run is None or run == state.run:
        return state
    fresh = begin(state.history, seen)
    return replace(fresh, verdict=state.verdict, decayed=state.decayed)


def _watched(state: LivenessState, seen: Observation) -> LivenessState:
    """Return the state, in which the watch begins anew after a gap."""
    gap = seen.now - state.observed > LONGEST_GAP_SECONDS
    return replace(state, observed=seen.now, watched_since=seen.now if gap else state.watched_since)


def _suspended(seen: Observation) -> Decision | None:
    """Return the verdict on an engine whose processes are not meant to work now, None where they are."""
    container = seen.container
    if container is None:
        return None
    if container.state == "paused" or container.paused_by_us or (seen.use is not None and seen.use.frozen):
        by = "aiidpd paused its container" if container.paused_by_us else "its container is paused"
        return Decision(Verdict.PAUSED, by)
    if not container.running:
        return Decision(Verdict.STOPPED, f"its container is {container.state}")
    return None


def _moved(state: LivenessState, seen: Observation) -> LivenessState:
    """Return the state with when the processes last did something; what is not known counts as that."""
    held = seen.gpu.bytes if seen.gpu is not None and seen.gpu.bytes is not None else 0.0
    window = last(state.witnesses, idle_levels(state.history))
    grown = held > state.gpu_bytes
    still = window.activity is Activity.IDLE and not grown
    return replace(state, moved=state.moved if still else seen.now, gpu_bytes=held)


def _learned(state: LivenessState, seen: Observation) -> LivenessState:
    """Return the state with what an engine without requests shows of its idle levels."""
    history = state.history
    if seen.now - state.decayed >= _HOUR:
        history, state = decayed(history), replace(state, decayed=seen.now)
    quiet = state.idle_since is not None and seen.now - state.idle_since >= 1.5 * _IDLE_WINDOW
    loaded = seen.engine.residency in (Residency.LOADED, Residency.UNKNOWN)
    if quiet and loaded and not seen.probing and seen.missed_since is None:
        window = over(state.witnesses, _IDLE_WINDOW, idle_levels(history), seen.now)
        if window.cores is not None:
            history = with_idle(history, window.cores, window.gpu)
    return state if history is state.history else replace(state, history=history)


def _decide(state: LivenessState, seen: Observation, settings: LivenessSettings) -> Decision:
    engine = seen.engine
    if engine.residency in (Residency.SLEEPING, Residency.UNLOADED):
        asleep = "asleep" if engine.residency is Residency.SLEEPING else "not in memory"
        return Decision(Verdict.SLEEPING, f"its model is {asleep}; the next request loads it")
    found = loading(state, seen, settings)
    if found is not None:
        return found
    return _serving(state, seen, settings)


def _serving(state: LivenessState, seen: Observation, settings: LivenessSettings) -> Decision:
    engine, now = seen.engine, seen.now
    since = state.watched_since
    pending = None if engine.pending_since is None else max(0.0, now - max(since, engine.pending_since))
    still = max(0.0, now - max(since, state.still_since))
    allowed = allowed_seconds(
        state.history, state.prompt_tokens, settings.minimum_quiet, settings.maximum_quiet
    )
    window = over(state.witnesses, allowed, idle_levels(state.history), now)
    running = bool(state.running) and _says_so(state, seen, pending, allowed / 2)
    silent = pending is not None and pending >= settings.maximum_quiet
    reasons = _standstill(state, still, allowed, running=running)
    if reasons and not silent and (pending or 0.0) >= _ANSWERING_SECONDS:
        reasons.append("its page does not answer either")
    if silent:
        reasons.append(f"its page has not answered for {words.seconds(pending or 0.0)}")
        whole = over(state.witnesses, settings.maximum_quiet, idle_levels(state.history), now)
        window = whole if not reasons[:-1] else window
    if seen.missed_since is not None:
        reasons.append("two completions of one token that aiidpd requested passed their deadlines")
        still = max(still, now - seen.missed_since)
    if reasons:
        return _stands_still(state, seen, window, reasons, max(still, pending or 0.0))
    return _fares(state, seen, window, pending, still)


def _says_so(state: LivenessState, seen: Observation, pending: float | None, age: float) -> bool:
    """Return whether the engine's last count of its requests is of now, or the last that it could give.

    ``age`` is that of a count that is of now: later its requests may have ended, and it be idle for that.
    """
    if state.read is None:
        return False
    if seen.now - state.read <= min(RECENT_SECONDS, age):
        return not seen.engine.reason or pending is not None
    asked = seen.engine.pending_since
    return (
        asked is not None and (pending or 0.0) >= _ANSWERING_SECONDS and asked - state.read <= RECENT_SECONDS
    )


def _standstill(state: LivenessState, still: float, allowed: float, *, running: bool) -> list[str]:
    """Return what stands still although requests run, for longer than is usual."""
    if not running or state.steps is None or still < allowed:
        return []
    usual = words.usual_gap(state.history, state.prompt_tokens)
    return [words.requests(state.running), f"no decode step for {words.seconds(still)} {usual}"]


def _stands_still(
    state: LivenessState, seen: Observation, window: Window, reasons: list[str], still: float
) -> Decision:
    """Return the verdict on an engine that owes an answer: hung by idle witnesses alone."""
    engine = seen.engine
    pending = engine.pending_since is not None and seen.now - engine.pending_since >= _ANSWERING_SECONDS
    asleep = engine.may_sleep and pending  # it may have gone to sleep, and can't say so
    proof = words.witnesses(window, seen)
    if window.activity is Activity.IDLE and not asleep:
        reason = words.sentence([*reasons, proof])
        return Decision(Verdict.HUNG, reason, condition=True, evidence=words.evidence(window, seen, still))
    if asleep:
        reasons.append("its model may sleep, and it can't be asked whether it does")
    busy = window.activity is Activity.BUSY
    least = BUSY_STALL_SECONDS if busy else UNKNOWN_STALL_SECONDS
    reason = words.sentence([*reasons, f"but {proof}" if busy else proof])
    if still < stall_seconds(state.history, state.prompt_tokens, least):
        return Decision(Verdict.WORKING, reason)
    return Decision(Verdict.STALLED, reason, condition=True, evidence=words.evidence(window, seen, still))


def _fares(
    state: LivenessState, seen: Observation, window: Window, pending: float | None, still: float
) -> Decision:
    """Return the verdict on an engine against which nothing speaks that could be a hang."""
    engine, now = seen.engine, seen.now
    lately = state.read is not None and (now - state.read <= _OLD_SECONDS or pending is not None)
    failing = None if state.failing_since is None else now - max(state.watched_since, state.failing_since)
    if pending is None and (failing is not None or engine.reason):
        return _unreadable(state, seen, window, failing or 0.0)
    if not lately:
        return Decision(Verdict.UNKNOWN, "its page was not read lately")
    if state.running is None:
        return Decision(Verdict.UNKNOWN, "it does not report how many requests run")
    if state.running == 0:
        return _without_requests(state, seen, window, still)
    return _works(state, seen, window, pending, still)


def _unreadable(state: LivenessState, seen: Observation, window: Window, failing: float) -> Decision:
    """Return the verdict on an engine whose page is refused, or says nothing."""
    reason = seen.engine.reason or "its page was not read yet"
    least = BUSY_STALL_SECONDS if window.activity is Activity.BUSY else UNKNOWN_STALL_SECONDS
    if not state.answered or failing < least:
        return Decision(Verdict.UNKNOWN, reason)
    text = f"its page can't be read any more since {words.seconds(failing)} ago: {reason}"
    found = words.evidence(window, seen, failing)
    return Decision(Verdict.STALLED, text, condition=True, evidence=found)


def _works(
    state: LivenessState, seen: Observation, window: Window, pending: float | None, still: float
) -> Decision:
    """Return the verdict on an engine in which requests run."""
    unwatched = state.steps is None and window.activity is Activity.IDLE and still >= UNKNOWN_STALL_SECONDS
    if unwatched and _says_so(state, seen, pending, RECENT_SECONDS):
        reasons = [words.requests(state.running), f"no token for {words.seconds(still)}"]
        reason = words.sentence([*reasons, "it reports no step counter", words.witnesses(window, seen)])
        found = words.evidence(window, seen, still)
        return Decision(Verdict.STALLED, reason, condition=True, evidence=found)
    if state.waiting:
        return Decision(Verdict.SATURATED, f"{words.requests(state.running)}, {state.waiting} wait")
    return Decision(Verdict.WORKING, words.requests(state.running))


def _without_requests(state: LivenessState, seen: Observation, window: Window, still: float) -> Decision:
    """Return the verdict on an engine in which no request runs; some may wait."""
    if not state.waiting:
        return Decision(Verdict.IDLE, "no request runs")
    text = f"{state.waiting} wait and none runs, for {words.seconds(still)}"
    if window.activity is Activity.BUSY or still < UNKNOWN_STALL_SECONDS:
        return Decision(Verdict.SATURATED, text)
    reason = words.sentence([text, words.witnesses(window, seen)])
    return Decision(Verdict.STALLED, reason, condition=True, evidence=words.evidence(window, seen, still))
