"""What every group is given about one GPU in one pass (pure)."""

from __future__ import annotations

from dataclasses import dataclass

from aiidpd.alerts.state import Observation, Status
from aiidpd.components.thermal.gpu import GpuReading
from aiidpd.components.thermal.signals.thresholds import GpuLimits
from aiidpd.kernel.events import Scalar


@dataclass(frozen=True, slots=True)
class CheckedGpu:
    """One GPU now. ``temperature`` is None where it isn't known, or isn't believed, which is ``doubted``.

    ``refused`` says that the temperature was out of all bounds already where it was read.
    ``elapsed`` is how many seconds this reading stands for: 0 where the one before is too old.
    """

    reading: GpuReading
    now: float
    elapsed: float
    limits: GpuLimits
    temperature: float | None = None
    doubted: bool = False
    refused: bool = False

    def says(self, alert: str, condition: Status, **evidence: Scalar) -> Observation:
        """Return the observation that the condition of ``alert`` stands so for this GPU."""
        reading = self.reading
        about = {"gpu": reading.index, "name": reading.name, **evidence}
        return Observation(alert, reading.uuid, condition, about)
