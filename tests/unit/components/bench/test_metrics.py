"""Metrics of the last probes."""

from __future__ import annotations

from dataclasses import replace

from prometheus_client import CollectorRegistry

from aiidpd.components.bench.drops import Drop
from aiidpd.components.bench.metrics import BenchCollector
from aiidpd.components.bench.stats import measure
from aiidpd.components.bench.view import BenchView, EndpointView
from aiidpd.engines.target import Chunk, EngineTimings, Timeline
from aiidpd.kernel.latest import Latest
from tests.fakes.clock import FakeClock

NEW = EndpointView("gpu0", "http://127.0.0.1:1", "m", simulated=False)
LABELS = {"endpoint": "gpu0", "model": "m"}
CHUNKS = tuple(Chunk(0.2 + 0.05 * index, 4) for index in range(11))
TIMELINE = Timeline(0.0, 1.0, CHUNKS, "length", 100, 11, 5, EngineTimings(95, 0.15, 11, 0.55))


def scrape(*endpoints: EndpointView, clock: FakeClock | None = None) -> CollectorRegistry:
    latest: Latest[BenchView] = Latest(clock or FakeClock(), 100.0)
    latest.put(BenchView(endpoints))
    registry = CollectorRegistry(auto_describe=True)
    registry.register(BenchCollector(latest))
    return registry


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"aiidpd_bench_{name}", LABELS | labels)


def names(registry: CollectorRegistry) -> set[str]:
    return {sample.name for family in registry.collect() for sample in family.samples}


def test_every_figure_of_the_last_sample():
    registry = scrape(NEW.measured(measure(TIMELINE), at=1234.5, now=1.0))
    assert value(registry, "ttft_seconds") == 0.2
    assert round(value(registry, "time_per_output_token_seconds") or 0, 9) == 0.05
    assert round(value(registry, "output_tokens_per_second") or 0, 6) == 20
    assert value(registry, "request_duration_seconds") == 1.0
    assert value(registry, "prompt_tokens") == 100
    assert value(registry, "output_tokens") == 11
    assert value(registry, "cached_tokens") == 5
    assert value(registry, "engine_prompt_seconds") == 0.15
    assert round(value(registry, "engine_time_per_output_token_seconds") or 0, 9) == 0.05
    assert round(value(registry, "chunk_gap_seconds", statistic="p95") or 0, 9) == 0.05
    assert value(registry, "probe_success") == 1
    assert value(registry, "last_success_timestamp_seconds") == 1234.5
    assert value(registry, "probes_total") == 1
    assert value(registry, "probe_failures_total") == 0
    assert value(registry, "simulated") == 0


def test_what_is_not_known_is_absent_and_not_zero():
    record = replace(TIMELINE, output_tokens=None, cached_tokens=None, engine=None)
    found = names(scrape(NEW.measured(measure(record), at=1.0, now=1.0)))
    assert "aiidpd_bench_ttft_seconds" in found
    for name in ("output_tokens_per_second", "cached_tokens", "engine_prompt_seconds", "output_tokens"):
        assert f"aiidpd_bench_{name}" not in found


def test_before_the_first_probe_only_what_is_known_is_there():
    assert names(scrape(NEW)) == {
        "aiidpd_bench_simulated",
        "aiidpd_bench_probes_total",
        "aiidpd_bench_probe_failures_total",
        "aiidpd_bench_probes_dropped_total",
    }


def test_a_probe_that_does_not_count_is_counted_by_its_reason_and_hides_no_figure():
    view = NEW.measured(measure(TIMELINE), at=5.0, now=1.0)
    registry = scrape(view.dropped_for(Drop.DISTURBED, "a user came", at=9.0, now=2.0))
    assert value(registry, "probes_dropped_total", reason="disturbed") == 1
    assert value(registry, "probes_dropped_total", reason="throttled") == 0
    assert value(registry, "ttft_seconds") == 0.2
    assert (value(registry, "probe_success"), value(registry, "probe_failures_total")) == (1, 0)


def test_what_was_not_as_usual_is_a_figure_and_what_is_not_known_is_none():
    registry = scrape(NEW.measured(measure(TIMELINE), at=5.0, now=1.0))
    assert value(registry, "throttled") == 0
    for name in ("alone", "cold_ttft_seconds", "speculative_acceptance_ratio"):
        assert value(registry, name) is None
    sample = replace(
        measure(TIMELINE),
        throttled="GPU 0: heat",
        alone=True,
        cold_ttft_seconds=1.5,
        speculative_acceptance_ratio=0.7,
    )
    registry = scrape(NEW.measured(sample, at=5.0, now=1.0))
    found = [value(registry, name) for name in ("throttled", "alone", "cold_ttft_seconds")]
    assert (found, value(registry, "speculative_acceptance_ratio")) == ([1, 1, 1.5], 0.7)


def test_after_a_failure_the_old_figures_are_gone_and_the_last_success_stays():
    view = NEW.measured(measure(TIMELINE), at=5.0, now=1.0).failed("refused", at=9.0, now=2.0)
    registry = scrape(view)
    assert value(registry, "ttft_seconds") is None
    assert value(registry, "chunk_gap_seconds", statistic="max") is None
    assert value(registry, "probe_success") == 0
    assert value(registry, "last_success_timestamp_seconds") == 5.0
    assert value(registry, "probe_failures_total") == 1


def test_what_is_simulated_says_so():
    assert value(scrape(replace(NEW, simulated=True)), "simulated") == 1


async def test_a_view_that_is_too_old_shows_nothing(clock: FakeClock):
    registry = scrape(NEW.measured(measure(TIMELINE), at=1.0, now=1.0), clock=clock)
    assert names(registry)
    await clock.advance(101)
    assert not names(registry)


def test_a_registration_collects_nothing():
    assert list(BenchCollector(Latest(FakeClock(), 1.0)).describe()) == []
