"""Baselines and regressions over the API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from aiidpd.api.access import Access
from aiidpd.api.document import Request, Scalar, bounded, document_of
from aiidpd.api.route import Answer, Call, Route
from aiidpd.components.bench.regression.baseline import FIRST, FULL
from aiidpd.components.bench.regression.monitor import RegressionMonitor
from aiidpd.components.bench.regression.record import Track
from aiidpd.components.bench.regression.state import FigureState
from aiidpd.components.bench.view import EndpointView


@dataclass(frozen=True, slots=True)
class RebaselineRequest(Request):
    """Baseline to learn anew."""

    endpoint: Annotated[str, bounded(max_length=200)]
    reason: Annotated[str, bounded(max_length=500)]
    """Reason for which another speed is the usual one now, for whoever reads the history."""
    figure: Literal["output_tokens_per_second", "ttft_seconds"] | None = None
    """One figure; without it, all."""


@dataclass(frozen=True, slots=True)
class ShiftDocument:
    """Shift of a figure against its baseline."""

    ratio: float
    """Figure now, to its baseline."""
    ratio_low: float
    """Lower end of the 95 % confidence interval of the ratio."""
    ratio_high: float
    confidence: float
    """Probability that chance alone does not make such a deviation in any of the windows that are scanned."""
    onset: float
    """Time (Unix seconds) of the first sample after the shift, by the likeliest account."""
    onset_from: float
    """Earliest time that is possible too."""
    onset_to: float
    shape: Literal["step", "gradual"]


@dataclass(frozen=True, slots=True)
class ChangeDocument:
    """Circumstance that differs before and after a shift."""

    name: str
    before: Scalar
    """Null where it was not known."""
    after: Scalar
    at: float
    """Time (Unix seconds) of the first sample in which it was as it is now."""


@dataclass(frozen=True, slots=True)
class FigureDocument:
    """One figure of an endpoint, beside its baseline."""

    figure: str
    status: Literal["learning", "steady", "regressed", "improved"]
    baseline: float | None
    """Usual value, in the figure's unit; null while too few samples are known."""
    noise_ratio: float | None
    """Standard deviation of a sample, as a share of the figure."""
    correlation: float | None
    """Share of a deviation that lasts to the next sample."""
    samples: int
    """Samples that the baseline is made of, or will be."""
    samples_first: int
    """Samples from which on a baseline is used."""
    samples_full: int
    """Samples from which on it changes no more."""
    level_ratio: float | None
    """Newest six samples, or fewer, to the baseline."""
    found_at: float | None
    shift: ShiftDocument | None
    changed: tuple[ChangeDocument, ...]
    """Circumstances that changed with the shift, the nearest to its onset first."""


@dataclass(frozen=True, slots=True)
class RegressionDocument:
    """Figures of one endpoint with its present model and GPU."""

    endpoint: str
    model: str
    gpu: str
    """Kind of its GPU; empty where that is not known."""
    simulated: bool
    figures: tuple[FigureDocument, ...]


@dataclass(frozen=True, slots=True)
class RegressionsDocument:
    """Every endpoint, in the order of the configuration."""

    endpoints: tuple[RegressionDocument, ...]


def _figure(name: str, state: FigureState, track: Track) -> FigureDocument:
    baseline = state.baseline
    return FigureDocument(
        figure=name,
        status=state.status,
        baseline=baseline.value if baseline else None,
        noise_ratio=baseline.scale if baseline else None,
        correlation=baseline.correlation if baseline else None,
        samples=baseline.count if baseline else len(state.learned),
        samples_first=FIRST,
        samples_full=FULL,
        level_ratio=state.level,
        found_at=state.found_at,
        shift=document_of(ShiftDocument, state.shift) if state.shift else None,
        changed=tuple(document_of(ChangeDocument, each) for each in track.changed.get(name, ())),
    )


def _document(endpoint: EndpointView, track: Track | None) -> RegressionDocument:
    figures = track.figures.items() if track else ()
    return RegressionDocument(
        endpoint.name,
        endpoint.model,
        track.gpu if track else "",
        endpoint.simulated,
        tuple(_figure(name, state, track) for name, state in figures) if track else (),
    )


def routes(monitor: RegressionMonitor) -> tuple[Route, ...]:
    """Return the routes of the regressions."""

    def document() -> RegressionsDocument:
        return RegressionsDocument(tuple(_document(*each) for each in monitor.tracks()))

    async def regressions(_call: Call) -> Answer:
        return document()

    async def rebaseline(call: Call) -> Answer:
        request: RebaselineRequest = call.body
        monitor.rebaseline(request.endpoint, request.figure, request.reason, call.by)
        return document()

    return (
        Route(
            "GET",
            "/v1/bench/regressions",
            Access.READ,
            regressions,
            "Figures of each endpoint beside their baselines, and what changed where they differ.",
            RegressionsDocument,
        ),
        Route(
            "POST",
            "/v1/bench/baselines",
            Access.CHANGE,
            rebaseline,
            "Learn the baseline of an endpoint anew.",
            RegressionsDocument,
            body=RebaselineRequest,
        ),
    )
