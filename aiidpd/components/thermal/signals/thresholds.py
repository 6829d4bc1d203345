"""Thresholds: what counts as too hot, too slow or not to be believed (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class GpuLimits:
    """The limits of one GPU, in degrees Celsius.

    Each alert is entered at its limit and left ``clear_below`` degrees short of it, so that noise does not
    flap. ``slowdown_margin_celsius`` is how near to the card's own slowdown point is too near. Memory is
    too hot at ``memory_warning_celsius``, or that far below the card's own limit where that is lower.
    """

    warning_celsius: float = 85.0
    critical_celsius: float = 90.0
    memory_warning_celsius: float = 100.0
    slowdown_margin_celsius: float = 5.0
    clear_below: float = 3.0

    def __post_init__(self) -> None:
        if self.clear_below < 0:
            raise ValueError("clear_below must not be negative")
        if self.critical_celsius <= self.warning_celsius:
            raise ValueError("critical_celsius must lie above warning_celsius")


@dataclass(frozen=True, slots=True)
class AlertSettings:
    """Settings of alerts and validation. Seconds, unless a name says otherwise; dwells are in the rules.

    Heat: ``overrides`` has limits for single GPUs by UUID (or its beginning) or index. A GPU that is at its
    warning limit for ``hot_seconds`` of ``hot_window`` is too hot too long (clear at four fifths of that).
    Throttling: ``throttle_seconds`` by the hardware, ``software_throttle_seconds`` by the driver, and
    ``power_brake_seconds`` within ``throttle_window`` are too much (clear at a fifth).
    Xid: an event counts for ``xid_window``.
    Sensor: believable is above ``plausible_min`` and up to ``plausible_max`` Celsius, at most 10 above the
    card's own shutdown point, and within ``jump_celsius`` of the last believed one, if the reading
    before is at most ``jump_within`` old. A new level that lasts ``jump_settles`` is believed after all; a
    higher one already after ``jump_readings`` in a row that span ``jump_confirms``, where the GPU burns
    enough to be that hot. ``implausible_count``
    unbelievable readings within ``implausible_window`` are an alert. A temperature that did not change by a
    digit for ``frozen_after``, while the mean power moved by ``frozen_power_ratio`` of the limit (or the
    load by ``frozen_load_ratio``), is frozen.
    Cooling: a fan whose intended speed is ``fan_intended_ratio`` or more does not help where the GPU heats by
    ``fan_heating_rate`` (Celsius a second, over half a minute) at a power that stayed within
    ``steady_power_ratio`` for ``fan_steady``. The thermal resistance has drifted at ``drift_ratio`` of its
    baseline, and is fine again at ``drift_clear_ratio``.
    Presence: ``expected_gpus`` is how many GPUs there must be; 0 means as many as were seen first.
    Two readings that lie further apart than ``longest_gap`` say nothing about the time between.
    """

    limits: GpuLimits = GpuLimits()
    overrides: Mapping[str, GpuLimits] = field(default_factory=lambda: MappingProxyType({}))
    warning_dwell: float = 10.0
    critical_dwell: float = 3.0
    hot_seconds: float = 600.0
    hot_window: float = 3600.0
    throttle_seconds: float = 5.0
    software_throttle_seconds: float = 60.0
    power_brake_seconds: float = 1.0
    throttle_window: float = 600.0
    xid_window: float = 3600.0
    plausible_min: float = 0.0
    plausible_max: float = 125.0
    jump_celsius: float = 30.0
    jump_within: float = 5.0
    jump_settles: float = 10.0
    jump_confirms: float = 2.0
    jump_readings: int = 3
    implausible_count: int = 3
    implausible_window: float = 60.0
    frozen_after: float = 120.0
    frozen_power_ratio: float = 0.25
    frozen_load_ratio: float = 0.6
    fan_intended_ratio: float = 0.5
    fan_heating_rate: float = 0.15
    fan_steady: float = 300.0
    steady_power_ratio: float = 0.15
    drift_ratio: float = 1.15
    drift_clear_ratio: float = 1.075
    expected_gpus: int = 0
    longest_gap: float = 10.0

    def for_gpu(self, index: int, uuid: str) -> GpuLimits:
        """Return the limits of one GPU: the override for its UUID, else for its index, else the common."""
        by_uuid = (own for key, own in self.overrides.items() if not key.isdigit() and uuid.startswith(key))
        return next(by_uuid, None) or self.overrides.get(str(index)) or self.limits
