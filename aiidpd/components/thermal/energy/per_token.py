"""What a generated token took (pure), and what a probe's own tokens did."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from aiidpd.components.thermal.energy.counter import CARD_ACCURACY
from aiidpd.components.thermal.energy.series import CumulativeSeries

_JOULES_PER_KWH = 3.6e6


class CountedBy(StrEnum):
    """Who counted the tokens."""

    ENGINE = "engine"  # the engine's own counter: all that it generated
    PROBES = "probes"  # a probe of ours: its own answer alone


@dataclass(frozen=True, slots=True)
class Generation:
    """Tokens that somebody counted: ``tokens`` generated between two moments (Unix seconds).

    ``source`` is the endpoint.
    """

    source: str
    started_at: float
    ended_at: float
    tokens: int
    counted_by: CountedBy
    simulated: bool = False


@dataclass(frozen=True, slots=True)
class TokenEnergy:
    """What one generated token took, in joules, with its least and its most.

    ``joules`` is laid on the tokens of the time in which the engine worked; all energy of the machine's GPUs
    in that time, so other work makes it too high. ``with_idle`` is with the energy of the time in between
    too, None where that is not known (a probe).
    """

    generation: Generation
    joules: float
    low: float
    high: float
    with_idle: float | None = None


def cost_of_million(joules: float, price_per_kwh: float) -> float:
    """Return what a million tokens of ``joules`` each cost."""
    return joules * 1e6 / _JOULES_PER_KWH * price_per_kwh


def per_token(
    generation: Generation, trace: CumulativeSeries, accuracy: float = CARD_ACCURACY
) -> TokenEnergy | None:
    """Return what a token of ``generation`` took; None where the energy of that time is not known.

    ``accuracy`` is how far off the energy itself may be.
    """
    if generation.tokens <= 0:
        return None
    found = trace.between(generation.started_at, generation.ended_at)
    if found is None:
        return None
    joules, error = found
    low = max(0.0, joules - error) * (1 - accuracy)
    high = (joules + error) * (1 + accuracy)
    return TokenEnergy(
        generation, joules / generation.tokens, low / generation.tokens, high / generation.tokens
    )
