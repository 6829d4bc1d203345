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
    not known.
    """

    index: int
    uuid: str
    name: str
    utilisation_ratio: float | None = None
    power_watts: float | None = None
    power_limit_watts: float | None = None
    memory_used_bytes: float | None = None
    processes: tuple[GpuMemoryUse, ...] | None = None


@dataclass(frozen=True, slots=True)
class GpusView:
    """Every GPU of the last reading. ``driver_version`` is empty where it is not known."""

    gpus: tuple[GpuUse, ...] = ()
    driver_version: str = ""
    simulated: bool = False


GPUS: Final[View[GpusView]] = View("gpus")
