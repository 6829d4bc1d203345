"""Snapshots as validation gives them where it believes every temperature: for tests of what follows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aiidpd.components.thermal.gpu import GpuReading
from aiidpd.components.thermal.settings import GpuSettings
from aiidpd.components.thermal.signals.checked import CheckedGpu, CheckedSnapshot, Trust
from aiidpd.components.thermal.signals.thresholds import gpu_limits

USUAL = GpuSettings()


def believed_gpu(
    reading: GpuReading, now: float = 0.0, *, seconds: float = 1.0, settings: GpuSettings = USUAL
) -> CheckedGpu:
    """Return ``reading``, made at ``now`` (monotonic seconds), with its temperature believed."""
    temperature = reading.temperature_celsius
    trust = Trust.UNKNOWN if temperature is None else Trust.BELIEVED
    limits = gpu_limits(settings, reading.index, reading.uuid)
    return CheckedGpu(reading, now, seconds, limits, temperature, trust)


def believed(
    readings: Iterable[GpuReading],
    now: float = 0.0,
    *,
    at: float | None = None,
    settings: GpuSettings = USUAL,
    simulated: bool = False,
    **more: Any,
) -> CheckedSnapshot:
    """Return a snapshot of ``readings`` with every temperature believed, read at ``at`` and ``now``."""
    gpus = tuple(believed_gpu(reading, now, settings=settings) for reading in readings)
    return CheckedSnapshot(gpus, now if at is None else at, now, "580", simulated, **more)
