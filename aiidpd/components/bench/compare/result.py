"""Result of a comparison: figure by figure with interval and words (pure). It is the document too."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, Literal

from aiidpd.components.bench.compare.agreement import Agreement
from aiidpd.components.bench.compare.sequential import NEGLIGIBLE, Estimate, Outcome, estimate
from aiidpd.components.bench.stats import BenchSample

ERROR: Final = 0.05
"""Probability with which any word about any figure of a comparison is wrong, at most."""
FIGURES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "ttft_seconds": "first token",
        "time_per_output_token_seconds": "per token",
        "total_seconds": "whole answer",
    }
)
_SHARE: Final = ERROR / len(FIGURES)


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two that are compared: an endpoint, or a period of one."""

    name: str
    model: str = ""
    url: str = ""
    since: float | None = None
    """Begin of a period, in Unix seconds."""
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Times:
    """Figures of one measurement, in seconds; null where one is withheld."""

    ttft_seconds: float | None = None
    time_per_output_token_seconds: float | None = None
    total_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class PairFigures:
    """Figures of one pair."""

    number: int
    a_first: bool
    a: Times
    b: Times
    reason: str = ""
    """Why a figure is missing; empty where none is."""


@dataclass(frozen=True, slots=True)
class FigureResult:
    """One figure of both sides; all are times, so that less is faster."""

    figure: str
    label: str
    count: int
    """Pairs that the ratio is of, or measurements of the smaller period."""
    a_median: float | None
    b_median: float | None
    ratio: float | None
    """B's time over A's."""
    ratio_low: float | None
    ratio_high: float | None
    outcome: Literal["faster", "slower", "alike", "open"]
    """Speed of B beside that of A."""
    text: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Comparison that ended. Its pairs have every figure, so that it can be judged again."""

    version: Literal[1]
    id: str
    kind: Literal["endpoints", "periods"]
    began_at: float
    ended_at: float
    a: Side
    b: Side
    simulated: bool
    seed: int
    most_pairs: int
    max_tokens: int
    ended: Literal["clear", "pairs", "budget", "busy", "absent", "failed", "cancelled", "read"]
    reason: str
    """Sentence about why it ended."""
    figures: tuple[FigureResult, ...]
    answers: Agreement
    pairs: tuple[PairFigures, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def clear(self) -> bool:
        """True where every figure has an answer."""
        return all(each.outcome != "open" for each in self.figures)


def paired(number: int, a: BenchSample, b: BenchSample, *, a_first: bool) -> PairFigures:
    """Return the figures of a pair; the time of answers of different lengths is not comparable."""
    ours, theirs = _times(a), _times(b)
    reasons = [f"{each.figure}: {each.reason}" for sample in (a, b) for each in sample.withheld]
    if a.output_tokens is None or a.output_tokens != b.output_tokens:
        ours, theirs = replace(ours, total_seconds=None), replace(theirs, total_seconds=None)
        reasons.append("total_seconds: the answers differ in length")
    return PairFigures(number, a_first, ours, theirs, "; ".join(reasons)[:400])


def _times(sample: BenchSample) -> Times:
    return Times(sample.ttft_seconds, sample.time_per_output_token_seconds, sample.total_seconds)


def judged(pairs: Sequence[PairFigures], most: int) -> tuple[FigureResult, ...]:
    """Return each figure of ``pairs``, of which there may be ``most``."""
    return tuple(_of_pairs(figure, pairs, most) for figure in FIGURES)


def _of_pairs(figure: str, pairs: Sequence[PairFigures], most: int) -> FigureResult:
    both = ((getattr(each.a, figure), getattr(each.b, figure)) for each in pairs)
    known: list[tuple[float, float]] = [(a, b) for a, b in both if a and b and a > 0 and b > 0]
    found = estimate([math.log(b / a) for a, b in known], most, _SHARE)
    return figure_result(
        figure,
        [a for a, _ in known],
        [b for _, b in known],
        found,
        f"{len(known)} pair{'s' * (len(known) != 1)}",
    )


def figure_result(
    figure: str, a: Sequence[float], b: Sequence[float], found: Estimate, after: str
) -> FigureResult:
    """Return the figure with its words; ``found`` is of the logarithm of B over A, after so much data."""
    known = math.isfinite(found.low) and math.isfinite(found.high)
    return FigureResult(
        figure,
        FIGURES[figure],
        min(len(a), len(b)),
        statistics.median(a) if a else None,
        statistics.median(b) if b else None,
        math.exp(found.mean) if known else None,
        math.exp(found.low) if known else None,
        math.exp(found.high) if known else None,
        _SPEED[found.outcome],
        _words(found, after, known=known),
    )


_SPEED: Final[Mapping[Outcome, Literal["faster", "slower", "alike", "open"]]] = MappingProxyType(
    {Outcome.LESS: "faster", Outcome.MORE: "slower", Outcome.ALIKE: "alike", Outcome.OPEN: "open"}
)


def _words(found: Estimate, after: str, *, known: bool) -> str:
    if not known:
        return f"not clear after {after}: too few"
    if found.outcome is Outcome.ALIKE:
        return f"no difference above {_percent(math.expm1(NEGLIGIBLE))} %"
    # Speed is the inverse of time: a ratio of times of -x is a speed of x more.
    percents = sorted(100 * math.expm1(-each) for each in (found.low, found.high))
    mean = 100 * math.expm1(-found.mean)
    if found.outcome is Outcome.OPEN:
        return f"not clear after {after} (B from {percents[0]:+.1f} to {percents[1]:+.1f} % in speed)"
    if found.outcome is Outcome.LESS:
        return f"B is {mean:.1f} % faster ({percents[0]:.1f} to {percents[1]:.1f})"
    return f"B is {-mean:.1f} % slower ({-percents[1]:.1f} to {-percents[0]:.1f})"


def _percent(share: float) -> str:
    return f"{100 * share:.2g}"
