"""Events and samples of measurements: an event a probe, and its figures as samples."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from aiidpd.components.bench.stats import BenchSample
from aiidpd.components.bench.view import EndpointView
from aiidpd.kernel.events import Scalar, Severity
from aiidpd.kernel.publisher import Publisher

_SERIES: Final = (
    "ttft_seconds",
    "time_per_output_token_seconds",
    "output_tokens_per_second",
    "total_seconds",
)
_FIGURES: Final = (
    "ttft_seconds",
    "time_per_output_token_seconds",
    "time_per_output_token_least_seconds",
    "time_per_output_token_most_seconds",
    "output_tokens_per_second",
    "request_tokens_per_second",
    "connect_seconds",
    "client_delay_p95_seconds",
    "client_delay_max_seconds",
    "chunk_gap_p50_seconds",
    "chunk_gap_p95_seconds",
    "chunk_gap_max_seconds",
    "total_seconds",
    "chunks",
    "prompt_tokens",
    "output_tokens",
    "cached_tokens",
    "finish",
    "alone",
    "warm",
    "cold_ttft_seconds",
    "speculative_acceptance_ratio",
)
_TEXTS: Final = ("alone_reason", "cold_reason", "throttled", "gpu")
_CIRCUMSTANCES: Final = MappingProxyType(
    {
        "driver": "driver",
        "engine version": "engine_version",
        "image digest": "image_digest",
        "model digest": "model_digest",
        "hottest GPU in C": "hottest_gpu_celsius",
        "lowest SM clock in MHz": "lowest_sm_clock_megahertz",
        "lowest memory clock in MHz": "lowest_memory_clock_megahertz",
        "highest power of a GPU in W": "highest_gpu_power_watts",
        "clock events": "clock_events",
        "CPU governor": "cpu_governor",
        "kernel": "kernel",
    }
)
"""Circumstances that the history has of each probe; the rest are in the last sample and with regressions."""


class BenchPublisher:
    """Publishes each probe once, when it ended."""

    def __init__(self, publish: Publisher) -> None:
        self._publisher = publish

    def failed(self, view: EndpointView) -> None:
        """Publish that the last probe failed."""
        self._of(view).event(
            "bench.failed",
            view.error,
            about=view.name,
            severity=Severity.WARNING,
            model=view.model,
            fault=view.fault,
        )

    def dropped(self, view: EndpointView) -> None:
        """Publish that the last probe does not count."""
        self._of(view).event(
            "bench.dropped",
            f"not counted: {view.dropped}",
            about=view.name,
            severity=Severity.INFO,
            model=view.model,
            drop=view.drop,
        )

    def measured(self, view: EndpointView, sample: BenchSample) -> None:
        """Publish the figures of the last probe."""
        publish = self._of(view)
        publish.event(
            "bench.measured", summary(sample), about=view.name, severity=Severity.INFO, **figures(sample)
        )
        for series in _SERIES:
            value: float | None = getattr(sample, series)
            if value is not None:
                publish.sample(series, view.name, value)

    def _of(self, view: EndpointView) -> Publisher:
        return self._publisher.marked(simulated=view.simulated)


def figures(sample: BenchSample) -> dict[str, Scalar]:
    """Return every figure that is known, the engine's own, and under ``FIGURE.withheld`` why one is not."""
    found: dict[str, Scalar] = {name: getattr(sample, name) for name in _FIGURES}
    if sample.engine is not None:
        found["engine_prompt_seconds"] = sample.engine.prompt_seconds
        found["engine_output_seconds"] = sample.engine.output_seconds
        found["engine_time_per_output_token_seconds"] = sample.engine.time_per_output_token
    found |= {name: getattr(sample, name) or None for name in _TEXTS}
    found |= {key: sample.circumstances.get(name) for name, key in _CIRCUMSTANCES.items()}
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
    if sample.throttled:
        parts.append(f"throttled: {sample.throttled}")
    return "; ".join(parts)
