"""Metrics of the governor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from aiidpd.components.thermal.governor.state import GovernanceView, Tally
from aiidpd.components.thermal.settings import GovernorMode
from aiidpd.kernel.latest import Latest
from aiidpd.telemetry.family import CounterFamily, GaugeFamily

_GPU = ("gpu", "uuid")
_PREFIX = "aiidpd_gpu_governor"


class GovernorCollector(Collector):
    """Builds the ``aiidpd_gpu_governor_`` families; the gauges as long as the governor's view is current."""

    def __init__(self, latest: Latest[GovernanceView], tally: Tally) -> None:
        self._latest = latest
        self._tally = tally

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering does not collect."""
        return []

    def collect(self) -> Iterator[Metric]:
        reading = self._latest.get()
        if reading is not None:
            yield from _view(reading.value)
        moves = CounterFamily(
            "aiidpd_gpu_governor_moves", "Steps that were carried out.", labels=(*_GPU, "direction")
        )
        for direction, counts in (("down", self._tally.lowered), ("up", self._tally.raised)):
            for (index, uuid), value in counts.items():
                moves.add_metric((str(index), uuid, direction), value)
        yield moves
        for family, counts in (
            (
                CounterFamily(
                    "aiidpd_gpu_governor_restores",
                    "Times that the GPU was read back at its baseline.",
                    labels=_GPU,
                ),
                self._tally.restored,
            ),
            (
                CounterFamily(
                    "aiidpd_gpu_governor_refusals",
                    "Settings that the driver did not take.",
                    labels=_GPU,
                ),
                self._tally.refused,
            ),
        ):
            for (index, uuid), value in counts.items():
                family.add_metric((str(index), uuid), value)
            yield family


def _view(view: GovernanceView) -> Iterator[Metric]:
    mode = GaugeFamily(
        f"{_PREFIX}_mode", "1 for what the governor does now: off, dry-run or on.", labels=("mode",)
    )
    for each in GovernorMode:
        mode.add_metric((each.value,), float(each is view.mode))
    yield mode
    yield GaugeFamily(
        f"{_PREFIX}_leased_gpus", "GPUs that may not be at their baseline now.", value=view.unrestored
    )
    level = GaugeFamily(f"{_PREFIX}_level", "Rungs below the baseline; 0 is the baseline.", labels=_GPU)
    power = GaugeFamily(f"{_PREFIX}_power_limit_watts", "Power limit that is requested.", labels=_GPU)
    clock = GaugeFamily(f"{_PREFIX}_clock_limit_hertz", "Graphics clock that is locked.", labels=_GPU)
    back_off = GaugeFamily(
        f"{_PREFIX}_back_off", "Whether a back-off from the GPU is requested.", labels=_GPU
    )
    for gpu in view.gpus:
        labels = (str(gpu.index), gpu.uuid)
        level.add_metric(labels, gpu.level)
        back_off.add_metric(labels, float(gpu.step.back_off))
        if gpu.level and gpu.step.power_watts is not None:
            power.add_metric(labels, gpu.step.power_watts)
        if gpu.step.clock_hertz is not None:
            clock.add_metric(labels, gpu.step.clock_hertz)
    yield from (family for family in (level, power, clock, back_off) if family.points)
