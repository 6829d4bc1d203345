"""Warm or cold: what an engine's state says of the next request to it (pure)."""

from __future__ import annotations

from typing import Final

from aiidpd.contracts.engines import EngineState

LONG_IDLE: Final = 60.0
"""Seconds without work after which clocks, caches and memory of an engine are no longer as under use."""
WARM_UP_TOKENS: Final = 8
"""Tokens of the request that comes first where an engine is cold."""


def coldness(engine: EngineState | None, now: float) -> str | None:
    """Return why the next request finds ``engine`` cold at ``now``, empty where it is warm, None: not known.

    ``now`` is in monotonic seconds.
    """
    if engine is None or engine.read is None or engine.requests_running is None:
        return None
    if engine.simulated:
        return ""
    if engine.worked is None:
        if engine.generated_tokens == 0 or engine.requests_finished == 0 or engine.steps == 0:
            return "the engine had answered nothing since its start"
        return "the engine was not seen at work since its start, or since that of aiidpd"
    idle = now - engine.worked
    if idle > LONG_IDLE:
        return f"the engine had been idle for {_span(idle)}"
    return ""


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"  # noqa: PLR2004
