"""Verdict on a new image: kept where nothing stands in its way, and that is known (pure).

What is not clear is no reason to keep it: the finding says what would make it clear.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from aiidpd.components.bench.compare.agreement import Agreement
from aiidpd.components.bench.compare.periods import unpaired
from aiidpd.components.bench.compare.result import ERROR, FIGURES, FigureResult, Times, figure_result
from aiidpd.components.bench.guard.document import CriterionRecord, Finding, Measurement, Upgrade
from aiidpd.components.bench.guard.options import Options

_MOST_PAIRS: Final = 200
_IN_THE_WAY: Final = frozenset({"failed", "impossible"})
NO_LIMIT: Final = "no limit follows"
"""Words of the acceptance about a figure that was measured, and no limit is known for."""


def figures_of(measurements: Sequence[Measurement]) -> tuple[FigureResult, ...]:
    """Return each figure of both sides, measured in turn: old (A) beside new (B)."""
    old = [each.times for each in measurements if each.side == "old"]
    new = [each.times for each in measurements if each.side == "new"]
    return tuple(_figure(figure, old, new) for figure in FIGURES)


def _figure(figure: str, old: Sequence[Times], new: Sequence[Times]) -> FigureResult:
    a, b = list(_known(old, figure)), list(_known(new, figure))
    found = unpaired([math.log(each) for each in a], [math.log(each) for each in b], ERROR / len(FIGURES))
    return figure_result(figure, a, b, found, f"{len(a)} and {len(b)} measurements")


def _known(times: Iterable[Times], figure: str) -> Iterator[float]:
    for each in times:
        value = getattr(each, figure)
        if value is not None and value > 0:
            yield value


def judge(upgrade: Upgrade, options: Options) -> tuple[Finding, ...]:
    """Return what stands in the way of the new image; nothing where it is to be kept."""
    return (
        *_of_acceptance(upgrade.acceptance, upgrade.acceptance_problem),
        *_of_figures(upgrade.figures, options),
        *_of_answers(upgrade.answers, options),
    )


def _of_acceptance(criteria: Sequence[CriterionRecord], problem: str) -> Iterator[Finding]:
    if problem:
        yield Finding("acceptance", f"nothing could be measured: {problem}", clear=False)
    for each in criteria:
        if each.outcome in _IN_THE_WAY:
            yield Finding("acceptance", f"{each.name}: {each.wanted} is {each.outcome} {each.reason}".strip())
        elif each.outcome == "not measured" and not (each.value is not None and NO_LIMIT in each.reason):
            remedy = "see what the acceptance needs, or give --profile without this criterion"
            yield Finding(
                "acceptance", f"{each.name}: not measured: {each.reason}", clear=False, remedy=remedy
            )


def _of_figures(figures: Sequence[FigureResult], options: Options) -> Iterator[Finding]:
    measured = [each for each in figures if each.a_median is not None or each.b_median is not None]
    if not measured:
        yield Finding("speed", "no figure could be measured", clear=False, remedy="see `aiidpctl bench run`")
    for each in measured:
        found = _of_figure(each, options)
        if found is not None:
            yield found


def _of_figure(figure: FigureResult, options: Options) -> Finding | None:
    most, label = 1 + options.slower, figure.label
    wanted = f"at most {100 * options.slower:.3g} % slower"
    if figure.ratio is None or figure.ratio_low is None or figure.ratio_high is None:
        lacking = (
            "the new one" if figure.b_median is None else "the old one" if figure.a_median is None else ""
        )
        words = f"of {lacking} there is no figure" if lacking else "too few measurements"
        remedy = f"--pairs {min(_MOST_PAIRS, 2 * options.pairs)}" if not lacking else ""
        return Finding("speed", f"{label}: {words}", clear=False, remedy=remedy)
    span = f"{100 * (figure.ratio_low - 1):+.1f} to {100 * (figure.ratio_high - 1):+.1f} % in time"
    if figure.ratio_low > most:
        return Finding("speed", f"{label}: slower ({span}), and {wanted} is allowed")
    if figure.ratio_high <= most:
        return None
    return Finding(
        "speed",
        f"{label}: it may be too slow ({span}), and {wanted} is allowed",
        False,
        _more(figure, most, options),
    )


def _more(figure: FigureResult, most: float, options: Options) -> str:
    """Return what would make it clear on which side of ``most`` the figure is."""
    ratio, high, low = figure.ratio or 1.0, figure.ratio_high or most, figure.ratio_low or most
    distance = abs(math.log(most) - math.log(ratio))
    half = (math.log(high) - math.log(low)) / 2
    if distance <= 0 or half / distance > math.sqrt(_MOST_PAIRS / max(1, figure.count)):
        return "more measurements would hardly tell: give a larger --slower, or choose a quieter hour"
    pairs = math.ceil(options.pairs * (half / distance) ** 2 * 1.2)
    side = "it would probably be found slower" if ratio > most else "it would probably do"
    return f"about --pairs {min(_MOST_PAIRS, max(pairs, options.pairs + 4))}: {side}"


def _of_answers(answers: Agreement, options: Options) -> Iterator[Finding]:
    if options.agree <= 0:
        return
    if answers.share is None:
        remedy = "--agree 0 does without it, where answers differ from one time to the next anyway"
        yield Finding("answers", f"not comparable: {answers.text}", clear=False, remedy=remedy)
    elif answers.share < options.agree:
        wanted = f"{100 * options.agree:.3g} % must be the same"
        yield Finding(
            "answers", f"{answers.text}, and {wanted}", remedy="see them below; --agree says how many"
        )
