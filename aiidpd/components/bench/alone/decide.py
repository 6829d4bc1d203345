"""Decisions on whether an engine serves others: before, during and after a request of ours (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aiidpd.contracts.engines import EngineState, Residency

NO_FIGURES: Final = (
    "its engine reports no figures, so that it is not known whether others were served meanwhile"
)
NO_COUNTERS: Final = (
    "its engine counts no tokens, so that it is not known whether others were served meanwhile"
)
NOT_READ: Final = "its engine's figures could not be read afterwards"
MADE_UP: Final = "it is made up, and so are its users"
SHORTEST_PAUSE: Final = 0.005
"""Seconds between two readings of an engine during a request, at least."""
LONGEST_PAUSE: Final = 0.25
_SHARE: Final = 4.0  # a reading is followed by a pause of so many times what it takes an idle engine
_ABSENT: Final = {
    Residency.LOADING: "its model is being loaded",
    Residency.SLEEPING: "its model is asleep",
    Residency.UNLOADED: "its model is not loaded",
}


@dataclass(frozen=True, slots=True)
class Proof:
    """Statement on a request by its engine's counters: True where nobody else was served meanwhile.

    None is not known; ``reason`` is why it is not, or what shows that others were served.
    """

    alone: bool | None
    reason: str = ""


def absent(engine: EngineState | None) -> str:
    """Return why the model of ``engine`` is not there, empty where it is or may be."""
    return _ABSENT.get(engine.residency, "") if engine is not None else ""


def unknown(engine: EngineState | None) -> bool:
    """Return whether it can't be known that ``engine`` serves nobody."""
    return engine is None or engine.requests_running is None


def others(engine: EngineState | None, since: float | None = None) -> int:
    """Return how many requests of others ``engine`` has, 0 where that is not known; made-up users are none.

    With ``since``, the monotonic second at which our own request began, only what was read after that counts.
    """
    if (
        engine is None
        or engine.simulated
        or engine.read is None
        or (since is not None and engine.read < since)
    ):
        return 0
    ours = 1 if since is not None or engine.includes_probe else 0
    return max(0, (engine.requests_running or 0) + (engine.requests_waiting or 0) - ours)


def others_words(count: int) -> str:
    """Return that ``count`` requests of others are served, as a phrase."""
    return f"it serves {count} {'request' if count == 1 else 'requests'} of others"


def pause(seconds: float | None) -> float:
    """Return the pause between two readings, one of which takes the idle engine so many ``seconds``.

    So that the engine and this process spend a fifth of the time of a request with readings at most.
    """
    return LONGEST_PAUSE if seconds is None else min(LONGEST_PAUSE, max(SHORTEST_PAUSE, _SHARE * seconds))


def is_settled(before: EngineState | None, after: EngineState | None, tokens: int | None) -> bool:
    """Return whether the engine's figures show that our own request ended: they may come a moment later."""
    if before is None or after is None or unknown(before) or unknown(after):
        return True
    if after.requests_running or after.requests_waiting:
        return False
    generated, finished = _deltas(before, after)
    return (finished is None or finished != 0) and (
        generated is None or tokens is None or generated < 0 or generated >= tokens
    )


def proof(before: EngineState | None, after: EngineState | None, tokens: int | None) -> Proof:
    """Return whether the engine served nobody but one request of ours that generated ``tokens``.

    ``before`` was read when it was idle, ``after`` once our request had ended.
    """
    if before is None or unknown(before):
        return Proof(None, NO_FIGURES)
    if before.simulated:
        return Proof(None, MADE_UP)
    if after is None or unknown(after):
        return Proof(None, NOT_READ)
    if shared := _shared(before, after, tokens):
        return Proof(False, shared)
    unproven = _unproven(before, after, tokens)
    return Proof(None if unproven else True, unproven)


def _shared(before: EngineState, after: EngineState, tokens: int | None) -> str:
    """Return what shows that others were served, empty where nothing does."""
    generated, finished = _deltas(before, after)
    if (generated or 0) < 0 or (finished or 0) < 0:
        return "its counters began anew, as they do where it is started"
    if finished is not None and finished > 1:
        return f"answers that ended meanwhile besides ours: {finished - 1}"
    if generated is not None and tokens is not None and generated > tokens:
        return f"it generated {generated - tokens} tokens more than those of ours"
    if after.requests_running or after.requests_waiting:
        return "others were served when the answer ended"
    return ""


def _unproven(before: EngineState, after: EngineState, tokens: int | None) -> str:
    """Return why the counters don't prove that nobody else was served, empty where they do."""
    generated, finished = _deltas(before, after)
    if finished == 1 or (generated is not None and generated == tokens):
        return ""
    if generated is None:
        return NO_COUNTERS
    if tokens is None:
        return "the answer has no count of its tokens to compare with the engine's"
    return f"its engine counted {generated} tokens, and the answer {tokens}"


def acceptance(before: EngineState | None, after: EngineState | None) -> tuple[int, int] | None:
    """Return the draft tokens between two readings and how many of them were accepted; None: not known."""
    if before is None or after is None:
        return None
    drafted, accepted = (
        _delta(before.draft_tokens, after.draft_tokens),
        _delta(before.accepted_tokens, after.accepted_tokens),
    )
    if drafted is None or accepted is None or not 0 <= accepted <= drafted or not drafted:
        return None
    return drafted, accepted


def _deltas(before: EngineState, after: EngineState) -> tuple[int | None, int | None]:
    """Return by how much the generated tokens and the answers that ended grew."""
    return (
        _delta(before.generated_tokens, after.generated_tokens),
        _delta(before.requests_finished, after.requests_finished),
    )


def _delta(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else after - before
