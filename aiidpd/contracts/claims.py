"""View of the speeds that somebody claimed of this machine, and the check of a measured figure (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from aiidpd.kernel.views import View


class ClaimedFigure(StrEnum):
    """Figure that a claim is about, of which more or less is better."""

    DECODE = "decode"
    """Tokens a second."""
    TTFT = "ttft"
    """Seconds to the first token."""
    SEQUENCES = "sequences"
    """Sequences at once."""
    HOP = "hop"
    """Seconds of a round trip to another machine, a token."""


class FigurePosition(StrEnum):
    """Place of a measured figure to what was claimed."""

    WITHIN = "within"
    BELOW = "below"
    ABOVE = "above"
    FORBIDDEN = "forbidden"
    """Beyond what physics allows: the measurement or the claim's setting is wrong."""


@dataclass(frozen=True, slots=True)
class MeasuredFigure:
    """One figure as it was measured, of one request or of a whole batch; ``at`` in Unix seconds."""

    endpoint: str
    figure: ClaimedFigure
    value: float
    of_batch: bool
    at: float | None = None


@dataclass(frozen=True, slots=True)
class ClaimBounds:
    """Claim on an endpoint of this machine. ``limit`` is the bound of physics, None where none is known.

    Values are in tokens a second, seconds or sequences, as the figure is.
    """

    name: str
    text: str
    figure: ClaimedFigure
    endpoint: str
    of_batch: bool
    low: float
    high: float
    limit: float | None

    def position(self, measured: MeasuredFigure) -> FigurePosition | None:
        """Return the place of ``measured``, None where the claim is about something else.

        Speed of one request is never compared with that of a batch.
        """
        if (measured.figure, measured.endpoint, measured.of_batch) != (
            self.figure,
            self.endpoint,
            self.of_batch,
        ):
            return None
        return position_of(self, measured.value)


def position_of(bounds: ClaimBounds, value: float) -> FigurePosition:
    """Return the place of ``value``, measured as ``bounds`` claim it."""
    less_is_better = bounds.figure in {ClaimedFigure.TTFT, ClaimedFigure.HOP}
    if bounds.limit is not None and (value < bounds.limit if less_is_better else value > bounds.limit):
        return FigurePosition.FORBIDDEN
    if value < bounds.low:
        return FigurePosition.BELOW
    return FigurePosition.ABOVE if value > bounds.high else FigurePosition.WITHIN


@dataclass(frozen=True, slots=True)
class ClaimsView:
    """Claims that name an endpoint of this machine; ``problem`` is why there are none."""

    claims: tuple[ClaimBounds, ...] = ()
    problem: str = ""


CLAIMS: Final[View[ClaimsView]] = View("claims")
