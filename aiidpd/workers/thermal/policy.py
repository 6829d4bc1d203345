"""When a GPU counts as hot, and what is worth telling (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType
from typing import TypeAlias

from aiidpd.workers.thermal.gpu import GpuReading, GpuSnapshot


@dataclass(frozen=True, slots=True)
class ThermalPolicy:
    """How often to look and when to speak.

    ``interval`` seconds lie between the starts of two passes; after a pass that could read no GPU
    it is ``retry_interval``, because each try then starts a process. A level is entered at its
    temperature and left ``clear_below`` degrees under it, so that noise does not flap.
    """

    interval: float = 1.0
    retry_interval: float = 2.0
    warning_celsius: float = 85.0
    critical_celsius: float = 90.0
    clear_below: float = 3.0

    def __post_init__(self) -> None:
        if self.interval <= 0 or self.retry_interval <= 0:
            raise ValueError("the intervals must be longer than 0 s")
        if self.clear_below < 0:
            raise ValueError("clear_below must not be negative")
        if self.critical_celsius <= self.warning_celsius:
            raise ValueError("critical_celsius must lie above warning_celsius")

    def threshold(self, level: Level) -> float:
        """Return the temperature at which ``level`` (not NORMAL) is entered."""
        return self.critical_celsius if level is Level.CRITICAL else self.warning_celsius


class Level(IntEnum):
    """How hot a GPU is."""

    NORMAL = 0
    WARNING = 1
    CRITICAL = 2


@dataclass(frozen=True, slots=True)
class Standing:
    """What is remembered of one GPU: its level, and the monotonic second since which it holds."""

    index: int
    name: str
    level: Level
    since: float


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


@dataclass(frozen=True, slots=True)
class LevelChanged:
    """A GPU became hotter or cooler. ``held`` is how many seconds the level before lasted."""

    index: int
    uuid: str
    reason: str
    before: Level
    after: Level
    temperature_celsius: float
    held: float


Effect: TypeAlias = GpuAppeared | GpuDisappeared | LevelChanged


def level_at(temperature: float, before: Level, policy: ThermalPolicy) -> Level:
    """Return the level at ``temperature`` (Celsius) of a GPU whose level was ``before``."""
    level = Level.NORMAL
    for candidate in (Level.WARNING, Level.CRITICAL):
        threshold = policy.threshold(candidate)
        stays = before >= candidate and temperature > threshold - policy.clear_below
        if temperature >= threshold or stays:
            level = candidate
    return level


def step(
    state: ThermalState, snapshot: GpuSnapshot, now: float, policy: ThermalPolicy
) -> tuple[ThermalState, tuple[Effect, ...]]:
    """Return the state after ``snapshot``, read at monotonic second ``now``, and what it has to tell."""
    effects: list[Effect] = []
    gpus: dict[str, Standing] = {}
    for reading in snapshot.gpus:
        standing = state.gpus.get(reading.uuid)
        if standing is None:
            standing = Standing(reading.index, reading.name, Level.NORMAL, now)
            effects.append(_appeared(reading))
        change = _change(reading, standing, now, policy)
        if change is not None:
            effects.append(change)
        level, since = (standing.level, standing.since) if change is None else (change.after, now)
        gpus[reading.uuid] = Standing(reading.index, reading.name, level, since)
    effects += (_disappeared(uuid, gone, snapshot) for uuid, gone in state.gpus.items() if uuid not in gpus)
    return ThermalState(MappingProxyType(gpus)), tuple(effects)


def _change(
    reading: GpuReading, standing: Standing, now: float, policy: ThermalPolicy
) -> LevelChanged | None:
    temperature = reading.temperature_celsius
    if temperature is None:
        return None  # not knowing is neither hot nor cool
    before, after = standing.level, level_at(temperature, standing.level, policy)
    if after == before:
        return None
    if after > before:
        relation = f"reached the {after.name.lower()} threshold of {policy.threshold(after):g} °C"
    else:
        left = Level(after + 1)
        clears_at = policy.threshold(left) - policy.clear_below
        relation = f"fell to {clears_at:g} °C or below, where {left.name.lower()} ends"
    reason = f"GPU {reading.index} ({reading.name}) is at {temperature:g} °C and {relation}"
    return LevelChanged(reading.index, reading.uuid, reason, before, after, temperature, now - standing.since)


def _appeared(reading: GpuReading) -> GpuAppeared:
    return GpuAppeared(reading.index, reading.uuid, f"GPU {reading.index} ({reading.name}) is read now")


def _disappeared(uuid: str, gone: Standing, snapshot: GpuSnapshot) -> GpuDisappeared:
    fault = next((str(fault) for fault in snapshot.faults if fault.index == gone.index), None)
    reason = fault or "the driver no longer lists it"
    return GpuDisappeared(gone.index, uuid, f"GPU {gone.index} ({gone.name}) can't be read: {reason}")
