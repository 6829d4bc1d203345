"""A sample in words for people and in flat figures for machines (pure)."""

from __future__ import annotations

from aiidpd.components.bench.stats import BenchSample
from aiidpd.kernel.events import Scalar

_FIGURES = (
    "ttft_seconds",
    "time_per_output_token_seconds",
    "output_tokens_per_second",
    "chunk_gap_p50_seconds",
    "chunk_gap_p95_seconds",
    "chunk_gap_max_seconds",
    "total_seconds",
    "chunks",
    "prompt_tokens",
    "output_tokens",
    "cached_tokens",
    "finish",
)


def figures(sample: BenchSample) -> dict[str, Scalar]:
    """Return every figure that is known, the engine's own, and under ``FIGURE.withheld`` why one is not."""
    found: dict[str, Scalar] = {name: getattr(sample, name) for name in _FIGURES}
    if sample.engine is not None:
        found["engine_prompt_seconds"] = sample.engine.prompt_seconds
        found["engine_output_seconds"] = sample.engine.output_seconds
        found["engine_time_per_output_token_seconds"] = sample.engine.time_per_output_token
    found |= {f"{each.figure}.withheld": each.reason for each in sample.withheld}
    return {name: value for name, value in found.items() if value is not None}


def summary(sample: BenchSample) -> str:
    """Return one sentence."""
    parts = []
    if sample.ttft_seconds is not None:
        parts.append(f"first token after {sample.ttft_seconds * 1e3:.0f} ms")
    if sample.time_per_output_token_seconds is not None and sample.output_tokens_per_second is not None:
        pace = f"{sample.time_per_output_token_seconds * 1e3:.3g} ms a token"
        parts.append(f"then {pace} ({sample.output_tokens_per_second:.3g} tokens/s)")
    parts += [f"{each.figure} not known: {each.reason}" for each in sample.withheld]
    return "; ".join(parts)
