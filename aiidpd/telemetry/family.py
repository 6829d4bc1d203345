"""Metric families as our collectors build them: label values and a number for each series."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

_SUFFIXES = {"gauge": "", "counter": "_total", "info": "_info", "unknown": ""}


class Family(Metric):
    """One family: the names of its labels once, and ``points``, label values and value of each series.

    Half of what a scrape cost went into a dict and a sample for each series; here they are made only for
    whoever reads ``samples``, as the Prometheus library does. ``sample_name`` is the name of the series.
    """

    def __init__(self, kind: str, name: str, documentation: str, labels: Sequence[str] = ()) -> None:
        # Not super().__init__(): it sets ``samples``, and names are checked where they are first written.
        self.name = name
        self.documentation = documentation
        self.unit = ""
        self.type = kind
        self.labels = tuple(labels)
        self.sample_name = name + _SUFFIXES[kind]
        self.points: list[tuple[tuple[str, ...], float]] = []

    @classmethod
    def of(cls, metric: Metric) -> Self:
        """Return ``metric``, a family of the Prometheus library, as one of ours.

        Raises :class:`ValueError` for what we don't write: histograms, summaries and state sets, units,
        timestamps, exemplars, and series of one family whose label names differ.
        """
        if metric.type not in _SUFFIXES:
            raise ValueError(f"{metric.name}: families of type {metric.type} are not supported")
        if metric.unit:
            raise ValueError(f"{metric.name}: units are not supported, but in the name")
        labels = tuple(metric.samples[0].labels) if metric.samples else ()
        family = cls(metric.type, metric.name, metric.documentation, labels)
        for sample in metric.samples:
            if sample.name != family.sample_name:
                raise ValueError(f"{metric.name}: series {sample.name} does not belong to it")
            if sample[3:] != (None, None, None):
                raise ValueError(f"{sample.name}: timestamps, exemplars and histograms are not supported")
            if sample.labels.keys() != set(labels):
                raise ValueError(f"{sample.name}: its series differ in the names of their labels")
            family.points.append((tuple(sample.labels[name] for name in labels), sample.value))
        return family

    def add_metric(self, labels: Sequence[str], value: float) -> None:
        """Add the series with the label values ``labels``, in the order of the label names."""
        self.points.append((tuple(labels), value))

    @property
    def samples(self) -> list[Sample]:  # type: ignore[override]  # nobody adds to it; see points
        """Series as the Prometheus library has them."""
        return [
            Sample(self.sample_name, dict(zip(self.labels, labels, strict=True)), value)
            for labels, value in self.points
        ]


class GaugeFamily(Family):
    """A family of gauges; ``value`` is that of its only series, without labels."""

    def __init__(
        self, name: str, documentation: str, value: float | None = None, labels: Sequence[str] = ()
    ) -> None:
        super().__init__("gauge", name, documentation, labels)
        if value is not None:
            self.add_metric((), value)


class CounterFamily(Family):
    """A family of counters; ``name`` goes without its ``_total``."""

    def __init__(self, name: str, documentation: str, labels: Sequence[str] = ()) -> None:
        super().__init__("counter", name, documentation, labels)


class InfoFamily(Family):
    """A family whose labels are the information; ``name`` goes without its ``_info``, each value is 1."""

    def __init__(self, name: str, documentation: str, labels: Sequence[str]) -> None:
        super().__init__("info", name, documentation, labels)
