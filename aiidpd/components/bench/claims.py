"""Claims of speed held against what is measured: one past its bounds is a condition."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from aiidpd.components.bench.view import EndpointView
from aiidpd.contracts.claims import ClaimBounds, ClaimedFigure, ClaimsView, FigurePosition, MeasuredFigure
from aiidpd.kernel.conditions import Condition, Conditions
from aiidpd.kernel.events import Severity

TYPE: Final = "claim_out_of_bounds"
SOURCE: Final = "bench"
MEASURED: Final = 3
"""Measurements of which the median counts: one outlier neither begins nor ends a condition."""
_FIGURES: Final = {
    ClaimedFigure.DECODE: "output_tokens_per_second",
    ClaimedFigure.TTFT: "ttft_seconds",
}
_LESS_IS_BETTER: Final = frozenset({ClaimedFigure.TTFT, ClaimedFigure.HOP})


class ClaimWatch:
    """Compares the figures of single requests with the claims on them; it outlives the worker.

    ``claims`` returns the claims on endpoints of this machine, None where they are not known.
    """

    def __init__(self, conditions: Conditions, claims: Callable[[], ClaimsView | None]) -> None:
        self._conditions = conditions
        self._claims = claims
        self._measured: dict[tuple[str, str, ClaimedFigure], deque[float]] = {}
        self._endpoints: dict[str, EndpointView] = {}

    def begin(self, endpoints: Sequence[EndpointView]) -> None:
        """Watch these ``endpoints``, with what is known of them; those that are gone are forgotten."""
        self._endpoints = {each.name: each for each in endpoints}
        wanted = {(each.name, each.model) for each in endpoints}
        self._measured = {key: known for key, known in self._measured.items() if key[:2] in wanted}
        self._update()

    def measured(self, endpoint: EndpointView) -> None:
        """Take the last sample of ``endpoint``, where it is a good and usual one."""
        sample = endpoint.current
        if sample is None or not sample.usual:
            return
        self._endpoints[endpoint.name] = endpoint
        for figure, name in _FIGURES.items():
            value = getattr(sample, name)
            if value is not None:
                key = (endpoint.name, endpoint.model, figure)
                self._measured.setdefault(key, deque(maxlen=MEASURED)).append(value)
        self._update()

    def _update(self) -> None:
        view = self._claims()
        self._conditions.update((TYPE,), self._active(view.claims if view else ()))

    def _active(self, claims: Iterable[ClaimBounds]) -> Iterator[Condition]:
        for claim in claims:
            endpoint = self._endpoints.get(claim.endpoint)
            if endpoint is None:
                continue
            values = self._measured.get((endpoint.name, endpoint.model, claim.figure), ())
            if len(values) < MEASURED:
                continue
            figure = MeasuredFigure(endpoint.name, claim.figure, statistics.median(values), of_batch=False)
            position = claim.position(figure)
            if position is not None and position is not FigurePosition.WITHIN:
                yield _condition(claim, figure.value, position, simulated=endpoint.simulated)


def _condition(claim: ClaimBounds, value: float, position: FigurePosition, *, simulated: bool) -> Condition:
    measured = f"{claim.endpoint}: {_amount(claim.figure, value)} of one request, the median of {MEASURED}"
    severity = Severity.WARNING
    if position is FigurePosition.FORBIDDEN:
        limit = "" if claim.limit is None else f" ({_amount(claim.figure, claim.limit)})"
        reason = f"{measured}, beyond what physics allows{limit} by the setting of the claim: {claim.text}"
        remedy = "see whether the claim's setting is that of this engine: aiidpctl physics claims"
    else:
        better = (position is FigurePosition.BELOW) == (claim.figure in _LESS_IS_BETTER)
        low, high = _amount(claim.figure, claim.low), _amount(claim.figure, claim.high)
        bounds = low if low == high else f"{low} to {high}"
        reason = f"{measured}, {'better' if better else 'worse'} than claimed ({bounds}): {claim.text}"
        remedy = "aiidpctl bench list and aiidpctl bench regressions show what was measured, and what changed"
        if better:
            severity, remedy = Severity.INFO, "correct the claim in the file of physics.claims"
    return Condition(TYPE, claim.name, severity, reason, remedy, source=SOURCE, simulated=simulated)


def _amount(figure: ClaimedFigure, value: float) -> str:
    if figure is ClaimedFigure.DECODE:
        return f"{value:.3g} tokens/s"
    return f"{value * 1e3:.3g} ms" if figure is not ClaimedFigure.SEQUENCES else f"{value:g} sequences"
