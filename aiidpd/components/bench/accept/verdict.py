"""Verdicts on criteria, by measured figures and the limits of physics (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from aiidpd.components.bench.accept.criteria import FIGURES, Bound, Criterion, Profile
from aiidpd.components.bench.accept.limits import Limit, Limits
from aiidpd.components.bench.accept.quantities import Dimension, shown

_TIMES: Final = frozenset(figure for figure, kind in FIGURES.items() if kind is Dimension.SECONDS)


class Outcome(StrEnum):
    """Answer to one criterion."""

    PASSED = "passed"
    FAILED = "failed"
    IMPOSSIBLE = "impossible"
    """Physics forbids it on this machine, whatever the engine does."""
    NOT_MEASURED = "not measured"
    LEFT_OUT = "left out"
    """It is for another engine."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Figure that was measured, or ``reason`` why it was not; ``samples`` are behind it."""

    value: float | None = None
    reason: str = ""
    samples: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Outcome of one criterion with the figure, the limit that it was held against, and the reason."""

    criterion: Criterion
    outcome: Outcome
    value: float | None = None
    limit: float | None = None
    reason: str = ""
    samples: int = 0

    @property
    def good(self) -> bool:
        """Return whether it does not stand in the way of acceptance."""
        if self.outcome is Outcome.NOT_MEASURED:
            return not self.criterion.required
        return self.outcome in (Outcome.PASSED, Outcome.LEFT_OUT)

    @property
    def wanted(self) -> str:
        """Return the condition in words and signs."""
        return self.criterion.wanted(self.limit)

    @property
    def found(self) -> str:
        """Return the figure as people read it, a dash where there is none."""
        return "-" if self.value is None else shown(self.value, self.criterion.dimension)


def plausible(measured: Mapping[str, Measured], of: Limits) -> dict[str, Measured]:
    """Return ``measured`` without the values that physics forbids, where its limits are certain."""
    return {figure: _plausible(figure, each, of) for figure, each in measured.items()}


def assess(
    profile: Profile, engine: str, measured: Mapping[str, Measured], of: Limits
) -> tuple[Verdict, ...]:
    """Return the verdicts on the criteria of ``profile`` for an ``engine``, in their order."""
    about = profile.for_engine(engine)
    return tuple(
        _verdict(each, measured.get(each.figure, Measured(reason="it was not measured")), of)
        if each in about
        else _left_out(each, engine)
        for each in profile.criteria
    )


def accepted(verdicts: Iterable[Verdict]) -> bool:
    """Return whether none of ``verdicts`` stands in the way, and one at least passed."""
    found = tuple(verdicts)
    return all(each.good for each in found) and any(each.outcome is Outcome.PASSED for each in found)


def _plausible(figure: str, measured: Measured, of: Limits) -> Measured:
    bound = of.bounds.get(figure)
    value = measured.value
    if not of.certain or bound is None or value is None or not _beyond(figure, value, bound):
        return measured
    side = "less" if figure in _TIMES else "more"
    reason = (
        f"{shown(value, FIGURES[figure])} is {side} than {_shown(figure, bound)} allow: "
        "weights, memory or draft are not what was given, or its times are not true"
    )
    return Measured(None, reason, measured.samples)


def _left_out(criterion: Criterion, engine: str) -> Verdict:
    which = f"this is {engine}" if engine else "what this is could not be known: give --engine"
    return Verdict(criterion, Outcome.LEFT_OUT, reason=f"for {criterion.engine} alone, and {which}")


def _verdict(criterion: Criterion, measured: Measured, of: Limits) -> Verdict:
    value, samples, note = measured.value, measured.samples, ""
    bound = of.bounds.get(criterion.figure)
    limit = _limit(criterion, of)
    if value is not None and bound is not None and _beyond(criterion.figure, value, bound):
        note = f"beyond the limit for these weights and this memory, {_shown(criterion.figure, bound)}"
        bound = None
    if limit is None:
        reason = f"no limit follows: {of.reason}" if value is not None else measured.reason
        return Verdict(criterion, Outcome.NOT_MEASURED, value, None, reason, samples)
    if bound is not None and not _possible(criterion, limit, bound):
        note = (
            f"{'at least' if criterion.bound.limits_above else 'at most'} {_shown(criterion.figure, bound)}"
        )
        if of.certain:
            reason = "; ".join(filter(None, (note, measured.reason)))
            return Verdict(criterion, Outcome.IMPOSSIBLE, value, limit, reason, samples)
        note += ", if all these weights are read from this memory"
    if value is None:
        return Verdict(criterion, Outcome.NOT_MEASURED, None, limit, measured.reason, samples)
    outcome = Outcome.PASSED if criterion.bound.holds(value, limit) else Outcome.FAILED
    reason = "; ".join(filter(None, (measured.reason, note)))
    return Verdict(criterion, outcome, value, limit, reason, samples)


def _limit(criterion: Criterion, of: Limits) -> float | None:
    """Return the limit in the unit of its figure; None where a derived one is not known."""
    if not criterion.bound.derived:
        return criterion.limit
    base = of.expected if criterion.bound is Bound.OF_EXPECTED else of.least
    return None if base is None else criterion.limit * base.value


def _beyond(figure: str, value: float, bound: Limit) -> bool:
    """Return whether ``value`` is one that physics forbids."""
    return value < bound.value if figure in _TIMES else value > bound.value


def _possible(criterion: Criterion, limit: float, bound: Limit) -> bool:
    """Return whether a value that physics allows is on the right side of ``limit``."""
    if (criterion.figure in _TIMES) != criterion.bound.limits_above:
        return True  # it wants no more than physics gives: a slow speed, a late token
    return criterion.bound.holds(bound.value, limit)


def _shown(figure: str, bound: Limit) -> str:
    return f"{shown(bound.value, FIGURES[figure])} = {bound.arithmetic}"
