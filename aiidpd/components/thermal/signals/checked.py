"""Checked snapshot: a validated one, which all use but the metrics page and the API (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from aiidpd.alerts.state import Observation, Status
from aiidpd.components.thermal.faults import GpuFault
from aiidpd.components.thermal.gpu import GpuReading, Limit, degrees_left
from aiidpd.components.thermal.signals.thresholds import GpuLimits
from aiidpd.components.thermal.xid import XidEvent
from aiidpd.kernel.events import Scalar


class Trust(StrEnum):
    """Result of the validation of a temperature; all but the first two mean a sensor that is not believed."""

    BELIEVED = "it is believed"
    UNKNOWN = "it can't be read"
    REFUSED = "it is out of all bounds"  # and was dropped where it was read
    DOUBTED = "it is impossible for this card, or jumped and nothing confirms that yet"
    FROZEN = "it is frozen: it stays the same to the digit while power or load change"


@dataclass(frozen=True, slots=True)
class CheckedGpu:
    """One GPU in one snapshot, read at ``now`` (monotonic seconds).

    ``reading`` has what the driver gave; ``temperature`` is its core temperature where that is believed, None
    otherwise, and ``trust`` why not. The reading covers the last ``seconds``: 0 where it is the
    first, or the one before is too old. ``implausible_count`` is how many temperatures were refused or
    doubted lately; the value that was read has been the same for ``unchanged_seconds``, and is ``frozen``
    where the GPU's power or load changed a lot meanwhile.
    """

    reading: GpuReading
    now: float
    seconds: float
    limits: GpuLimits
    temperature: float | None = None
    trust: Trust = Trust.UNKNOWN
    implausible_count: float = 0.0
    unchanged_seconds: float = 0.0
    frozen: bool = False

    @property
    def distrusted(self) -> bool:
        """True where the sensor gave a temperature, and it is not believed."""
        return self.trust not in (Trust.BELIEVED, Trust.UNKNOWN)

    def degrees_left(self, limit: Limit) -> float | None:
        """Return how many degrees (Celsius) the GPU lies below ``limit``; negative is above.

        None where that is not known: a sensor that is not believed is not believed about its margin either.
        The memory has a sensor of its own.
        """
        if self.distrusted and limit is not Limit.MEMORY_MAX:
            return None
        return degrees_left(self.reading, limit)

    def figure(self, name: str) -> float | None:
        """Return the number that the table of figures calls ``name``; a temperature where it is believed."""
        if name == "temperature_celsius":
            return self.temperature
        value: float | None = getattr(self.reading, name)
        return value

    def observation(self, alert: str, status: Status, **evidence: Scalar) -> Observation:
        """Return the observation that the condition of ``alert`` has ``status`` for this GPU."""
        reading = self.reading
        about = {"gpu": reading.index, "name": reading.name, **evidence}
        return Observation(alert, reading.uuid, status, about)


@dataclass(frozen=True, slots=True)
class CheckedSnapshot:
    """Every GPU that could be read in one pass: at ``at`` in Unix seconds, ``now`` in monotonic seconds.

    The rest is that of the :class:`~aiidpd.components.thermal.gpu.GpuSnapshot` that was validated.
    """

    gpus: tuple[CheckedGpu, ...]
    at: float
    now: float
    driver_version: str
    simulated: bool
    faults: tuple[GpuFault, ...] = ()
    xids: tuple[XidEvent, ...] = ()

    @property
    def readings(self) -> tuple[GpuReading, ...]:
        """Readings as the driver gave them, by GPU: for evidence, and for all but the temperature."""
        return tuple(gpu.reading for gpu in self.gpus)
