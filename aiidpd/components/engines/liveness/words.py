"""Sentences of the evidence for a verdict (pure)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from aiidpd.components.engines.liveness.history import EngineHistory, longest_gap
from aiidpd.components.engines.liveness.observation import Observation
from aiidpd.components.engines.liveness.witnesses import Activity, Window
from aiidpd.kernel.events import Scalar

_MIB: Final = 1 << 20


def requests(count: int | None) -> str:
    """Return how many requests run."""
    return "1 request runs" if count == 1 else f"{count or 'no'} requests run"


def seconds(value: float) -> str:
    """Return a duration, with more digits where it is short."""
    return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"  # noqa: PLR2004 -- of style


def usual_gap(history: EngineHistory, prompt_tokens: int | None) -> str:
    """Return the longest gap between steps in the engine's history, in parentheses."""
    gap = longest_gap(history, prompt_tokens)
    if gap is None:
        return "(too few were seen to know its longest gap at this prompt length)"
    return f"(its longest gap at this prompt length was {seconds(gap.seconds)})"


def witnesses(window: Window, seen: Observation) -> str:
    """Return what the witnesses show, idle or not."""
    if window.activity is not Activity.IDLE:
        return window.reason
    parts = [f"its processes used {window.cpu_seconds or 0.0:.2f} s of CPU in {seconds(window.seconds)}"]
    gpu = seen.gpu
    if gpu is not None and gpu.gpus:
        watts = [each.power_watts for each in gpu.gpus if each.power_watts is not None]
        power = f" and {sum(watts):.0f} W" if watts and len(watts) == len(gpu.gpus) else ""
        names = ", ".join(str(each.index) for each in gpu.gpus)
        verb = "are" if len(gpu.gpus) > 1 else "is"
        parts.append(f"GPU {names} {verb} at {100 * (window.gpu or 0.0):.0f} %{power}")
    else:
        parts.append("no GPU was requested")
    return ", ".join(parts)


def sentence(parts: Iterable[str]) -> str:
    """Return ``parts`` that are not empty, as one sentence."""
    return ", ".join(part for part in parts if part)


def evidence(window: Window, seen: Observation, still: float) -> dict[str, Scalar]:
    """Return the figures of a verdict for programs."""
    engine, gpu = seen.engine, seen.gpu
    return {
        "requests_running": engine.requests_running,
        "requests_waiting": engine.requests_waiting,
        "steps": engine.steps,
        "still_seconds": round(still, 1),
        "window_seconds": round(window.seconds, 1),
        "cpu_seconds": None if window.cpu_seconds is None else round(window.cpu_seconds, 3),
        "moved_bytes": window.moved_bytes,
        "gpu_ratio": window.gpu,
        "gpus": ",".join(str(each.index) for each in gpu.gpus) if gpu is not None else None,
        "page_pending_seconds": None
        if engine.pending_since is None
        else round(seen.now - engine.pending_since, 1),
    }
