"""Ratio of each watched figure to its baseline, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from aiidpd.components.bench.regression.monitor import RegressionMonitor
from aiidpd.components.bench.regression.state import FigureState
from aiidpd.telemetry.family import GaugeFamily

_LABELS = ("endpoint", "model", "figure")
_GAUGES: tuple[tuple[str, str, Callable[[FigureState], float | None]], ...] = (
    (
        "baseline",
        "Usual value of a figure, in its unit, as its samples showed it.",
        lambda state: state.baseline.value if state.baseline else None,
    ),
    (
        "baseline_ratio",
        "Newest six samples of a figure at most, to its baseline.",
        lambda state: state.level,
    ),
    (
        "baseline_samples",
        "Samples that a baseline is made of; it changes no more once it has 1344.",
        lambda state: float(state.baseline.count if state.baseline else len(state.learned)),
    ),
    (
        "regressed",
        "Whether a figure is worse than its baseline and was not by chance.",
        lambda state: float(state.status == "regressed") if state.baseline else None,
    ),
)


class RegressionCollector(Collector):
    """Builds the families from what ``monitor`` knows."""

    def __init__(self, monitor: RegressionMonitor) -> None:
        self._monitor = monitor

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that a registration does not collect."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Yield one family a metric, each with the figures for which it is known."""
        tracks = [track for _, track in self._monitor.tracks() if track is not None]
        for name, text, value in _GAUGES:
            family = GaugeFamily(f"aiidpd_bench_{name}", text, labels=_LABELS)
            for track in tracks:
                for figure, state in track.figures.items():
                    known = value(state)
                    if known is not None:
                        family.add_metric((track.endpoint, track.model, figure), known)
            yield family
