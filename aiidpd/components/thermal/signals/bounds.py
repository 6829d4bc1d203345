"""What a figure can be at all (pure): a sensor or a driver that lies must not be believed."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from aiidpd.components.thermal.faults import IMPLAUSIBLE, GpuFault
from aiidpd.components.thermal.gpu import FIGURES

_MOST = MappingProxyType(
    {
        "celsius": 150.0,
        "watts": 10_000.0,
        "joules": 1e13,
        "ratio": 1.0,
        "hertz": 2e10,
        "bytes": 2.0**50,
        "bits": 65_536.0,
        "seconds": 1e10,
        "second": 1e13,  # bytes per second
        "generation": 16.0,
        "max": 16.0,  # pcie_generation_max
        "lanes": 64.0,
        "count": 2.0**63,
    }
)
"""The most that a figure can be, by the last word of its name. Far beyond any card, short of any 2 ** 32."""

_OWN = MappingProxyType({"fan_ratio": (0.0, 3.0), "pcie_replay_count": (0.0, 2.0**32 - 2)})


def bounds(figure: str) -> tuple[float, float]:
    """Return the least and the most that ``figure`` can be.

    A temperature lies above zero: a GPU that runs is warmer than that, and zero is what a sensor that is
    not there gives. A margin is an offset and may be negative.
    """
    if figure in _OWN:
        return _OWN[figure]
    most = _MOST[figure.rpartition("_")[2]]
    if "margin" in figure:
        return -most, most
    return (0.1, most) if figure.endswith("celsius") else (0.0, most)


_BOUNDS = MappingProxyType({figure: bounds(figure) for figure in FIGURES})


def drop_implausible(index: int, figures: Mapping[str, float]) -> tuple[dict[str, float], list[GpuFault]]:
    """Return the ``figures`` of GPU ``index`` that can be true, and a fault for each that can't."""
    true: dict[str, float] = {}
    faults: list[GpuFault] = []
    for figure, value in figures.items():
        least, most = _BOUNDS[figure]
        if least <= value <= most:
            true[figure] = value
        else:
            faults.append(GpuFault(index, f"{figure} of {value:.10g}", None, IMPLAUSIBLE))
    return true, faults
