"""How often the GPUs are looked at, and which come and go (pure). What is too hot: :mod:`.alarms`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

from aiidpd.components.thermal.gpu import GpuReading
from aiidpd.components.thermal.signals.checked import CheckedSnapshot
from aiidpd.components.thermal.signals.thresholds import AlertSettings


@dataclass(frozen=True, slots=True)
class ThermalPolicy:
    """How often to look.

    ``interval`` seconds lie between the starts of two passes; after a pass that could read no GPU
    it is ``retry_interval``, because each try then starts a process. Near the limits that ``alarms``
    has for a GPU the :mod:`.cadence` looks more often.
    """

    interval: float = 1.0
    retry_interval: float = 2.0
    alarms: AlertSettings = field(default_factory=AlertSettings)

    def __post_init__(self) -> None:
        if self.interval <= 0 or self.retry_interval <= 0:
            raise ValueError("the intervals must be longer than 0 s")


@dataclass(frozen=True, slots=True)
class Standing:
    """What is remembered of one GPU: what it is called."""

    index: int
    name: str


@dataclass(frozen=True, slots=True)
class ThermalState:
    """What one pass leaves to the next: the GPUs by UUID, since an index can name another card later."""

    gpus: Mapping[str, Standing] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class GpuAppeared:
    """A GPU is read that was not there a pass ago."""

    index: int
    uuid: str
    reason: str


@dataclass(frozen=True, slots=True)
class GpuDisappeared:
    """A GPU that was read a pass ago can't be read now."""

    index: int
    uuid: str
    reason: str


Effect: TypeAlias = GpuAppeared | GpuDisappeared


def step(state: ThermalState, snapshot: CheckedSnapshot) -> tuple[ThermalState, tuple[Effect, ...]]:
    """Return the state after ``snapshot``, and what it has to tell."""
    gpus = {reading.uuid: Standing(reading.index, reading.name) for reading in snapshot.readings}
    effects: list[Effect] = [
        _appeared(reading) for reading in snapshot.readings if reading.uuid not in state.gpus
    ]
    effects += (_disappeared(uuid, gone, snapshot) for uuid, gone in state.gpus.items() if uuid not in gpus)
    return ThermalState(MappingProxyType(gpus)), tuple(effects)


def _appeared(reading: GpuReading) -> GpuAppeared:
    return GpuAppeared(reading.index, reading.uuid, f"GPU {reading.index} ({reading.name}) is read now")


def _disappeared(uuid: str, gone: Standing, snapshot: CheckedSnapshot) -> GpuDisappeared:
    fault = next((str(fault) for fault in snapshot.faults if fault.index == gone.index), None)
    reason = fault or "the driver no longer lists it"
    return GpuDisappeared(gone.index, uuid, f"GPU {gone.index} ({gone.name}) can't be read: {reason}")
