"""Time of a decode step as engines reach it: bytes over bandwidth, with losses that physics explains (pure).

Two things keep a step above bytes / bandwidth: only a part of a memory's bandwidth can be reached, and the
kernels of each block cost time that no byte explains (launch, ramp, tail). The constants are fitted on
published single-stream results, few for all of them together; docs/physics.md has the fit and its errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

REFERENCE_BYTES: Final = 4.9e9
"""Weights of the model that overheads are stated for: 8 billion parameters in 4 bits."""
REFERENCE_BLOCKS: Final = 32
"""Blocks of that model."""
_GROWTH: Final = (
    1 / 6
)  # overhead by bytes alone: blocks grow as the cube root of parameters, bits do not add any
_ROUNDED: Final = 1 + 1e-9  # of a speed at the limit itself
_LONGEST_OVERHEAD: Final = 0.95  # share of a measured step that can be overhead at most


@dataclass(frozen=True, slots=True)
class Efficiency:
    """Constants of one family of devices, or of all.

    ``share`` of the bandwidth can be reached. ``in_flight`` (bytes a second) is what the kernels of one
    sequence can read from any memory, since only so many reads are under way at once; None where the share
    has it.
    ``overhead_seconds`` is that of a step of a model of 32 blocks. ``source`` names the results behind it.
    """

    share: float
    overhead_seconds: float
    in_flight: float | None = None
    source: str = ""

    def __post_init__(self) -> None:
        """Raise ValueError for constants that would let a step pass the ceiling."""
        if not 0 < self.share <= 1 or self.overhead_seconds < 0:
            raise ValueError("a share is above 0 and at most 1, and an overhead is not below 0")

    def bandwidth(self, peak: float) -> float:
        """Return the bytes a second that are reached of ``peak``."""
        reached = self.share * peak
        if self.in_flight is None:
            return reached
        return float((reached**-2 + self.in_flight**-2) ** -0.5)

    def overhead(self, read: float, blocks: int | None = None) -> float:
        """Return the seconds of a step that no byte explains, by ``read`` bytes where ``blocks`` is None."""
        if blocks is not None:
            return self.overhead_seconds * blocks / REFERENCE_BLOCKS
        return float(self.overhead_seconds * (read / REFERENCE_BYTES) ** _GROWTH)

    def seconds(self, read: float, peak: float, blocks: int | None = None) -> float:
        """Return the seconds of a step that reads ``read`` bytes from a memory of ``peak`` bytes a second."""
        return read / self.bandwidth(peak) + self.overhead(read, blocks)


GENERAL: Final = Efficiency(
    share=0.88,
    overhead_seconds=0.00165,
    in_flight=1.8e12,
    source="fit on all rows of bench/data/published_decode.csv, by weights and bandwidth alone",
)


@dataclass(frozen=True, slots=True)
class Measured:
    """Speed of one model, measured on the device that another is estimated for."""

    read_bytes: float
    tokens_per_second: float
    blocks: int | None = None


def calibrated(of: Efficiency, measured: Sequence[Measured], peak: float) -> Efficiency:
    """Return ``of`` with the share of the bandwidth that ``measured`` models reached on this device.

    Overheads stay those of the family, as long as they leave time for the bytes, and no share is above 1; of
    several models it is the mean. Raises ValueError where one is faster than the bandwidth allows.
    """
    shares = []
    for each in measured:
        step = 1.0 / each.tokens_per_second
        if each.read_bytes / step > peak * _ROUNDED:
            raise ValueError(
                f"{each.tokens_per_second:g} tok/s of {each.read_bytes / 1e9:.2f} GB would read "
                f"{each.read_bytes / step / 1e9:.0f} GB/s, more than the memory gives"
            )
        left = max(step - of.overhead(each.read_bytes, each.blocks), step * (1 - _LONGEST_OVERHEAD))
        shares.append(min(1.0, each.read_bytes / left / peak))
    if not shares:
        return of
    return replace(
        of, share=sum(shares) / len(shares), in_flight=None, source=f"calibrated; overhead by {of.source}"
    )
