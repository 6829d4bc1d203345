"""What the thermal worker knows about GPUs, and through what it asks (pure)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Protocol

from aiidpd.workers.thermal.faults import GpuFault

CLOCK_EVENTS = {
    0x001: "gpu_idle",
    0x002: "applications_clocks_setting",
    0x004: "sw_power_cap",
    0x008: "hw_slowdown",
    0x010: "sync_boost",
    0x020: "sw_thermal_slowdown",
    0x040: "hw_thermal_slowdown",
    0x080: "hw_power_brake_slowdown",
    0x100: "display_clock_setting",
    0x200: "board_limit",
    0x400: "reliability",
}
"""NVML's names for why a GPU runs below its highest clock, by bit. ``sw_power_cap`` is normal operation."""


def clock_event_names(bits: int) -> tuple[str, ...]:
    """Return the names of the reasons in ``bits``; a bit that NVML has not named yet shows as ``bit_N``."""
    return tuple(
        CLOCK_EVENTS.get(1 << place, f"bit_{place}")
        for place in range(bits.bit_length())
        if bits >> place & 1
    )


@dataclass(frozen=True, slots=True)
class GpuReading:
    """One GPU at one moment. ``None`` is "this card or driver does not say", which is never zero.

    Units are in the names; ratios run from 0 to 1 (a fan's may pass 1: NVML allows more than 100 %).
    ``memory_controller_utilisation_ratio`` is the share of time in which memory was read or written.
    ``fan_ratio`` is the intended speed. ``slowdown_celsius`` and ``shutdown_celsius`` are the card's
    own limits. Source: NVML, as :mod:`aiidpd.workers.thermal.nvml` lists it call by call.
    """

    index: int
    uuid: str
    name: str
    temperature_celsius: float | None = None
    slowdown_celsius: float | None = None
    shutdown_celsius: float | None = None
    power_watts: float | None = None
    power_limit_watts: float | None = None
    fan_ratio: float | None = None
    utilisation_ratio: float | None = None
    memory_controller_utilisation_ratio: float | None = None
    memory_used_bytes: float | None = None
    memory_total_bytes: float | None = None
    graphics_clock_hertz: float | None = None
    memory_clock_hertz: float | None = None
    clock_events: tuple[str, ...] | None = None


FIGURES = tuple(
    field.name for field in fields(GpuReading) if field.name not in ("index", "uuid", "name", "clock_events")
)
"""The names of a reading's numbers, each a ``float | None``; each ends in its unit."""


@dataclass(frozen=True, slots=True)
class GpuSnapshot:
    """Every GPU that could be read in one pass, in the driver's order, and the calls that failed.

    A GPU with a fault is missing from ``gpus``, or has only the figure of that call missing.
    """

    gpus: tuple[GpuReading, ...]
    driver_version: str
    simulated: bool
    faults: tuple[GpuFault, ...] = ()


class GpuLibrary(Protocol):
    """Where readings come from. One caller at a time."""

    @property
    def simulated(self) -> bool:
        """Whether the readings are made up."""

    async def read(self) -> GpuSnapshot:
        """Return what the GPUs say now, at least one of them; bounded in time.

        Raises:
            Unavailable: none could be read. The next call tries afresh.
        """

    async def aclose(self) -> None:
        """Let go of the GPUs; bounded in time. Reading again takes hold of them again."""
