"""Readings of GPUs, and the protocol of a library that gives them (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from aiidpd.components.thermal.commands import Command
from aiidpd.components.thermal.faults import GpuFault
from aiidpd.components.thermal.xid import XidEvent

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
class Fan:
    """One fan. NVML has the intended speed, never a measured one: a blocked fan shows it too.

    ``speed_ratio`` may pass 1: NVML allows more than 100 %. ``speed_rpm`` is in turns a minute.
    """

    index: int
    speed_ratio: float | None = None
    speed_rpm: float | None = None


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A process that holds memory of a GPU. ``container_id`` is 64 hex digits, None outside of containers.

    ``used_memory_bytes`` is None where the driver does not report it (Windows' memory model, MIG, no right).
    ``kind`` is ``compute`` or ``graphics``. The pid is that of the host.
    """

    pid: int
    kind: str
    name: str = ""
    used_memory_bytes: float | None = None
    container_id: str | None = None


@dataclass(frozen=True, slots=True)
class MigInstance:
    """One MIG device of a partitioned GPU: ``uuid`` begins with ``MIG-``."""

    uuid: str
    gpu_instance: int
    compute_instance: int
    memory_used_bytes: float | None = None
    memory_total_bytes: float | None = None


@dataclass(frozen=True, slots=True)
class XidCount:
    """Count of one Xid ``code`` on a GPU since the daemon's start."""

    code: int
    count: int


class Limit(StrEnum):
    """Thermal limits that a card may name."""

    GPU_MAX = "gpu_max"  # the highest temperature of normal operation
    SLOWDOWN = "slowdown"  # the driver lowers the clocks
    SHUTDOWN = "shutdown"  # the card turns itself off
    MEMORY_MAX = "memory_max"  # the memory's highest temperature of normal operation


@dataclass(frozen=True, slots=True)
class GpuReading:  # each field has a row in figures.py
    """One GPU at one moment. ``None`` is "this card or driver does not say", which is never zero.

    Units are in the names; ratios run from 0 to 1 (a fan's may pass 1: NVML allows more than 100 %).

    Thermal limits come in two families, and most cards give one of them:
    ``*_celsius`` without "margin" is a temperature (nvmlDeviceGetTemperatureThreshold);
    ``*_margin_celsius`` (fields 193 to 196, Ada and newer) is the value of ``temperature_margin_celsius``
    (nvmlDeviceGetMarginTemperature, "T.Limit": degrees left, falling as the GPU heats) at which that limit
    is met, mostly 0 or a few degrees below. It is an offset and never a temperature: compare it with the
    margin alone.

    Counters (``energy_joules``, ``*_throttle_seconds``, ``*_count``) grow and start anew with the driver;
    retired pages, remapped rows and ``ecc_aggregate_*`` are counted for the life of the card.
    ``power_watts`` is an average over about a second on Ampere and newer, the present draw before;
    ``power_limit_watts`` is what is enforced now, the lowest of all that limit;
    ``power_limit_set_watts`` is what was requested (by nvidia-smi, or by us), from ``min`` to ``max``.
    ``fan_ratio`` is the intended speed of the fastest fan. ``hotspot_temperature_celsius`` is that of the
    hottest part of the die. ``xids`` is None where the card can't report them, else each code it had.
    ``memory_controller_utilisation_ratio`` is the share of time in which memory was read or written.
    Source: NVML, as :mod:`aiidpd.components.thermal.driver.nvml` lists it call by call.
    """

    index: int
    uuid: str
    name: str
    temperature_celsius: float | None = None
    memory_temperature_celsius: float | None = None
    hotspot_temperature_celsius: float | None = None
    temperature_margin_celsius: float | None = None
    gpu_max_celsius: float | None = None
    slowdown_celsius: float | None = None
    shutdown_celsius: float | None = None
    memory_max_celsius: float | None = None
    target_celsius: float | None = None
    gpu_max_margin_celsius: float | None = None
    slowdown_margin_celsius: float | None = None
    shutdown_margin_celsius: float | None = None
    memory_max_margin_celsius: float | None = None
    power_watts: float | None = None
    power_instant_watts: float | None = None
    power_limit_watts: float | None = None
    power_limit_set_watts: float | None = None
    power_limit_default_watts: float | None = None
    power_limit_min_watts: float | None = None
    power_limit_max_watts: float | None = None
    energy_joules: float | None = None
    fan_ratio: float | None = None
    utilisation_ratio: float | None = None
    memory_controller_utilisation_ratio: float | None = None
    memory_used_bytes: float | None = None
    memory_total_bytes: float | None = None
    graphics_clock_hertz: float | None = None
    sm_clock_hertz: float | None = None
    memory_clock_hertz: float | None = None
    video_clock_hertz: float | None = None
    graphics_clock_max_hertz: float | None = None
    memory_clock_max_hertz: float | None = None
    memory_bus_width_bits: float | None = None
    power_cap_throttle_seconds: float | None = None
    sync_boost_throttle_seconds: float | None = None
    sw_thermal_throttle_seconds: float | None = None
    hw_thermal_throttle_seconds: float | None = None
    hw_power_brake_throttle_seconds: float | None = None
    pcie_generation: float | None = None
    pcie_generation_max: float | None = None
    pcie_width_lanes: float | None = None
    pcie_width_max_lanes: float | None = None
    pcie_replay_count: float | None = None
    pcie_transmit_bytes_per_second: float | None = None
    pcie_receive_bytes_per_second: float | None = None
    ecc_corrected_count: float | None = None
    ecc_uncorrected_count: float | None = None
    ecc_aggregate_corrected_count: float | None = None
    ecc_aggregate_uncorrected_count: float | None = None
    retired_pages_corrected_count: float | None = None
    retired_pages_uncorrected_count: float | None = None
    remapped_rows_corrected_count: float | None = None
    remapped_rows_uncorrected_count: float | None = None
    retired_pages_pending: bool | None = None
    remapped_rows_pending: bool | None = None
    remapped_rows_failed: bool | None = None
    ecc_enabled: bool | None = None
    mig_enabled: bool | None = None
    clock_event_bits: int | None = None
    clock_events: tuple[str, ...] | None = None
    fans: tuple[Fan, ...] = ()
    xids: tuple[XidCount, ...] | None = None
    processes: tuple[GpuProcess, ...] | None = None
    mig_instances: tuple[MigInstance, ...] = ()

    @property
    def memory_bus_width_bytes(self) -> float | None:
        """Bytes that the memory's bus carries in one transfer."""
        return None if self.memory_bus_width_bits is None else self.memory_bus_width_bits / 8

    @property
    def theoretical_bandwidth_bytes_per_second(self) -> float | None:
        """Peak bandwidth of the memory: two transfers a cycle of its highest clock, over the bus.

        NVML's memory clock is that of the data strobe, so the factor is 2 (double data rate) for GDDR and
        HBM alike: RTX 3090, 9,751 MHz x 2 x 384 bits / 8 is its 936 GB/s.
        """
        if self.memory_clock_max_hertz is None or self.memory_bus_width_bits is None:
            return None
        return 2 * self.memory_clock_max_hertz * self.memory_bus_width_bits / 8


