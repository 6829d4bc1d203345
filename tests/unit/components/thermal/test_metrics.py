from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from aiidpd.components.thermal.figures import FAMILIES, Kind
from aiidpd.components.thermal.gpu import (
    Fan,
    GpuProcess,
    GpuReading,
    GpuSnapshot,
    MigInstance,
)
from aiidpd.components.thermal.metrics import ThermalCollector
from aiidpd.components.thermal.simulated import SimulatedGpus
from aiidpd.components.thermal.xid import XidEvent, XidLedger
from aiidpd.kernel.latest import Latest
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


async def test_what_a_reading_says_is_what_the_metrics_say(
    registry: CollectorRegistry, latest: Latest[GpuSnapshot], clock: FakeClock
) -> None:
    snapshot = await SimulatedGpus(clock, count=2).read()
    latest.put(snapshot)
    series = scrape(registry)

    assert all(name.startswith("aiidpd_gpu_") for name, _, _ in series)
    for gpu in snapshot.gpus:
        for metric in (each for rows in FAMILIES.values() for each in rows if each.value):
            name = f"aiidpd_gpu_{metric.name}" + ("_total" if metric.kind is Kind.COUNTER else "")
            (reason,) = metric.label_values or ("",)
            assert series.get((name, str(gpu.index), reason)) == getattr(gpu, metric.value)


def test_fans_parts_and_containers_have_series_of_their_own(
    registry: CollectorRegistry, latest: Latest[GpuSnapshot]
) -> None:
    container = "a" * 64
    gpu = GpuReading(
        0,
        "GPU-a",
        "one",
        fans=(Fan(0, 0.4, 1300.0), Fan(1, 0.5)),
        mig_instances=(MigInstance("MIG-1", 2, 0, 1.0, 2.0),),
        processes=(
            GpuProcess(1, "compute", "python", 3.0, container),
            GpuProcess(2, "compute", "python", 4.0, container),
            GpuProcess(3, "graphics", "Xorg", 5.0),
            GpuProcess(4, "compute", "hidden", None),
        ),
    )
    latest.put(GpuSnapshot((gpu,), "580", simulated=False))
    text = generate_latest(registry).decode()

    for line in (
        'fan_intended_ratio{fan="1",gpu="0",uuid="GPU-a"} 0.5',
        'fan_intended_rpm{fan="0",gpu="0",uuid="GPU-a"} 1300.0',
        'mig_memory_total_bytes{compute_instance="0",gpu="0",gpu_instance="2",mig_uuid="MIG-1",uuid=',
        'container_memory_bytes{container="aaaaaaaaaaaa",gpu="0",uuid="GPU-a"} 7.0',
        'container_memory_bytes{container="",gpu="0",uuid="GPU-a"} 5.0',
    ):
        assert f"aiidpd_gpu_{line}" in text
    assert 'fan_intended_rpm{fan="1"' not in text
    assert "hidden" not in text


def test_an_xid_is_counted_with_its_class_and_stays_when_its_gpu_is_lost(
    latest: Latest[GpuSnapshot],
) -> None:
    ledger, registry = XidLedger(), CollectorRegistry()
    registry.register(ThermalCollector(latest, ledger))
    for code in (79, 31, 31):
        ledger.record(XidEvent("GPU-a", code))
    text = generate_latest(registry).decode()

    assert 'aiidpd_gpu_xid_events_total{class="hardware",uuid="GPU-a",xid="79"} 1.0' in text
    assert 'aiidpd_gpu_xid_events_total{class="application",uuid="GPU-a",xid="31"} 2.0' in text


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
