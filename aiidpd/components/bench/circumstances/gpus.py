"""Circumstances of GPUs over the time of a measurement: heat, clocks, what held them back (pure)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from aiidpd.components.bench.regression.circumstances import Value
from aiidpd.contracts.gpus import GpusView, GpuUse

SLOWED: Final = {
    "sw_thermal_slowdown": "the driver lowered its clocks because of heat",
    "hw_thermal_slowdown": "it lowered its clocks because of heat",
    "hw_slowdown": "it lowered its clocks because of heat or power",
    "hw_power_brake_slowdown": "an external power brake lowered its clocks",
}
"""Clock events that make a GPU slower than it is; a power cap (``sw_power_cap``) is normal operation."""
_USUAL: Final = frozenset({"gpu_idle", "applications_clocks_setting", "display_clock_setting", "sync_boost"})
_MOST_GPUS: Final = 8
_LEAST_SECONDS: Final = 0.0005  # of throttling, below which a counter has not moved


@dataclass(frozen=True, slots=True)
class GpuMoment:
    """View of the GPUs as it was read at the monotonic second ``at``."""

    at: float
    view: GpusView


def of_gpus(
    moments: Sequence[GpuMoment],
    used: Callable[[GpusView], tuple[GpuUse, ...]],
    began: float,
    ended: float,
) -> dict[str, Value]:
    """Return the circumstances of the GPUs in use from ``began`` to ``ended`` (monotonic seconds).

    Clocks, power and links fall as soon as a GPU is idle: they are those of readings within that time, and
    not known where there was none. Heat, limits and counters are those of the readings around it too.
    """
    if not moments:
        return {}
    around = [used(each.view) for each in moments]
    within = [used(each.view) for each in moments if began <= each.at <= ended]
    newest = around[-1]
    found: dict[str, Value] = {"driver": moments[-1].view.driver_version or None}
    if not newest:
        return found
    found |= {
        "number of GPUs": len(newest),
        "hottest GPU in C": _most(around, lambda gpu: gpu.temperature_celsius),
        "hottest GPU memory in C": _most(around, lambda gpu: gpu.memory_temperature_celsius),
        "lowest SM clock in MHz": _mega(_least(within, lambda gpu: gpu.sm_clock_hertz)),
        "lowest memory clock in MHz": _mega(_least(within, lambda gpu: gpu.memory_clock_hertz)),
        "highest power of a GPU in W": _rounded(_most(within, lambda gpu: gpu.power_watts)),
        "clock events": _events(within),
        "throttled": throttled(moments, used, began, ended) or "no",
    }
    for gpu in newest[:_MOST_GPUS]:
        same = [each for reading in within for each in reading if each.uuid == gpu.uuid]
        found[f"power limit of GPU {gpu.index} in W"] = gpu.power_limit_watts
        found[f"PCIe generation of GPU {gpu.index}"] = _most([same], lambda each: each.pcie_generation)
        found[f"PCIe lanes of GPU {gpu.index}"] = gpu.pcie_width_lanes
        if gpu.processes is not None:
            found[f"processes on GPU {gpu.index}"] = len(gpu.processes)
    return found


def throttled(
    moments: Sequence[GpuMoment],
    used: Callable[[GpusView], tuple[GpuUse, ...]],
    began: float,
    ended: float,
) -> str:
    """Return what made a GPU slower than it is meanwhile, empty where nothing is known to have.

    The driver's counters of throttled time tell it for the whole time, a reading for its moment alone.
    """
    reasons: dict[str, None] = {}
    for each in moments:
        if began <= each.at <= ended:
            for gpu in used(each.view):
                for event in gpu.clock_events or ():
                    if event in SLOWED:
                        reasons[f"GPU {gpu.index}: {SLOWED[event]}"] = None
    earlier = [each for each in moments if each.at <= began]
    later = [each for each in moments if each.at >= ended]
    if earlier and later:
        before = {gpu.uuid: gpu for gpu in used(earlier[-1].view)}
        for gpu in used(later[0].view):
            for counter, words in (
                ("thermal_throttle_seconds", SLOWED["hw_thermal_slowdown"]),
                ("brake_throttle_seconds", SLOWED["hw_power_brake_slowdown"]),
            ):
                was, now = getattr(before.get(gpu.uuid), counter, None), getattr(gpu, counter)
                if was is not None and now is not None and now - was > _LEAST_SECONDS:
                    reasons.setdefault(f"GPU {gpu.index}: {words}", None)
    return "; ".join(list(reasons)[:_MOST_GPUS])


def _events(within: Iterable[Sequence[GpuUse]]) -> str | None:
    known = [gpu.clock_events for reading in within for gpu in reading if gpu.clock_events is not None]
    if not known:
        return None
    return ", ".join(sorted({event for events in known for event in events} - _USUAL)) or "none"


def _most(readings: Iterable[Sequence[GpuUse]], figure: Callable[[GpuUse], float | None]) -> float | None:
    return max(_known(readings, figure), default=None)


def _least(readings: Iterable[Sequence[GpuUse]], figure: Callable[[GpuUse], float | None]) -> float | None:
    return min(_known(readings, figure), default=None)


def _known(readings: Iterable[Sequence[GpuUse]], figure: Callable[[GpuUse], float | None]) -> list[float]:
    return [value for reading in readings for gpu in reading if (value := figure(gpu)) is not None]


def _mega(hertz: float | None) -> int | None:
    return None if hertz is None else round(hertz / 1e6)


def _rounded(value: float | None) -> int | None:
    return None if value is None else round(value)
