"""Bounds of figures (pure): drops values that can't be true, which a faulty sensor or driver gives."""

from __future__ import annotations

from collections.abc import Mapping

from aiidpd.components.thermal.faults import IMPLAUSIBLE, GpuFault
from aiidpd.components.thermal.figures import BOUNDS


def drop_implausible(index: int, figures: Mapping[str, float]) -> tuple[dict[str, float], list[GpuFault]]:
    """Return the ``figures`` of GPU ``index`` that can be true, and a fault for each that can't."""
    true: dict[str, float] = {}
    faults: list[GpuFault] = []
    for figure, value in figures.items():
        least, most = BOUNDS[figure]
        if least <= value <= most:
            true[figure] = value
        else:
            faults.append(GpuFault(index, f"{figure} of {value:.10g}", None, IMPLAUSIBLE))
    return true, faults