_LIMITS = {limit: (f"{limit}_celsius", f"{limit}_margin_celsius") for limit in Limit}


BUSY_WATTS: Final = 40.0
"""Power that an idle card stays below, whatever its limit is."""

_SMALL_CARD_WATTS: Final = 160.0


def power_limit(reading: GpuReading) -> float:
    """Return the power limit in watts; that of a small card where the card does not report one."""
    return reading.power_limit_watts or _SMALL_CARD_WATTS


def degrees_left(reading: GpuReading, limit: Limit) -> float | None:
    """Return how many degrees (Celsius) ``reading`` lies below ``limit``; negative where it lies above.

    The card's own margin decides where it gives both margin and offset, the absolute temperature else;
    None where neither is known.
    """
    named, offset_named = _LIMITS[limit]
    margin, offset = reading.temperature_margin_celsius, getattr(reading, offset_named)
    if margin is not None and offset is not None and limit is not Limit.MEMORY_MAX:
        return float(margin - offset)
    ceiling = getattr(reading, named)
    memory = limit is Limit.MEMORY_MAX
    temperature = reading.memory_temperature_celsius if memory else reading.temperature_celsius
    return None if ceiling is None or temperature is None else float(ceiling - temperature)


@dataclass(frozen=True, slots=True)
class GpuSnapshot:
    """Every GPU that could be read in one pass, in the driver's order, and the calls that failed.

    A GPU with a fault is missing from ``gpus``, or has only the figure of that call missing. ``xids`` are
    the Xid events since the snapshot before, those of a GPU that is lost now among them.
    """

    gpus: tuple[GpuReading, ...]
    driver_version: str
    simulated: bool
    faults: tuple[GpuFault, ...] = ()
    xids: tuple[XidEvent, ...] = ()


class GpuLibrary(Protocol):
    """Library that reads and sets GPUs: the driver's, or a simulated one. One caller at a time."""

    @property
    def simulated(self) -> bool:
        """True where the readings are simulated."""

    @property
    def holding(self) -> bool:
        """True while a process of ours has the driver open."""

    async def read(self, *, fast: bool = False) -> GpuSnapshot:
        """Return a reading of the GPUs, of at least one; bounded in time.

        A ``fast`` reading makes at most four calls a GPU (temperature, margin, power and its limits,
        throttling) and repeats the rest from the last full one.

        Raises:
            Unavailable: none could be read. The next call tries afresh.
        """

    async def apply(self, command: Command) -> GpuFault | None:
        """Change a setting; return None where the driver took it, else its refusal. Bounded in time.

        What was refused changed nothing. Raises nothing of the driver's: a hang, a crash and a library
        that is gone are faults too, after which the setting is unknown until the next reading.
        """

    async def aclose(self) -> None:
        """Close the driver; bounded in time. The next reading opens it again."""
