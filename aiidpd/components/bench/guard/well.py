"""Health of a container and the engine in it (pure)."""

from __future__ import annotations

from aiidpd.contracts.engines import EngineState, Verdict
from aiidpd.contracts.trials import TriedContainer


def unwell(container: TriedContainer, engine: EngineState | None, oom_kills: int) -> str:
    """Return what is wrong with the engine in ``container``, an empty text where nothing is known to be."""
    if not container.running:
        return f"it has ended, with code {container.exit_code}"
    if container.out_of_memory or oom_kills:
        return "it ran out of memory"
    if container.health == "unhealthy":
        return "its health check fails"
    if (
        engine is not None
        and engine.container == container.id
        and engine.verdict in (Verdict.HUNG, Verdict.STALLED)
    ):
        return f"its engine is {engine.verdict.value}: {engine.verdict_reason}"
    return ""
