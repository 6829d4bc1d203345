"""Alerts about a temperature sensor that is not believed (pure)."""

from __future__ import annotations

from collections.abc import Iterator

from aiidpd.alerts.state import Observation, Status
from aiidpd.components.thermal.alerts import rules
from aiidpd.components.thermal.signals import thresholds
from aiidpd.components.thermal.signals.checked import CheckedGpu, Trust


def evaluate(gpu: CheckedGpu) -> Iterator[Observation]:
    """Yield the status of the alerts about the sensor; nothing where it gave no temperature at all."""
    if gpu.trust is Trust.UNKNOWN:
        return
    count = gpu.implausible_count
    status = Status.BETWEEN if count else Status.FALSE
    if count >= thresholds.IMPLAUSIBLE_COUNT:
        status = Status.TRUE
    window = thresholds.IMPLAUSIBLE_WINDOW
    yield gpu.observation(rules.IMPLAUSIBLE, status, implausible_count=count, window_seconds=window)
    if gpu.reading.temperature_celsius is None:
        return
    status = Status.FALSE if not gpu.unchanged_seconds else Status.BETWEEN
    yield gpu.observation(
        rules.SENSOR_FROZEN,
        Status.TRUE if gpu.frozen else status,
        temperature_celsius=gpu.reading.temperature_celsius,
        unchanged_seconds=round(gpu.unchanged_seconds, 3),
    )
