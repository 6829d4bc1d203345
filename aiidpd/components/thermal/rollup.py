"""Minute rollup: one line a GPU and minute, for the log and the long history."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from aiidpd.components.thermal.figures import ROLLED_UP, SAMPLED_ON_CHANGE, THROTTLE_REASONS
from aiidpd.components.thermal.gpu import GpuReading, clock_event_names
from aiidpd.components.thermal.signals.checked import CheckedGpu, CheckedSnapshot
from aiidpd.kernel.events import Scalar, Severity
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.words import lasting

KIND: Final = "gpu.minute"

_IDLE = frozenset({"gpu_idle", "applications_clocks_setting", "display_clock_setting"})
_LONGEST_GAP = 5.0  # seconds for which a reason counts as active where the card has no clock of it
_MINUTE = 60


@dataclass(slots=True)
class MinMeanMax:
    """Least, mean and greatest value of a figure."""

    low: float = math.inf
    high: float = -math.inf
    total: float = 0.0
    count: int = 0

    def add(self, value: float) -> None:
        """Add one value."""
        self.low, self.high = min(self.low, value), max(self.high, value)
        self.total += value
        self.count += 1

    @property
    def mean(self) -> float:
        """Mean, clamped between the least and the greatest against rounding."""
        return min(max(self.total / self.count, self.low), self.high)


@dataclass(slots=True)
class MinuteRollup:
    """One GPU in one minute of UTC. ``throttled`` is in seconds by reason."""

    minute: int
    reading: GpuReading
    spreads: dict[str, MinMeanMax] = field(default_factory=dict)
    throttled: dict[str, float] = field(default_factory=dict)
    readings: int = 0

    def add(self, gpu: CheckedGpu, throttled: Mapping[str, float]) -> None:
        """Add one reading, and the seconds that each reason held the clocks down since the one before."""
        self.reading = gpu.reading
        self.readings += 1
        for figure in ROLLED_UP:
            value = gpu.figure(figure)
            if value is not None:
                spread = self.spreads.get(figure)
                if spread is None:
                    spread = self.spreads[figure] = MinMeanMax()
                spread.add(value)
        for reason, seconds in throttled.items():
            self.throttled[reason] = self.throttled.get(reason, 0.0) + seconds

    @property
    def reason(self) -> str:
        """Reasons that throttled it in this minute, most seconds first, joined by ``|``."""
        order = sorted(self.throttled, key=lambda reason: (-self.throttled[reason], reason))
        return "|".join(reason for reason in order if round(self.throttled[reason], 3) > 0)

    def evidence(self) -> dict[str, Scalar]:
        """Return the whole minute as flat figures."""
        figures: dict[str, Scalar] = {"gpu": self.reading.index, "readings": self.readings}
        for figure, spread in self.spreads.items():
            name, _, unit = figure.rpartition("_")
            figures[f"{name}_min_{unit}"] = round(spread.low, 3)
            figures[f"{name}_mean_{unit}"] = round(spread.mean, 3)
            figures[f"{name}_max_{unit}"] = round(spread.high, 3)
        if self.reading.memory_total_bytes is not None:
            figures["memory_total_bytes"] = self.reading.memory_total_bytes
        figures |= {
            f"{reason}_seconds": round(seconds, 3) for reason, seconds in sorted(self.throttled.items())
        }
        return figures | {"throttle_reason": self.reason}

    def sentence(self) -> str:
        """Return the minute in words."""
        parts = []
        shown = (
            ("temperature_celsius", "°C", 1.0),
            ("power_watts", "W", 1.0),
            ("utilisation_ratio", "% load", 100.0),
        )
        for figure, unit, factor in shown:
            spread = self.spreads.get(figure)
            if spread is not None:
                low, mean, high = (value * factor for value in (spread.low, spread.mean, spread.high))
                parts.append(f"{low:.0f}/{mean:.0f}/{high:.0f} {unit}")
        text = ", ".join(parts) or "no figure"
        held = ", ".join(
            f"{reason} {lasting(self.throttled[reason])}" for reason in self.reason.split("|") if reason
        )
        return f"GPU {self.reading.index}: {text}" + (f"; slowed by {held}" if held else "")


def throttled(before: GpuReading | None, reading: GpuReading, elapsed: float) -> dict[str, float]:
    """Return the seconds that each reason held the clocks down, of the ``elapsed`` ones since ``before``.

    The driver's own clocks count it where the card has them; else a reason that is active now is taken to
    have been so since the reading before, unless that is long ago.
    """
    if before is None or elapsed <= 0:
        return {}
    found: dict[str, float] = {}
    measured: set[str] = set()
    for counter, reason in THROTTLE_REASONS.items():
        was, now = getattr(before, counter), getattr(reading, counter)
        if was is None or now is None:
            continue
        measured.add(reason)
        if 0 < now - was <= elapsed + 1:  # one that fell began anew; one that leapt is no count of seconds
            found[reason] = now - was
    if elapsed <= _LONGEST_GAP and reading.clock_event_bits:
        for reason in clock_event_names(reading.clock_event_bits):
            if reason not in measured and reason not in _IDLE:
                found[reason] = elapsed
    return found


@dataclass(slots=True)
class _Gpu:
    reading: GpuReading
    now: float
    minute: MinuteRollup
    sampled: dict[str, float] = field(default_factory=dict)


class MinuteLog:
    """Publishes ``gpu.minute`` when a minute of UTC has passed, and the series that are sampled on change."""

    def __init__(self, publish: Publisher) -> None:
        self._publish = publish
        self._gpus: dict[str, _Gpu] = {}

    def on_snapshot(self, snapshot: CheckedSnapshot) -> None:
        """See :class:`~aiidpd.components.thermal.worker.SnapshotListener`."""
        at, now = snapshot.at, snapshot.now
        minute = int(at // _MINUTE)
        for uuid, gone in list(self._gpus.items()):
            if gone.minute.minute != minute:
                self._publish_minute(uuid, gone.minute, snapshot, at)
                if now - gone.now > _MINUTE:
                    del self._gpus[uuid]
                else:
                    gone.minute = MinuteRollup(minute, gone.reading)
                    gone.sampled.clear()
        for gpu in snapshot.gpus:
            reading = gpu.reading
            known = self._gpus.get(reading.uuid)
            if known is None:
                known = self._gpus[reading.uuid] = _Gpu(reading, now, MinuteRollup(minute, reading))
                since: dict[str, float] = {}
            else:
                since = throttled(known.reading, reading, now - known.now)
            known.minute.add(gpu, since)
            known.reading, known.now = reading, now
            self._sample(known, snapshot)

    def _publish_minute(self, uuid: str, minute: MinuteRollup, snapshot: CheckedSnapshot, at: float) -> None:
        if not minute.readings:
            return
        # Published at its own last second, so that it lies in the minute that it is about.
        end = min(at, (minute.minute + 1) * _MINUTE - 0.001)
        publish = self._publish.marked(simulated=snapshot.simulated).at(end)
        publish.event(KIND, minute.sentence(), about=uuid, severity=Severity.INFO, **minute.evidence())

    def _sample(self, known: _Gpu, snapshot: CheckedSnapshot) -> None:
        for series in SAMPLED_ON_CHANGE:
            value = getattr(known.reading, series)
            if value is not None and known.sampled.get(series) != value:
                known.sampled[series] = value
                publish = self._publish.marked(simulated=snapshot.simulated).at(snapshot.at)
                publish.sample(series, known.reading.uuid, float(value))


def reasons(bits: int) -> str:
    """Return the reasons in ``bits`` that hold the clocks down under load, joined by ``|``."""
    return "|".join(reason for reason in clock_event_names(bits) if reason not in _IDLE)
