"""Metrics of inference engines, by their own count. A figure that is not known has no series."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from aiidpd.contracts.engines import EnginesView
from aiidpd.kernel.latest import Latest
from aiidpd.telemetry.family import CounterFamily, GaugeFamily

_LABELS = ("endpoint", "model", "engine")


class EnginesCollector(Collector):
    """Builds the families of one scrape from the last view; reads nothing else."""

    def __init__(self, latest: Latest[EnginesView]) -> None:
        self._latest = latest

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that a registration does not collect."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Yield one family a figure, each with the engines that report it."""
        reading = self._latest.get()
        if reading is None:
            return
        families: dict[str, GaugeFamily | CounterFamily] = {
            "requests_running": GaugeFamily(
                "aiidpd_bench_engine_requests_running",
                "Requests that the engine works on, by its own count; a probe of ours is one of them.",
                labels=_LABELS,
            ),
            "requests_waiting": GaugeFamily(
                "aiidpd_bench_engine_requests_waiting",
                "Requests that wait for the engine, by its own count.",
                labels=_LABELS,
            ),
            "generated_tokens": CounterFamily(
                "aiidpd_bench_engine_generated_tokens",
                "Tokens generated since the engine's start, by its own count (llama.cpp: of ended requests).",
                labels=_LABELS,
            ),
            "prompt_tokens": CounterFamily(
                "aiidpd_bench_engine_prompt_tokens",
                "Tokens of prompts since the engine's start, by its own count.",
                labels=_LABELS,
            ),
        }
        for engine in reading.value.engines:
            for figure, family in families.items():
                known = getattr(engine, figure)
                if known is not None:
                    family.add_metric((engine.name, engine.model, engine.engine), known)
        yield from (family for family in families.values() if family.points)
