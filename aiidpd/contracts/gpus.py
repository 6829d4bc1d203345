"""View of the GPUs: how busy each is, and with which processes (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aiidpd.kernel.views import View


@dataclass(frozen=True, slots=True)
class GpuMemoryUse:
    """A process that holds memory of a GPU. ``container`` is the full id, None outside of containers.

    ``pid`` is the host's; ``bytes`` is None where the driver does not report it.
    """

    pid: int
    container: str | None = None
    bytes: float | None = None


@dataclass(frozen=True, slots=True)
class GpuUse:
    """Use of one GPU at its last reading. None is what it does not report.

    ``utilisation_ratio`` is the share of time in which any kernel ran. ``processes`` is None where they are
    not known. ``clock_events`` are NVML's names for why it ran below its highest clock at the reading;
    ``thermal_throttle_seconds`` and ``brake_throttle_seconds`` count since the driver's start for how long
    heat and an external power brake held it back.
    """

    index: int
    uuid: str
    name: str
    utilisation_ratio: float | None = None
    power_watts: float | None = None
    power_limit_watts: float | None = None
    memory_used_bytes: float | None = None
    processes: tuple[GpuMemoryUse, ...] | None = None
    temperature_celsius: float | None = None
    memory_temperature_celsius: float | None = None
    sm_clock_hertz: float | None = None
    memory_clock_hertz: float | None = None
    clock_events: tuple[str, ...] | None = None
    thermal_throttle_seconds: float | None = None
    brake_throttle_seconds: float | None = None
    pcie_generation: float | None = None
    pcie_width_lanes: float | None = None


@dataclass(frozen=True, slots=True)
class GpusView:
    """Every GPU of the last reading. ``driver_version`` is empty where it is not known."""

    gpus: tuple[GpuUse, ...] = ()
    driver_version: str = ""
    simulated: bool = False


GPUS: Final[View[GpusView]] = View("gpus")
