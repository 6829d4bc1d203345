"""Last probe of each endpoint, for Prometheus. What is not known, or no longer, is left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from aiidpd.components.bench.drops import Drop
from aiidpd.components.bench.stats import BenchSample
from aiidpd.components.bench.view import BenchView, EndpointView
from aiidpd.kernel.latest import Latest
from aiidpd.telemetry.family import CounterFamily, GaugeFamily

_LABELS = ("endpoint", "model")

_SAMPLE_GAUGES: tuple[tuple[str, str, Callable[[BenchSample], float | None]], ...] = (
    (
        "ttft_seconds",
        "Time from the request of the last probe, its connection open, to the first text.",
        lambda sample: sample.ttft_seconds,
    ),
    (
        "time_per_output_token_seconds",
        "Mean time per output token after the first chunk, by the server's token count.",
        lambda sample: sample.time_per_output_token_seconds,
    ),
    (
        "output_tokens_per_second",
        "Output tokens per second of one request after its first token.",
        lambda sample: sample.output_tokens_per_second,
    ),
    (
        "request_tokens_per_second",
        "Output tokens of the last probe over its whole time, that of the prompt included.",
        lambda sample: sample.request_tokens_per_second,
    ),
    (
        "connect_seconds",
        "Time in which the connection of the last probe was opened, in no other figure.",
        lambda sample: sample.connect_seconds,
    ),
    (
        "client_delay_max_seconds",
        "Longest delay of this process itself during the last probe.",
        lambda sample: sample.client_delay_max_seconds,
    ),
    (
        "valid",
        "Whether this process was in time to read the last probe (1), or figures are withheld (0).",
        lambda sample: float(not sample.invalid),
    ),
    (
        "throttled",
        "Whether heat or a power brake throttled a GPU during the last probe that counts.",
        lambda sample: float(bool(sample.throttled)),
    ),
    (
        "alone",
        "Whether the engine's counters prove that the last probe was served alone; absent where they can't.",
        lambda sample: None if sample.alone is None else float(sample.alone),
    ),
    (
        "cold_ttft_seconds",
        "Time to the first text of the request that warmed the engine up before the last probe.",
        lambda sample: sample.cold_ttft_seconds,
    ),
    (
        "speculative_acceptance_ratio",
        "Share of the draft tokens of the last probe that were accepted.",
        lambda sample: sample.speculative_acceptance_ratio,
    ),
    (
        "request_duration_seconds",
        "Time from the request of the last probe to the answer's end.",
        lambda sample: sample.total_seconds,
    ),
    ("prompt_tokens", "Tokens of the prompt, as the server counts.", lambda sample: sample.prompt_tokens),
    ("output_tokens", "Tokens of the answer, as the server counts.", lambda sample: sample.output_tokens),
    (
        "cached_tokens",
        "Tokens of the prompt that the server took from its prefix cache.",
        lambda sample: sample.cached_tokens,
    ),
    (
        "engine_prompt_seconds",
        "Time for reading the prompt, as the engine itself says.",
        lambda sample: sample.engine.prompt_seconds if sample.engine else None,
    ),
    (
        "engine_time_per_output_token_seconds",
        "Mean time per output token, as the engine itself says.",
        lambda sample: sample.engine.time_per_output_token if sample.engine else None,
    ),
)

_GAPS: tuple[tuple[str, Callable[[BenchSample], float | None]], ...] = (
    ("p50", lambda sample: sample.chunk_gap_p50_seconds),
    ("p95", lambda sample: sample.chunk_gap_p95_seconds),
    ("max", lambda sample: sample.chunk_gap_max_seconds),
)


class BenchCollector(Collector):
    """Builds the families of one scrape from the last view; reads nothing else."""

    def __init__(self, latest: Latest[BenchView]) -> None:
        self._latest = latest

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that a registration does not collect."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Yield one family a metric, each with the endpoints for which it is known."""
        reading = self._latest.get()
        if reading is None:
            return
        endpoints = reading.value.endpoints
        for name, text, figure in _SAMPLE_GAUGES:
            yield _gauge(name, text, endpoints, _of(figure))
        yield _gaps(endpoints)
        yield _gauge(
            "probe_success",
            "Whether the last probe was answered.",
            [each for each in endpoints if each.probes],
            lambda each: float(not each.error),
        )
        yield _gauge(
            "last_success_timestamp_seconds",
            "When a probe last was answered, in Unix time.",
            endpoints,
            lambda each: each.measured_at,
        )
        yield _gauge(
            "simulated",
            "Whether the endpoint is made up (1) or real (0).",
            endpoints,
            lambda each: float(each.simulated),
        )
        yield _counter("probes", "Probes since the daemon started.", endpoints, lambda each: each.probes)
        yield _counter(
            "probe_failures",
            "Probes that were not answered since the daemon started.",
            endpoints,
            lambda each: each.failures,
        )
        yield _drops(endpoints)


def _drops(endpoints: Iterable[EndpointView]) -> Metric:
    text = "Probes that don't count since the daemon started, by why: disturbed, shared, cached, throttled."
    family = CounterFamily("aiidpd_bench_probes_dropped", text, labels=(*_LABELS, "reason"))
    for each in endpoints:
        for label in Drop:
            family.add_metric((each.name, each.model, label.value), each.drops.get(label.value, 0))
    return family


def _of(figure: Callable[[BenchSample], float | None]) -> Callable[[EndpointView], float | None]:
    return lambda endpoint: None if endpoint.current is None else figure(endpoint.current)


def _gauge(
    name: str,
    text: str,
    endpoints: Iterable[EndpointView],
    value: Callable[[EndpointView], float | None],
) -> Metric:
    family = GaugeFamily(f"aiidpd_bench_{name}", text, labels=_LABELS)
    for each in endpoints:
        known = value(each)
        if known is not None:
            family.add_metric((each.name, each.model), known)
    return family


def _gaps(endpoints: Iterable[EndpointView]) -> Metric:
    text = "Time between chunks of the last answer; a chunk is not a token."
    family = GaugeFamily("aiidpd_bench_chunk_gap_seconds", text, labels=(*_LABELS, "statistic"))
    for each in endpoints:
        for statistic, figure in _GAPS:
            known = _of(figure)(each)
            if known is not None:
                family.add_metric((each.name, each.model, statistic), known)
    return family


def _counter(
    name: str, text: str, endpoints: Iterable[EndpointView], value: Callable[[EndpointView], int]
) -> Metric:
    family = CounterFamily(f"aiidpd_bench_{name}", text, labels=_LABELS)
    for each in endpoints:
        family.add_metric((each.name, each.model), value(each))
    return family
