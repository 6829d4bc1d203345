"""State of one figure of one endpoint: learning, steady, regressed or improved (pure)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from aiidpd.components.bench.regression.baseline import FULL, Baseline, due, estimate
from aiidpd.components.bench.regression.scan import (
    LONGEST,
    SMALLEST,
    deviations,
    residuals,
    threshold,
    worse,
)
from aiidpd.components.bench.regression.shift import LEAST, Shift, find_shift, is_gradual, measured

Status = Literal["learning", "steady", "regressed", "improved"]
MOST_RECENT: Final = 96
"""Newest samples that are stored: a day of probes every 15 minutes."""
_BETTER: Final = 0.6  # standard deviations that an improvement must be off beyond a regression: it can wait
_BACK: Final = 12  # newest samples by which figures are found to be back
_BACK_LEAST: Final = 8
_LAG: Final = 24  # samples that wait before a baseline learns them, in which a shift shows itself
_REFINED: Final = 24  # samples after an alarm by which its onset is estimated anew
_SHAPED: Final = 72  # samples after an alarm by which it can still turn out to be gradual
_DIGITS: Final = 6
_SMALLEST: Final = 1e-9  # of tokens/s and of seconds alike
_LARGEST: Final = 1e9


@dataclass(frozen=True, slots=True)
class Point:
    """Figure of one probe, at ``at`` in Unix seconds."""

    at: float
    value: float


@dataclass(frozen=True, slots=True)
class FigureState:
    """State of one figure. ``sign`` is 1 where more is better, else -1.

    ``learned`` are the values that the baseline is made of, as long as it is not complete. ``recent`` are the
    newest samples, ``since`` the number of them after the last change of ``status``, and ``waiting`` the
    number of them that the baseline has not learned yet. ``shift`` is there while the figure is regressed or
    improved, and ``found_at`` (Unix seconds) is when that was found.
    """

    sign: int
    status: Status = "learning"
    baseline: Baseline | None = None
    learned: tuple[float, ...] = ()
    recent: tuple[Point, ...] = ()
    since: int = 0
    waiting: int = 0
    shift: Shift | None = None
    found_at: float | None = None

    @property
    def complete(self) -> bool:
        """True where the baseline changes no more."""
        return self.baseline is not None and self.baseline.count >= FULL

    @property
    def level(self) -> float | None:
        """Ratio of the newest samples, six at most, to the baseline; None without either."""
        if self.baseline is None or not self.recent:
            return None
        newest = [math.log(each.value) - self.baseline.centre for each in self.recent[-6:]]
        return math.exp(sum(newest) / len(newest))


def after(state: FigureState, at: float, value: float) -> FigureState:
    """Return the state after a good sample; what can be no speed and no time changes nothing.

    The baseline learns while the figure is steady and it is not complete, never afterwards, and nothing of
    what came after the onset of a shift. So nothing but :func:`rebaselined` makes a slower engine usual.
    """
    if not (_SMALLEST <= value <= _LARGEST and math.isfinite(at)):
        return state
    value = float(f"{value:.{_DIGITS}g}")
    recent = (*state.recent, Point(at, value))[-MOST_RECENT:]
    state = replace(state, recent=recent, since=min(state.since + 1, MOST_RECENT))
    if state.status in ("learning", "steady"):
        return _watched(_learned(state))
    return _followed(state)


def rebaselined(state: FigureState) -> FigureState:
    """Return the state in which the baseline is learned anew, from the samples after the shift on, if any.

    For a person to request, who knows that what is usual has changed.
    """
    onset = state.shift.onset if state.shift else math.inf
    fresh = FigureState(state.sign)
    for each in state.recent:
        if each.at >= onset:
            fresh = after(fresh, each.at, each.value)
    return fresh


def _learned(state: FigureState) -> FigureState:
    """Return the state whose baseline has learned one more sample: at first the newest, later an older one.

    What is as new as a shift that is not found yet has to wait.
    """
    if state.complete:
        return state
    if state.baseline is not None:
        if state.waiting < _LAG:
            return replace(state, waiting=state.waiting + 1)
        value = state.recent[-state.waiting - 1].value
    else:
        value = state.recent[-1].value
    learned = (*state.learned, value)
    if not due(len(learned), state.baseline):
        return replace(state, learned=learned)
    baseline = estimate([math.log(each) for each in learned])
    left = () if len(learned) >= FULL else learned
    return replace(state, status="steady", baseline=baseline, learned=left)


def _watched(state: FigureState) -> FigureState:
    if state.baseline is None:
        return state
    newest = state.recent[-min(state.since, LONGEST + 1) :]
    rest = residuals(_logarithms(newest), state.sign, state.baseline)
    if worse(rest, state.baseline):
        return _shifted(state, state.baseline, "regressed")
    if worse([-each for each in rest], state.baseline, _BETTER):
        return _shifted(state, state.baseline, "improved")
    return state


def _shifted(state: FigureState, baseline: Baseline, status: Status) -> FigureState:
    shift = _shift(state, baseline, LEAST)
    strange = sum(each.at >= shift.onset for each in state.recent) - state.waiting
    return replace(
        state,
        status=status,
        shift=shift,
        since=0,
        learned=state.learned[: max(0, len(state.learned) - max(0, strange))],
        waiting=0,
        found_at=state.recent[-1].at,
    )


def _shift(state: FigureState, baseline: Baseline, least: int) -> Shift:
    return find_shift(
        [each.at for each in state.recent], _logarithms(state.recent), state.sign, baseline, least
    )


def _logarithms(points: Sequence[Point]) -> list[float]:
    return [math.log(each.value) for each in points]


def _followed(state: FigureState) -> FigureState:
    """Return the state of a figure that was found to have shifted: it is back, or how large that is now."""
    if state.baseline is None or state.shift is None:
        return FigureState(state.sign)
    if _is_back(state, state.baseline):
        recent = state.recent[-_BACK:]
        return replace(state, status="steady", shift=None, found_at=None, since=0, recent=recent)
    if state.since <= _REFINED:
        return replace(state, shift=_shift(state, state.baseline, max(LEAST, state.since + 1)))
    shift, logarithms = state.shift, _logarithms(state.recent)
    if shift.shape == "step" and state.since <= _SHAPED:
        rest = residuals(logarithms, state.sign, state.baseline)
        shift = replace(shift, shape="gradual" if is_gradual(rest, state.baseline) else "step")
    newest = logarithms[-min(state.since, _REFINED if shift.shape == "gradual" else MOST_RECENT) :]
    return replace(state, shift=measured(shift, newest, state.baseline))


def _is_back(state: FigureState, baseline: Baseline) -> bool:
    """Return whether the newest samples are nearer to the baseline than to what would be a shift."""
    if state.since < _BACK_LEAST:
        return False
    sign = state.sign if state.status == "regressed" else -state.sign
    newest = state.recent[-min(state.since, _BACK) :]
    rest = residuals(_logarithms(newest), sign, baseline)
    (found,) = deviations(rest, (len(rest),), baseline)
    (usual,) = deviations([0.0] * 6, (6,), baseline)
    return found.mean > -max(SMALLEST, threshold(6, usual.error, baseline)) / 2
