"""State of the energy account, in memory and in ``energy.json`` (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

from aiidpd.components.thermal.energy.attribution import Share, Shares
from aiidpd.components.thermal.energy.counter import EnergyCounter


@dataclass(frozen=True, slots=True)
class GpuEnergy:
    """Energy account of one GPU."""

    uuid: str
    index: int
    name: str
    meter: EnergyCounter
    simulated: bool


@dataclass(frozen=True, slots=True)
class GpuEnergyRecord(GpuEnergy):
    """An account that was saved ``age`` seconds after its last reading.

    ``counter_age`` is how long ago the card's counter was last believed. The monotonic seconds in ``meter``
    mean nothing to another process, and neither does the power just then.
    """

    age: float
    counter_age: float

    def validate(self) -> None:
        """Raise ValueError where a sum is negative."""
        meter = self.meter
        sums = (
            meter.counted,
            meter.integrated,
            meter.unknown,
            meter.resets,
            meter.bridged,
            meter.counter or 0,
        )
        if min(sums) < 0:
            raise ValueError("a sum of energy must not be negative")


@dataclass(frozen=True, slots=True)
class EnergyState:
    """Energy account, which began at ``since`` and was saved at ``saved_at``, both in Unix seconds."""

    version: Literal[1] = field(metadata={"key": "format"})
    since: float
    saved_at: float
    gpus: tuple[GpuEnergyRecord, ...]
    shares: Mapping[str, Share]


def to_state(
    since: float, gpus: Iterable[GpuEnergy], shares: Shares, *, time: float, now: float
) -> EnergyState:
    """Return the account as it is saved at ``time`` (Unix seconds) and ``now`` (monotonic seconds)."""
    return EnergyState(
        1, since, time, tuple(_to_record(gpu, now) for gpu in gpus), MappingProxyType(dict(shares))
    )


def gpus_of(state: EnergyState, *, time: float, now: float) -> tuple[GpuEnergy, ...]:
    """Return the accounts in ``state`` in this process's monotonic seconds: ``now``, at Unix second ``time``.

    Where the clock was set back meanwhile no time has passed.
    """
    saved = now - max(0.0, time - state.saved_at)
    return tuple(_from_record(gpu, saved) for gpu in state.gpus)


def _to_record(gpu: GpuEnergy, now: float) -> GpuEnergyRecord:
    meter = gpu.meter
    return GpuEnergyRecord(
        uuid=gpu.uuid,
        index=gpu.index,
        name=gpu.name,
        meter=meter,
        simulated=gpu.simulated,
        age=now - (meter.at or now),
        counter_age=now - (meter.counter_at if meter.counter is not None else now),
    )


def _from_record(gpu: GpuEnergyRecord, saved: float) -> GpuEnergy:
    meter = replace(gpu.meter, power=None, at=saved - gpu.age, counter_at=saved - gpu.counter_age)
    return GpuEnergy(gpu.uuid, gpu.index, gpu.name, meter, gpu.simulated)
