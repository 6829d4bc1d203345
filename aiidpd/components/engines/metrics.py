"""Metrics of inference engines, by their own count. A figure that is not known has no series."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from aiidpd.components.engines.polls import Polls
from aiidpd.contracts.engines import EngineState, EnginesView
from aiidpd.kernel.reading import Reading
from aiidpd.telemetry.family import CounterFamily, GaugeFamily

_LABELS: Final = ("endpoint", "model", "engine")
_NAME: Final = ("engine",)


class EnginesCollector(Collector):
    """Builds the families of one scrape from the last view and the load of our polls; reads nothing else."""

    def __init__(self, engines: Callable[[], Reading[EnginesView] | None], polls: Polls) -> None:
        self._engines = engines
        self._polls = polls

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that a registration does not collect."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Yield one family a figure, each with the engines that report it."""
        reading = self._engines()
        if reading is None:
            return
        engines = reading.value.engines
        for family in (*_figures(engines), *_states(engines), *self._load(engines)):
            if family.points:
                yield family

    def _load(self, engines: Iterable[EngineState]) -> Iterable[GaugeFamily | CounterFamily]:
        requests = CounterFamily(
            "aiidpd_engine_poll_requests", "Requests that polling the engine took.", labels=_NAME
        )
        seconds = CounterFamily(
            "aiidpd_engine_poll_seconds", "Seconds that the engine took to answer our polls.", labels=_NAME
        )
        size = CounterFamily(
            "aiidpd_engine_poll_bytes", "Bytes of the engine's answers to our polls.", labels=_NAME
        )
        interval = GaugeFamily(
            "aiidpd_engine_poll_interval_seconds",
            "Seconds between two polls of the engine; longer where its answers take long.",
            labels=_NAME,
        )
        for engine in engines:
            polls = self._polls.known(engine.name)
            if polls is not None:
                requests.add_metric((engine.name,), polls.requests)
                seconds.add_metric((engine.name,), polls.seconds)
                size.add_metric((engine.name,), polls.bytes)
                if polls.interval is not None:
                    interval.add_metric((engine.name,), polls.interval)
        return requests, seconds, size, interval


def _figures(engines: Iterable[EngineState]) -> Iterable[GaugeFamily | CounterFamily]:
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
    for engine in engines:
        for figure, family in families.items():
            known = getattr(engine, figure)
            if known is not None:
                family.add_metric((engine.name, engine.model, engine.engine), known)
    return families.values()


def _states(engines: Iterable[EngineState]) -> Iterable[GaugeFamily | CounterFamily]:
    residency = GaugeFamily(
        "aiidpd_engine_residency",
        "The place of an engine's model (loaded, loading, sleeping, unloaded, unknown); always 1.",
        labels=("engine", "residency"),
    )
    may_sleep = GaugeFamily(
        "aiidpd_engine_may_sleep",
        "1 where the engine's model can go to sleep or be unloaded, so that it is not probed.",
        labels=_NAME,
    )
    steps = CounterFamily(
        "aiidpd_engine_steps",
        "Decode steps or batches since the engine's start, by its own count.",
        labels=_NAME,
    )
    model_bytes = GaugeFamily(
        "aiidpd_engine_model_bytes", "Size of the engine's model in memory, as it says.", labels=_NAME
    )
    on_gpu = GaugeFamily(
        "aiidpd_engine_model_gpu_bytes",
        "The part of the engine's model that is in the GPU's memory, as it says.",
        labels=_NAME,
    )
    for engine in engines:
        name = (engine.name,)
        residency.add_metric((engine.name, engine.residency.value), 1)
        may_sleep.add_metric(name, float(engine.may_sleep))
        for family, value in (
            (steps, engine.steps),
            (model_bytes, engine.model_bytes),
            (on_gpu, engine.model_gpu_bytes),
        ):
            if value is not None:
                family.add_metric(name, value)
    return residency, may_sleep, steps, model_bytes, on_gpu
