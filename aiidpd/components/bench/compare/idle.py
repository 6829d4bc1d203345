"""Permission to send the next request: only where nobody else is served (pure)."""

from __future__ import annotations

from typing import Final

from aiidpd.contracts.engines import EngineState, Residency

NO_FIGURES: Final = (
    "its engine reports no figures, so that it is not known whether others were served meanwhile"
)
_ABSENT: Final = {
    Residency.LOADING: "its model is being loaded",
    Residency.SLEEPING: "its model is asleep",
    Residency.UNLOADED: "its model is not loaded",
}


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
