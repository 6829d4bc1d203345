from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from aiidpd.kernel.latest import Latest
from aiidpd.workers.thermal.gpu import FIGURES, GpuReading, GpuSnapshot
from aiidpd.workers.thermal.metrics import ThermalCollector
from aiidpd.workers.thermal.simulated import SimulatedGpus
from tests.fakes.clock import FakeClock

Series = dict[tuple[str, str, str], float]


@pytest.fixture
def latest(clock: FakeClock) -> Latest[GpuSnapshot]:
    return Latest(clock, max_age=3.0)


@pytest.fixture
def registry(latest: Latest[GpuSnapshot]) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(ThermalCollector(latest))
    return registry


def scrape(registry: CollectorRegistry) -> Series:
    """Return value by metric, GPU and reason, where there is one."""
    text = generate_latest(registry).decode()
    return {
        (sample.name, sample.labels["gpu"], sample.labels.get("reason", "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_without_a_reading_there_is_no_series(registry: CollectorRegistry) -> None:
    assert generate_latest(registry) == b""


async def test_a_series_leaves_when_its_reading_is_too_old(
    registry: CollectorRegistry, latest: Latest[GpuSnapshot], clock: FakeClock
) -> None:
    latest.put(await SimulatedGpus(clock).read())
    await clock.advance(3.0)
    assert scrape(registry)
    await clock.advance(0.1)
    assert not scrape(registry)


async def test_every_figure_of_a_reading_has_a_metric_and_the_temperature_comes_first(
    registry: CollectorRegistry, latest: Latest[GpuSnapshot], clock: FakeClock
) -> None:
    latest.put(await SimulatedGpus(clock, count=2).read())
    names = list(dict.fromkeys(name for name, _, _ in scrape(registry)))

    assert names[0] == "aiidpd_gpu_temperature_celsius"
    assert len(names) == len(FIGURES) + len(["clock_event_active", "info"])
    assert all(name.startswith("aiidpd_gpu_") for name in names)


def test_what_a_card_does_not_say_has_no_series(
    registry: CollectorRegistry, latest: Latest[GpuSnapshot]
) -> None:
    silent = GpuReading(0, "GPU-a", "one")
    hot = GpuReading(1, "GPU-b", "two", temperature_celsius=80.0, clock_events=("sw_power_cap",))
    latest.put(GpuSnapshot((silent, hot), "580", simulated=False))
    series = scrape(registry)

    assert series["aiidpd_gpu_temperature_celsius", "1", ""] == 80.0
    assert series["aiidpd_gpu_clock_event_active", "1", "sw_power_cap"] == 1.0
    assert series["aiidpd_gpu_clock_event_active", "1", "hw_slowdown"] == 0.0
    assert {name for name, gpu, _ in series if gpu == "0"} == {"aiidpd_gpu_info"}


@pytest.mark.parametrize("simulated", [True, False])
def test_the_info_says_what_a_gpu_is_and_whether_it_is_made_up(
    registry: CollectorRegistry, latest: Latest[GpuSnapshot], simulated: bool
) -> None:
    latest.put(GpuSnapshot((GpuReading(0, "GPU-a", 'a "card"'),), "580.95", simulated=simulated))
    (family,) = text_string_to_metric_families(generate_latest(registry).decode())

    assert family.samples[0].labels == {
        "gpu": "0",
        "uuid": "GPU-a",
        "name": 'a "card"',
        "driver_version": "580.95",
        "simulated": str(simulated).lower(),
    }
