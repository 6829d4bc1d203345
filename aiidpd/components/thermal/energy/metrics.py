"""Metrics of energy: counters that go on across restarts, as long as the GPUs are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from aiidpd.components.thermal.energy.meter import EnergyMeter
from aiidpd.components.thermal.gpu import GpuSnapshot
from aiidpd.kernel.latest import Latest
from aiidpd.telemetry.family import CounterFamily, GaugeFamily

_TOKEN_LABELS = ("endpoint", "counted_by")


class EnergyCollector(Collector):
    """Builds the families from the account at each scrape; nothing where no GPU is read now."""

    def __init__(self, meter: EnergyMeter, latest: Latest[GpuSnapshot]) -> None:
        self._meter = meter
        self._latest = latest

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering does not collect."""
        return []

    def collect(self) -> Iterator[Metric]:
        reading = self._latest.get()
        if reading is None:
            return
        view = self._meter.view()
        present = {gpu.uuid for gpu in reading.value.gpus}
        joules = CounterFamily(
            "aiidpd_gpu_energy_joules",
            "Energy that the GPU took, kept over restarts.",
            labels=("gpu", "uuid"),
        )
        for gpu in view.gpus:
            if gpu.uuid in present and gpu.meter.method is not None:
                joules.add_metric((str(gpu.index), gpu.uuid), gpu.meter.joules)
        shares: dict[str, CounterFamily] = {
            "joules": CounterFamily(
                "aiidpd_container_energy_joules",
                "Energy of GPUs laid on a container, shared by memory: an estimate between the bounds.",
                labels=("container",),
            ),
            "certain": CounterFamily(
                "aiidpd_container_energy_certain_joules",
                "Energy of GPUs in the time in which the container alone held them.",
                labels=("container",),
            ),
            "possible": CounterFamily(
                "aiidpd_container_energy_possible_joules",
                "Energy of GPUs in all time in which the container held them.",
                labels=("container",),
            ),
        }
        for name, share in view.shares.items():
            for figure, family in shares.items():
                family.add_metric((name,), getattr(share, figure))
        tokens: dict[str, GaugeFamily] = {
            "joules": GaugeFamily(
                "aiidpd_gpu_energy_per_token_joules",
                "Energy of all GPUs per generated token: of the engine's working time in the last hour by "
                "its own counter (engine), else of the last probe (probes).",
                labels=_TOKEN_LABELS,
            ),
            "low": GaugeFamily(
                "aiidpd_gpu_energy_per_token_low_joules",
                "The least that a generated token can have taken.",
                labels=_TOKEN_LABELS,
            ),
            "high": GaugeFamily(
                "aiidpd_gpu_energy_per_token_high_joules",
                "The most that a generated token can have taken.",
                labels=_TOKEN_LABELS,
            ),
            "with_idle": GaugeFamily(
                "aiidpd_gpu_energy_per_token_with_idle_joules",
                "Energy of all GPUs per generated token, idle time of the engine included.",
                labels=_TOKEN_LABELS,
            ),
        }
        for token in view.tokens:
            for figure, gauge in tokens.items():
                known = getattr(token, figure)
                if known is not None:
                    generation = token.generation
                    gauge.add_metric((generation.source, generation.counted_by.value), known)
        families: list[Any] = [joules, *shares.values(), *tokens.values()]
        yield from (family for family in families if family.points)
